"""Tables for the terminal, and a page that no name can break out of."""

import json
import re
from html.parser import HTMLParser

import pytest
from rich.console import Console

from omnimat.leaderboard.report import duration, html_page, terminal_table
from omnimat.leaderboard.store import LeaderboardStore

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'&{{ 7 * 7 }}[red]<!--"


class Page(HTMLParser):
    """Collects a page's tags, attributes and text."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.attributes, self.texts, self.scripts = [], [], [], []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, name, value) for name, value in attrs]
        if tag == "script":
            self.scripts.append("")

    def handle_data(self, data):
        if self.lasttag == "script" and self.cdata_elem:
            self.scripts[-1] += data
        self.texts.append(data)


@pytest.fixture
def summaries_of(tmp_path):
    def summaries_of(rows):
        store = LeaderboardStore(f"sqlite:///{tmp_path / 'board.sqlite'}")
        store.upsert(rows)
        return store.summaries()

    return summaries_of


@pytest.mark.parametrize(
    ("values", "score"),
    [
        ((0.123456,), "0.1235"),
        ((0.1, 0.12), "0.110 ± 0.014"),
        ((100.0, 160.0), "130 ± 42"),
        ((1.0, 1.0), "1"),
        ((0.5, 0.500001), "0.50000050 ± 0.00000071"),
    ],
)
def test_scores_are_rounded_to_their_deviation(make_row, summaries_of, values, score):
    [summary] = summaries_of(make_row(seed=seed, value=value) for seed, value in enumerate(values))
    assert summary.score == score


def lines_of(summaries) -> list[str]:
    console = Console(width=160, record=True)
    console.print(terminal_table(summaries))
    return console.export_text().splitlines()


def test_terminal_table_shows_names_as_they_are(make_row, summaries_of):
    rows = [make_row(model="[red]name[/red]"), make_row(task="gap", unit="eV")]
    text = "\n".join(lines_of(summaries_of(rows)))
    assert all(row.group_id[:8] in text for row in rows)
    assert "[red]name[/red]" in text
    assert "mae (eV) ↓" in text


def test_terminal_table_puts_the_metrics_of_a_task_on_one_line(make_row, summaries_of):
    rows = [
        make_row(task=task, metric=metric, unit="", value=value, higher_is_better=higher)
        for task in ("retrieval a -> b", "retrieval b -> a")
        for metric, value, higher in [
            ("mean rank", 7.5, False),
            ("top-10", 0.75, True),
            ("top-5", 0.5, True),
        ]
    ]
    lines = lines_of(summaries_of(rows))
    assert len([line for line in lines if "top-5 ↑" in line]) == 1
    for task in ("retrieval a -> b", "retrieval b -> a"):
        (line,) = [line for line in lines if task in line]
        assert line.index("0.5 ") < line.index("0.75 ") < line.index("7.5 ")


def test_page_has_a_row_for_every_summary_and_its_provenance(make_row):
    rows = [make_row(model=model, seed=seed) for model in ("one", "two") for seed in range(3)]
    page = Page(html_page(rows))
    assert page.attributes.count(("tr", "class", "result")) == 2
    for text in ("c" * 40, "s3://bucket/run/predictions.parquet", "pretrain-demo", "6,000,000,000"):
        assert page.texts.count(text) >= 6


def test_page_needs_nothing_beside_it(make_row):
    page = Page(html_page([make_row()]))
    assert not {"link", "img", "iframe"} & set(page.tags)
    assert not [a for a in page.attributes if a[1] in {"src", "href", "srcset"}]
    policy = next(v for _, name, v in page.attributes if name == "content" and "default-src" in v)
    assert "default-src 'none'" in policy


def test_hostile_names_stay_text(make_row):
    harmless = Page(html_page([make_row()]))
    hostile = Page(
        html_page(
            [
                make_row(
                    **dict.fromkeys(("task", "metric", "unit", "model", "variant"), HOSTILE),
                    **dict.fromkeys(("dataset", "run_name", "checkpoint_uri"), HOSTILE),
                    config={HOSTILE: HOSTILE},
                )
            ]
        )
    )
    assert hostile.tags == harmless.tags
    assert [a[:2] for a in hostile.attributes] == [a[:2] for a in harmless.attributes]
    assert HOSTILE in hostile.texts
    [plot] = json.loads(hostile.scripts[0])
    assert plot["entries"][0]["model"] == HOSTILE


def test_boards_of_the_same_name_can_be_told_apart(make_row):
    texts = Page(html_page([make_row(), make_row(split_sha256="b" * 64)])).texts
    options = [text for text in texts if text.startswith("formation_energy") and "split" in text]
    assert len(set(options)) == 2


def test_plot_data_are_the_summaries(make_row):
    rows = [make_row(seed=seed, value=0.1 * (seed + 1)) for seed in range(3)]
    [plot] = json.loads(Page(html_page(rows)).scripts[0])
    [entry] = plot["entries"]
    assert entry["values"] == [row.value for row in rows]
    assert entry["seeds"] == [0, 1, 2]
    assert entry["mean"] == pytest.approx(0.2, rel=1e-14)
    assert plot["scale"] == "mae (eV/atom), lower is better"


def test_empty_page_says_what_to_run():
    html = html_page([])
    assert "omnimat run jobs/demo.yaml" in html
    assert "<script" not in html


def test_every_button_has_a_name_and_controls_something(make_row):
    html = html_page([make_row(), make_row(model="two")])
    controlled = re.findall(r'aria-controls="([^"]+)"', html)
    assert len(controlled) == 2
    assert all(f'id="{name}"' in html for name in controlled)
    assert "<button></button>" not in html
    assert html.count('aria-sort="ascending"><button') == 1


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0 s"),
        (12.345, "12.3 s"),
        (200, "3 min 20 s"),
        (3599.7, "1 h 00 min"),
        (18120, "5 h 02 min"),
    ],
)
def test_duration(seconds, text):
    assert duration(seconds) == text
