"""What the server answers: pages that no name can break out of, files, and nothing else."""

import csv
import io
import json
import re
import shlex
import shutil
import sqlite3
from contextlib import closing
from html.parser import HTMLParser
from time import monotonic
from urllib.parse import urlencode

import pandas as pd
import pytest
from fastapi.testclient import TestClient
from upath import UPath

from omnimat.base.provenance import sha256_of
from omnimat.base.settings import fingerprint
from omnimat.base.workspace import Workspace
from omnimat.finetune.ensemble import ensemble_row
from omnimat.finetune.tasks import TaskSettings, note_of
from omnimat.leaderboard.columns import board_of
from omnimat.leaderboard.contest import Contest, contests_of_boards
from omnimat.leaderboard.folds import FOLD
from omnimat.leaderboard.imported import IMPORTED, Published
from omnimat.leaderboard.store import LeaderboardStore
from omnimat_dashboard import write_site
from omnimat_dashboard.app import create_app
from omnimat_dashboard.artifacts import Artifacts
from omnimat_dashboard.catalogue import Catalogue
from omnimat_dashboard.links import model_slug
from omnimat_dashboard.papers import papers
from omnimat_dashboard.query import PAGE_LENGTH
from omnimat_dashboard.standing import RETRY_S, Standing

DATASET = "mp20-mini"


class Page(HTMLParser):
    """Collects a page's tags, attributes, scripts and text."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.attributes, self.scripts, self.text = [], [], [], ""
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, name, value) for name, value in attrs]
        if tag == "script":
            self.scripts.append("")

    def handle_data(self, data):
        if self.lasttag == "script" and self.cdata_elem:
            self.scripts[-1] += data
        else:
            self.text += data

    def values(self, tag, name):
        return [value for t, n, value in self.attributes if (t, n) == (tag, name)]

    @property
    def figures(self):
        return [json.loads(script) for script in self.scripts if script.strip()]


def get(client, path) -> Page:
    answer = client.get(path)
    assert answer.status_code == 200, answer.text
    return Page(answer.text)


def board_path(storage, task, suffix=""):
    row = next(row for row in storage.rows if row.task == task)
    return f"/board/{board_of(row).board_id}{suffix}"


def every_path(storage):
    groups = storage.groups
    a, b = groups["formation energy", "aligned"], groups["formation energy", "hostile"]
    c, d = groups["crystal system", "aligned"], groups["crystal system", "hostile"]
    results = [f"/result/{row.group_id}" for row in storage.rows]
    return [
        "/",
        board_path(storage, "crystal system"),
        *dict.fromkeys(results),
        f"/compare?a={a}&b={b}",
        f"/compare?a={c}&b={d}",
        "/models",
        *dict.fromkeys(f"/models/{model_slug(row.model)}" for row in storage.rows),
        "/datasets",
        f"/dataset/{DATASET}",
        "/maps",
        "/map/mini-retrieval",
        "/map/mini-retrieval/xrd-tsne",
        "/runs",
        "/together?run=going&run=silent&run=mini-sweep",
        *(f"/run/{name}" for name in ("going", "silent", "begun", "mini-anchored", "mini-sweep")),
    ]


def test_no_name_becomes_markup_or_script_anywhere(client, storage):
    for path in every_path(storage):
        page = get(client, path)
        assert [src for src in page.values("img", "src") if "icon.svg" not in src] == []
        assert not [name for _, name, _ in page.attributes if name.startswith("on")]
        # Scripts are files of our own, or data that is JSON.
        assert all(
            "/static/" in src or src.startswith("./static/") for src in page.values("script", "src")
        )
        assert all(isinstance(figure, dict) for figure in page.figures)


def test_hostile_values_leave_every_page_as_it_is(storage, serve, hostile):
    """Every text of a row, one after the other a harmless word and something hostile."""
    names = ("task", "metric", "unit", "model", "variant", "dataset", "run_name", "parent_run")
    names += ("checkpoint_uri", "predictions_uri", "dataset_uri", "code_commit", "split_sha256")
    pages = []
    for value in ("harmless", hostile):
        config = {value: {value: value}}
        changes = dict.fromkeys(names, value) | {"config": config}
        changes |= {"config_hash": fingerprint(config), "details": config, "hardware": config}
        row = storage.rows[0].model_copy(update=changes)
        paths = ("/", f"/board/{board_of(row).board_id}", f"/result/{row.group_id}")
        paths += (
            f"/compare?a={row.group_id}&b={row.group_id}",
            f"/?{urlencode({'q': value, 'variant': value})}",
        )
        with serve(row, database=f"{fingerprint(value)}.sqlite") as client:
            pages.append([get(client, path) for path in paths])
    for harmless, same in zip(*pages, strict=True):
        assert harmless.tags == same.tags
        assert [a[:2] for a in harmless.attributes] == [a[:2] for a in same.attributes]
        assert hostile in same.text


def test_a_hostile_name_is_shown_as_it_is(client, storage, hostile):
    assert hostile in get(client, "/").text
    page = get(client, board_path(storage, "formation energy"))
    assert hostile in page.text
    assert hostile in [e["model"] for figure in page.figures for e in figure["entries"]]


def test_every_answer_has_the_headers(client, storage):
    for path in ("/", "/nowhere", "/api/boards", "/static/site.js", "/map/mini-retrieval"):
        headers = client.get(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        script = policy.partition("script-src ")[2].partition(";")[0]
        assert script == ("'self' 'unsafe-eval'" if path.startswith("/map/") else "'self'")
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert "set-cookie" not in headers


def test_pages_link_only_to_what_is_there(client, storage):
    seen = set()
    for path in every_path(storage):
        for link in get(client, path).values("a", "href"):
            if link.startswith(("https://arxiv.org/abs/", "#")):
                continue
            seen.add(str(client.build_request("GET", path).url.join(link)))
    assert len(seen) > 30
    assert [
        (url, client.get(url).status_code) for url in seen if client.get(url).status_code != 200
    ] == []


@pytest.mark.parametrize(
    "path",
    [
        "/dataset/..%2f..%2fetc/manifest.json",
        "/dataset/%2e%2e/manifest.json",
        f"/dataset/{DATASET}/..%2f..%2fleaderboard.sqlite",
        f"/dataset/{DATASET}/shard-00000.tar",
        "/map/..%2fdatasets",
        "/map/mini-retrieval/..%2f..%2f..%2fleaderboard",
        "/map/mini-anchored",
        "/run/nowhere",
        "/run/..%2fdatasets",
        "/static/..%2fapp.py",
        "/static/app.py",
        "/board/0",
        "/result/0",
        "/download/0.csv",
        "/compare?a=0&b=0",
    ],
)
def test_nothing_else_can_be_asked_for(client, path):
    answer = client.get(path)
    assert answer.status_code == 404
    assert "To the results" in answer.text


def test_files_that_a_row_names_outside_the_storage_are_not_read(storage, serve, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    for name in ("predictions.parquet", "trial.json"):
        (outside / name).write_bytes(b"{}")
    row = storage.rows[0]
    for uri in (
        str(outside / "predictions.parquet"),
        "http://127.0.0.1:9/p.parquet",
        "a/\0/b.parquet",
    ):
        changed = row.model_copy(update={"predictions_uri": uri, "checkpoint_uri": uri})
        with serve(changed, root=storage.root) as client:
            text = get(client, f"/result/{row.group_id}").text
        assert text.count("so it is not opened") == 2


def test_a_board_without_its_files_says_so(storage, tmp_path):
    with TestClient(create_app(storage.url, str(tmp_path)), "http://127.0.0.1") as client:
        page = get(client, f"/result/{storage.groups['formation energy', 'aligned']}")
        assert "No curves here" in page.text
        assert "No predictions here" in page.text
        [path] = [path for path in every_path(storage) if "compare" in path][1:]
        compared = get(client, path)
        assert "cannot be said" in compared.text


def test_predictions_that_were_changed_are_not_shown(storage, serve, tmp_path):
    shutil.copytree(str(storage.root), tmp_path / "copy")
    row = storage.rows[0]
    path = tmp_path / "copy" / row.predictions_uri
    path.write_bytes(path.read_bytes() + b"\0")
    with serve(row, root=tmp_path / "copy") as client:
        assert (
            "was changed after the row was written" in get(client, f"/result/{row.group_id}").text
        )


def test_a_server_on_loopback_answers_to_its_own_name_alone(client):
    assert client.get("/", headers={"host": "attacker.example"}).status_code == 400


def test_a_server_on_loopback_of_ipv6_answers_to_its_address(storage):
    app = create_app(storage.url, str(storage.root), host="::1")
    with TestClient(app, "http://[::1]:8600") as client:
        assert client.get("/healthz").status_code == 200
        assert client.get("/healthz", headers={"host": "attacker.example"}).status_code == 400


def test_a_damaged_row_is_said_in_a_sentence(storage, serve, tmp_path):
    row = storage.rows[0]
    with serve(row, raise_server_exceptions=False) as client:
        with closing(sqlite3.connect(tmp_path / "leaderboard.sqlite")) as connection, connection:
            connection.execute("UPDATE leaderboard_rows SET num_test = 0")
        page = client.get(f"/result/{row.group_id}")
        rows = client.get("/api/rows", params={"run_name": row.run_name})
    sentence = f"row {row.row_id} of the leaderboard was changed by hand (num_test"
    assert (page.status_code, sentence in page.text) == (500, True)
    assert (rows.status_code, sentence in rows.json()["error"]) == (500, True)


def test_a_huge_value_breaks_no_page(storage, serve):
    row = storage.rows[0].model_copy(update={"value": 1e300})
    board = board_of(row).board_id
    with serve(row, row.model_copy(update={"seed": 1, "value": -1e300})) as client:
        for path in ("/", f"/board/{board}", f"/result/{row.group_id}", f"/download/{board}.json"):
            get(client, path) if path[-1] != "n" else client.get(path).json()


def test_the_command_of_a_result_can_be_pasted(storage, serve):
    row = storage.rows[0].model_copy(update={"run_name": "a; rm -rf b's"})
    with serve(row) as client:
        page = get(client, f"/result/{row.group_id}")
    command = page.text.partition("omnimat leaderboard verify ")[2].partition("\n")[0]
    assert shlex.split(command)[:2] == ["--run", "a; rm -rf b's"]


def test_only_a_board_of_the_test_split_says_so(storage, serve):
    for split, is_said in (("", True), (" (train split)", False)):
        row = storage.rows[0].model_copy(update={"task": f"retrieval{split}"})
        with serve(row) as client:
            text = get(client, f"/board/{board_of(row).board_id}").text
        assert ("materials of the test split" in text) == is_said


def test_maps_are_those_of_the_newest_attempt(storage, serve, tmp_path):
    root = UPath(tmp_path / "storage")
    for name in ("mini-retrieval", "kept"):
        maps = storage.root / "runs" / "mini-retrieval" / "maps"
        shutil.copytree(str(maps), str(root / "runs" / name / "maps"))
    (root / "runs" / "mini-retrieval@2").mkdir()
    (root / "runs" / "empty" / "maps").mkdir(parents=True)
    rows = [row for row in storage.rows if row.metric == "top-10"]
    with serve(*rows, root=root) as client:
        assert "Embedding maps of" not in get(client, f"/result/{rows[0].group_id}").text
        maps = [link for link in get(client, "/maps").values("a", "href") if "/map/" in link]
        assert maps
        assert all("kept" in link for link in maps)
    write_site(storage.url, str(root), tmp_path / "site")
    pages = [*(tmp_path / "site" / "map").rglob("*.html")]
    assert {page.relative_to(tmp_path / "site" / "map").parts[0] for page in pages} == {
        "kept",
        "kept.html",
    }
    assert all(page.stat().st_size for page in pages)


def test_a_browser_is_told_when_nothing_changed(client):
    first = client.get("/")
    again = client.get("/", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


def test_papers_are_references_of_their_own_task_and_data_set_alone(client, storage):
    lengths, other = (
        get(client, board_path(storage, t))
        for t in ("lattice lengths, scaled", "retrieval text -> structure")
    )
    values = [one["value"] for one in lengths.figures[0]["references"]]
    assert values == [0.128, 0.136, 0.173, 0.203, 0.330]
    assert "cube root of the number of atoms" in lengths.text
    assert other.figures[0]["references"] == []
    [unimat] = papers()
    row = next(row for row in storage.rows if row.task == "formation energy")
    board = board_of(row.model_copy(update={"dataset": "mp408"}))
    assert unimat.task(board) is None


def test_the_overview_has_each_board_and_its_best(client, storage):
    page = get(client, "/")
    links = page.values("a", "href")
    for task in ("formation energy", "lattice lengths, scaled", "crystal system"):
        assert f".{board_path(storage, task)}" in links
        best = min(
            (one for one in storage.store.summaries(task=task)),
            key=lambda one: -one.mean if one.board.higher_is_better else one.mean,
        )
        assert f"./result/{best.group_id}" in links
    assert "UniMat: structure, as printed" in page.text
    assert page.values("td", "class").count("number cell-best") >= 2
    retrieval = [row for row in storage.rows if row.metric == "top-10"]
    assert all(f"./result/{row.group_id}" in links for row in retrieval)
    assert "by chance 25 %" in page.text


def test_search_finds_across_the_whole_store(client):
    page = get(client, "/?q=ALIGNED+energy")
    assert len([name for name in page.values("tr", "class") if name == "result"]) == 1
    assert "1 result" in page.text
    nothing = get(client, "/?q=zeolite")
    assert "result" not in nothing.values("tr", "class")
    assert "Nothing found" in nothing.text


def test_a_board_sorts_filters_and_gives_what_it_shows(client, storage):
    path = board_path(storage, "formation energy", "?sort=model&order=desc&status=self-reported")
    page = get(client, path)
    hidden = [value for tag, name, value in page.attributes if (tag, name) == ("tr", "hidden")]
    assert len(hidden) == 1
    links = page.values("a", "href")
    [table] = [link for link in links if ".csv" in link]
    answer = client.get(str(client.build_request("GET", path).url.join(table)))
    lines = list(csv.DictReader(io.StringIO(answer.text)))
    assert [line["variant"] for line in lines] == ["from_scratch", "frozen"]
    assert float(lines[0]["mean"]) < 0.2
    assert lines[0]["seeds"] == "0 1 2"
    [records] = [link for link in links if ".json" in link]
    found = client.get(str(client.build_request("GET", path).url.join(records))).json()
    assert [one["variant"] for one in found] == ["from_scratch", "frozen"]
    [paper] = [link for link in links if ".tex" in link]
    table = client.get(str(client.build_request("GET", path).url.join(paper))).text
    assert table.count("\\\\\n") == 3  # the heading and two results


def test_board_and_result_tell_what_pretraining_saw(client, storage):
    told, missing = "12 of 1,809 test materials were seen in pretraining", "is not recorded"
    board = get(client, board_path(storage, "formation energy", "")).text
    assert told in board
    assert "By the account of each result; verify does not check it" in board
    pages = {
        key: get(client, f"/result/{storage.groups['formation energy', key]}").text
        for key in ("aligned", "scratch", "hostile")
    }
    assert [key for key, text in pages.items() if told in text] == ["aligned"]
    assert f"By its own account, which verify does not check: {told}" in pages["aligned"]
    assert [key for key, text in pages.items() if missing in text] == ["hostile"]


def test_an_imported_result_says_so_and_what_nobody_knows(storage, serve):
    ours = storage.rows[0].model_copy(update={"task": "matbench log K, fold 0 of 5"})
    source = Published(
        file="theirs.csv",
        file_sha256="f" * 64,
        file_uri="imported/ffff/source.csv",
        column="good",
        id_column="id",
        citation="Good et al. (2024)",
    )
    known = {"hardware": {}, "wall_time_s": 0.0, "samples_seen": 0, "parent_run": ""}
    known |= {"checkpoint_uri": "", "checkpoint_sha256": "", "hyperparameters": {}}
    told = {"section": IMPORTED, "variant": IMPORTED, "model": "GoodNet"}
    theirs = ours.model_copy(update=known | told | {"details": source.as_details()})
    with serve(ours, theirs, root=storage.root) as client:
        board = get(client, f"/board/{board_of(ours).board_id}").text
        result = get(client, f"/result/{theirs.group_id}").text
        compared = get(client, f"/compare?a={ours.group_id}&b={theirs.group_id}").text
        other = get(client, f"/result/{ours.group_id}").text
    assert note_of(ours.task) in board
    assert board.count("Good et al. (2024)") == 1
    assert "Good et al. (2024)" in result
    assert result.count("not known") >= 3  # time, samples, and in the sentence
    assert "from scratch" not in result
    assert "Hardware" not in result
    assert "not known" in compared
    assert "Imported from" not in other


def test_a_spreadsheet_reads_no_name_as_a_formula(storage, serve):
    row = storage.rows[0].model_copy(update={"model": '=HYPERLINK("http://x")'})
    with serve(row) as client:
        text = client.get(f"/download/{board_of(row).board_id}.csv").text
    assert next(csv.DictReader(io.StringIO(text)))["model"] == '\'=HYPERLINK("http://x")'


def test_a_long_board_comes_in_pages(storage, serve):
    row = storage.rows[0]
    rows = [
        row.model_copy(update={"model": f"model {number:04d}", "value": 1 + number / 1000})
        for number in range(PAGE_LENGTH + 20)
    ]
    path = f"/board/{board_of(row).board_id}"
    with serve(*rows) as client:
        first, last = get(client, path), get(client, f"{path}?page=2&sort=model&order=desc")
        beyond, before = get(client, f"{path}?page=99"), get(client, f"{path}?page=0")
    assert "page 1 of 2" in first.text
    assert first.values("tr", "class").count("result") == PAGE_LENGTH
    assert last.values("tr", "class").count("result") == 20
    assert "model 0000" in last.text
    assert "page 2 of 2" in beyond.text
    assert before.values("tr", "class").count("result") == PAGE_LENGTH


def test_a_result_shows_its_seeds_curves_and_predictions(client, storage):
    page = get(client, f"/result/{storage.groups['lattice lengths, scaled', 'aligned']}")
    kinds = [figure["kind"] for figure in page.figures]
    assert kinds == ["curves", "curves", "cloud", "cloud", "cloud", "curves"]
    assert [one["mark"] for one in page.figures[0]["series"]] == [10, 10, 10]
    assert page.figures[1]["series"][0]["y"] == [0.8 / epoch**0.5 for epoch in range(1, 13)]
    assert [cloud["name"] for cloud in page.figures[2]["clouds"]] == ["a", "b", "c"]
    for text in ("+ changes", "1 min 15 s", "315,012", "verify --run mini-lattice-lengths-scaled"):
        assert text in page.text


def test_the_mean_of_networks_shows_the_curve_and_the_weights_of_each(storage, serve):
    own = [row for row in storage.rows if row.task == "formation energy"][:3]
    assert [row.seed for row in own] == [0, 1, 2]
    table = pd.read_parquet(storage.root / own[0].predictions_uri)
    files = {name: getattr(own[0], name) for name in ("predictions_uri", "predictions_sha256")}
    task = TaskSettings(name="formation energy", target="any", unit="eV/atom")
    mean = ensemble_row(own, task, table, files)
    with serve(mean, root=storage.root) as client:
        page = get(client, f"/result/{mean.group_id}")
    names = [one["name"] for one in page.figures[0]["series"]]
    assert names == ["seed 0", "seed 1", "seed 2"]
    assert f"{own[0].model}, mean of 3 networks" in page.text
    assert "The mean keeps no spread of its networks" in page.text
    for row in own:
        assert row.checkpoint_uri in page.text


def test_the_result_of_a_fold_shows_the_validation_of_its_task(storage, serve):
    row = next(row for row in storage.rows if row.task == "formation energy")
    config = {**row.config, FOLD: {"property": "fold", "test": "0", "num_folds": 5}}
    update = {
        "task": f"{row.task}, fold 0 of 5",
        "config": config,
        "config_hash": fingerprint(config),
    }
    of_fold = row.model_copy(update=update)
    with serve(of_fold, root=storage.root) as client:
        figures = get(client, f"/result/{of_fold.group_id}").figures
    validation = next(one for one in figures if one.get("y") == "validation (eV/atom)")
    assert validation["series"][0]["y"][0] == pytest.approx(0.8)


def test_a_classification_shows_its_confusion_beside_the_papers(client, storage):
    page = get(client, f"/result/{storage.groups['crystal system', 'aligned']}")
    assert "accuracy (%)" in page.text
    assert "98.1" in page.text  # cubic, Table 3
    shades = [value for value in page.values("td", "class") if value and "diagonal" in value]
    assert len(shades) == 6
    [reliability] = [figure for figure in page.figures if figure["kind"] == "shares"]
    assert reliability["x"] == sorted(reliability["x"])
    assert "Expected calibration error" in page.text


def test_a_pretrained_result_shows_the_pretraining_and_chance(client, storage):
    row = next(row for row in storage.rows if row.metric == "top-10")
    page = get(client, f"/result/{row.group_id}")
    assert [figure["y"] for figure in page.figures] == ["training loss", "learning rate"]
    assert "by chance 25.00 %" in page.text
    assert "Embedding maps of mini-retrieval" in page.text
    assert page.text.count("at random") == 3
    assert page.values("th", "scope").count("row") == 6
    assert "shows the first five of 60" in page.text


def test_a_retrieval_whose_embeddings_are_gone_says_so(storage, serve):
    row = next(row for row in storage.rows if row.task.startswith("retrieval"))
    with serve(row) as client:
        text = get(client, f"/result/{row.group_id}").text
    assert "embeddings.npz" in text
    assert "No examples here" in text


def test_a_comparison_tells_whether_they_differ(client, storage):
    groups = storage.groups
    a, b = groups["formation energy", "aligned"], groups["formation energy", "hostile"]
    page = get(client, f"/compare?a={a}&b={b}")
    assert "A is better, by" in page.text
    assert "1 of 5 keys differs" in page.text
    assert [figure["kind"] for figure in page.figures] == ["cloud"]
    same = get(client, f"/compare?a={a}&b={a}")
    assert "No difference is shown" in same.text
    apart = get(client, f"/compare?a={a}&b={groups['crystal system', 'aligned']}")
    assert "different boards" in apart.text


def test_boards_say_which_results_do_not_differ_from_the_best(client, storage, tmp_path):
    tied = r"does not differ from the best \(p = [\d.]+ over 60 materials, 3 seeds\)"
    board = get(client, board_path(storage, "formation energy"))
    num_tied = len(re.findall(tied, board.text))
    assert num_tied > 0
    assert f"best, but {num_tied} of the others do" in board.text
    assert "among 3 (Holm)" in board.text
    assert "not differ" not in get(client, board_path(storage, "crystal system")).text
    for task in ("formation energy", "crystal system", "lattice lengths, scaled"):
        get(client, board_path(storage, task))
    write_site(storage.url, str(storage.root), tmp_path)
    for page in (get(client, "/"), Page((tmp_path / "index.html").read_text())):
        assert len(re.findall(tied, " ".join(page.values("td", "title")))) == num_tied
        assert page.values("td", "class").count("number cell-tied") == num_tied


def test_results_are_compared_again_only_if_their_predictions_are_others(storage, tmp_path):
    class Counting(Artifacts):
        num_read = 0

        def predictions(self, row):
            self.num_read += 1
            return super().predictions(row)

    store = LeaderboardStore(f"sqlite:///{tmp_path / 'board.sqlite'}")
    rows = [row for row in storage.rows if row.task == "crystal system"]
    store.upsert(row.model_copy(update={"status": "self_reported"}) for row in rows)
    artifacts = Counting(Workspace.open(str(storage.root), storage.url))
    standing, board = Standing(Catalogue(store), artifacts), board_of(rows[0])
    [contest] = contests_of_boards(store.summaries())
    assert contest.board == board
    assert standing.of_some([contest], max_files=8) == {}
    first = standing.of(Contest(board, ()))
    assert artifacts.num_read == 9
    assert standing.of_some([contest], max_files=0) == {board: first}
    store.upsert([rows[0].model_copy(update={"task": "another board"})])
    assert standing.of(Contest(board, ())) == first
    assert artifacts.num_read == 9


def test_what_could_not_be_compared_is_tried_again(storage, tmp_path, monkeypatch):
    root = tmp_path / "root"
    rows = [row for row in storage.rows if row.task == "crystal system"]
    shutil.copytree(str(storage.root), root)
    away = root / rows[0].predictions_uri
    away.rename(tmp_path / "away.parquet")
    workspace = Workspace.open(str(root), storage.url)
    standing = Standing(Catalogue(storage.store), Artifacts(workspace))
    board = board_of(rows[0])
    assert "unknown" in {mark.kind for mark in standing.of(Contest(board, ())).of.values()}
    (tmp_path / "away.parquet").rename(away)
    version = standing.version
    assert "unknown" in {mark.kind for mark in standing.of(Contest(board, ())).of.values()}
    assert standing.version == version
    monkeypatch.setattr("omnimat_dashboard.standing.monotonic", lambda: monotonic() + RETRY_S)
    assert standing.version != version
    assert "unknown" not in {mark.kind for mark in standing.of(Contest(board, ())).of.values()}


def test_a_data_set_shows_splits_coverage_elements_and_what_was_refused(client, storage, hostile):
    page = get(client, f"/dataset/{DATASET}")
    counts = storage.manifest.split_counts
    assert [int(v) for v in page.values("progress", "max")][:3] == [v for v in counts.values() if v]
    assert "density of states" in page.text
    assert hostile in page.text
    assert "atoms … and … are … angstrom apart" in page.text
    [sizes] = page.figures
    assert sum(sizes["counts"]) == storage.manifest.num_records
    data = client.get(f"/dataset/{DATASET}/failures.jsonl")
    assert data.headers["content-disposition"] == 'attachment; filename="failures.jsonl"'
    assert len(data.text.splitlines()) == 2


def test_a_map_has_its_points_and_what_colours_them(client, storage):
    [figure] = get(client, "/map/mini-retrieval").figures
    assert figure["ids"] == storage.records["material_id"].tolist()
    keys = [one["key"] for one in figure["colours"]]
    assert keys == ["crystal_system", "formation_energy_ev_per_atom", "is_metal"]
    assert figure["colours"][1]["values"][0] is None
    assert set(figure["colours"][2]["values"]) == {"metal", "non-metal", "not known"}


@pytest.mark.parametrize(
    ("path", "command"),
    [
        ("/", "omnimat run jobs/demo.yaml"),
        ("/datasets", "omnimat run jobs/ingest.yaml"),
        ("/maps", "omnimat run jobs/evaluate.yaml"),
        ("/runs", "omnimat run jobs/pretrain.yaml"),
        ("/models", "omnimat run jobs/demo.yaml"),
    ],
)
def test_empty_pages_say_what_to_run(empty_client, path, command):
    assert command in get(empty_client, path).text


def test_scripts_and_styles_are_kept_by_browsers(client):
    for name in (
        "plotly.min.js",
        "site.js",
        "plots.js",
        "theme.js",
        "site.css",
        "plotly.css",
        "models.css",
        "result.css",
    ):
        answer = client.get(f"/static/{name}")
        assert "immutable" in answer.headers["cache-control"]
        assert answer.headers["content-encoding"] == "gzip"
    plain = client.get("/static/site.js", headers={"Accept-Encoding": "identity"})
    assert "content-encoding" not in plain.headers


def test_a_file_that_holds_something_else_is_no_error_of_the_server(storage, serve, tmp_path):
    row = storage.rows[0]
    table = pd.DataFrame({"material_id": ["a"], "target": [[1.0, 2.0]], "prediction": [None]})
    path = UPath(tmp_path / "runs" / "odd" / "predictions.parquet")
    path.parent.mkdir(parents=True)
    table.to_parquet(path)
    (path.parent / "trial.json").write_text('{"history": [{}]}')
    changed = {"checkpoint_uri": str(path.parent / "model"), "predictions_uri": str(path)}
    changed |= {"predictions_sha256": sha256_of(path)}
    with serve(row.model_copy(update=changed)) as client:
        text = get(client, f"/result/{row.group_id}").text
    assert text.count("it cannot be read") == 2


def test_a_result_says_on_what_it_errs(client, storage):
    page = get(client, f"/result/{storage.groups['formation energy', 'aligned']}")
    assert "On what it errs" in page.text
    assert "By atoms in the cell" in page.text
    assert "By crystal system" in page.text
    assert "omnimat package mini-formation-energy --variant finetuned" in page.text
    symbols = {title.partition(":")[0] for title in page.values("div", "title") if title}
    assert len(symbols) > 90
    tested = dict(
        zip(storage.records["material_id"], storage.records["reduced_formula"], strict=True)
    )
    worst = [name for name in tested if name in page.text]
    assert 10 <= len(worst) <= 20  # of 60, the worst and the best
    clouds = [figure for figure in page.figures if figure["kind"] == "cloud"]
    assert all(
        label == f"{tested[label.split('(')[1][:-1]]} ({label.split('(')[1]}"
        for cloud in clouds
        for label in cloud["labels"]
    )


def test_a_result_of_another_version_of_its_data_set_says_so(storage, serve):
    row = next(row for row in storage.rows if row.task == "crystal system")
    changed = row.model_copy(update={"dataset_fingerprint": "another"})
    with serve(changed, root=storage.root) as client:
        page = get(client, f"/result/{changed.group_id}")
    assert "in this storage is another version" in page.text
    assert "The worst materials" in page.text
    assert "By element" not in page.text
