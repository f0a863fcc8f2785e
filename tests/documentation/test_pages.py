import pytest
from documentation.pages import PROSE, Page, PageError, generated, site

HOLDS_ALL = {
    f"{PROSE}/index.md": '# Start\n\n<!-- section "Use" of README.md -->\n',
    f"{PROSE}/more/deep.md": "[start](../index.md), [made](../made/one.md), [other](https://a.b/c)",
    "README.md": "# Name\n\n## Use\n\nSee [code](src/tool.py) and [docs](infra/README.md#top).\n",
    "src/tool.py": '"""Do."""\n',
}


@pytest.fixture
def repository(tmp_path, monkeypatch):
    monkeypatch.setattr("documentation.pages.ELSEWHERE", {"infra/README.md": "operations/index.md"})
    for path, text in (HOLDS_ALL | {"infra/README.md": "# Operations {#top}"}).items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    return tmp_path


MADE = {"made/one.md": generated("made/one.md", "[deep](../more/deep.md)")}


def test_links_lead_to_pages_and_files_wherever_the_text_stands(repository):
    pages = site(repository, MADE)
    assert pages["index.md"] == (
        "# Start\n\nSee [code](files/src/tool.py.md) and [docs](operations/index.md#top).\n"
    )
    assert pages["more/deep.md"] == HOLDS_ALL[f"{PROSE}/more/deep.md"]
    assert pages["made/one.md"] == "[deep](../more/deep.md)"
    assert pages["files/src/tool.py.md"] == '# `src/tool.py`\n\n```python\n"""Do."""\n```\n'
    assert "operations/index.md" in pages


def test_a_page_made_of_a_file_is_where_links_to_that_file_lead(repository):
    (repository / "jobs").mkdir()
    (repository / "jobs/lesson.py").write_text("# %%\n")
    (repository / PROSE / "index.md").write_text("[learn](../../../jobs/lesson.py)")
    made = MADE | {"lessons/lesson.md": Page("[tool](../src/tool.py)", "jobs/lesson.py")}
    pages = site(repository, made)
    assert pages["index.md"] == "[learn](lessons/lesson.md)"
    assert pages["lessons/lesson.md"] == "[tool](../files/src/tool.py.md)"


def test_a_small_folder_is_shown_whole_and_a_large_one_by_its_names(repository):
    (repository / PROSE / "index.md").write_text("[all](../../../src)")
    assert '"""Do."""' in site(repository, MADE)["files/src.md"]
    (repository / "src/large.py").write_text("#" * 2**17)
    assert site(repository, MADE)["files/src.md"] == "# `src`\n\n- `large.py`\n- `tool.py`\n"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[gone](gone.md)", [f"{PROSE}/index.md", "gone.md", "nowhere"]),
        ("[out](../../../../out.md)", ["out.md", "nowhere"]),
        ('<!-- section "Usage" of README.md -->', ["'Usage'", "README.md", "Name, Use"]),
        ('<!-- section "Use" of NOTES.md -->', ["NOTES.md", "none"]),
    ],
)
def test_what_leads_nowhere_is_told_with_its_place(text, told, repository):
    (repository.parent / "out.md").write_text("outside")
    (repository / PROSE / "index.md").write_text(text)
    with pytest.raises(PageError) as refused:
        site(repository, MADE)
    assert all(one in str(refused.value) for one in told), refused.value
