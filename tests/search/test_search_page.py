"""The search in the browser gives the command's answers, and keeps strangers' files in bounds."""

import json
import re
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from html import unescape
from pathlib import Path
from time import sleep
from types import SimpleNamespace
from urllib.parse import parse_qsl

import pytest
from click.testing import CliRunner
from fastapi.testclient import TestClient

from omnimat.base.checked_json import write_checked_json
from omnimat.base.child import Limits
from omnimat.base.errors import RunError
from omnimat.cli.main import main
from omnimat.search.card import CARD
from omnimat.search.search import search_run
from omnimat_dashboard.app import create_app
from omnimat_dashboard.search import searcher
from omnimat_dashboard.search.question import Question
from omnimat_dashboard.search.searcher import MAX_FILE_BYTES, Searcher, plain_name


@pytest.fixture(scope="module")
def place(workspace):
    """The server of a storage whose run ``pre`` has made an index of structures."""
    search_run("pre", ["ZnS"], workspace, against="structure")
    (index,) = (workspace.run("pre") / "search" / "prototypes").glob("structure-*")
    name = index.relative_to(workspace.root).as_posix()
    app = create_app(f"sqlite:///{workspace.root}/leaderboard.sqlite", str(workspace.root))
    with TestClient(app, "http://127.0.0.1") as client:
        yield SimpleNamespace(client=client, index=name, folder=index)


def asked(place, content=None, **parameters):
    """The page that answers, without its tags' attributes being changed."""
    given = {"index": place.index} | parameters
    if content is None:
        answer = place.client.get("/search", params=given)
    else:
        answer = place.client.post("/search", params=given, content=content)
    assert answer.status_code == 200
    return answer.text


def names(page) -> list[str]:
    return re.findall(r'href="[./]*/materials/prototypes/([^"]+)"', page)


def similarities(page) -> list[str]:
    return re.findall(r'similarity <b class="number">([^<]+)</b>', page)


def complaint(page) -> str:
    return unescape(re.search(r'class="missing wrong">([^<]*)<', page)[1])


def told_by_the_command(storage, *arguments) -> list[list[str]]:
    """The rows of the table that a command prints, each as its cells."""
    result = CliRunner().invoke(main, [str(one) for one in arguments], env={"COLUMNS": "250"})
    assert result.exit_code == 0, result.output
    lines = (line.strip("│ ") for line in result.output.splitlines() if line.startswith("│"))
    return [[cell.strip() for cell in line.split("│")] for line in lines]


@pytest.mark.parametrize("modality", ["structure", "dos", "xrd", "composition", "text"])
def test_the_answer_is_that_of_the_command_to_the_last_digit(place, storage, query_files, modality):
    given = query_files[modality]
    rows = told_by_the_command(storage, "search", "pre", given, "--against", "structure")
    if Path(given).is_file():
        page = asked(place, content=Path(given).read_bytes(), file=Path(given).name)
    else:
        page = asked(place, near=given)
    assert names(page) == [row[1] for row in rows]
    assert similarities(page) == [row[5] for row in rows]
    assert len(rows) == 10
    for row in rows:
        assert row[3] in unescape(page)


def test_filters_are_those_of_the_command(place, storage):
    where = 'crystal_system == "cubic" and space_group_number > 200'
    rows = told_by_the_command(
        storage, "screen", "pre", place.folder, "--where", where, "--elements", "S,Zn"
    )
    page = asked(place, where=where, elements="S,Zn")
    assert rows
    assert names(page) == [row[1] for row in rows]
    several = asked(place, where=where, elements=["Zn", "S"])
    assert names(several) == names(page)
    assert "Zn" not in "".join(names(asked(place, exclude_elements="Zn", top="50")))
    ordered = asked(place, order="largest:space_group_number")
    groups = [int(one) for one in re.findall(r"\((\d+)\)</span>", ordered)]
    assert groups == sorted(groups, reverse=True)
    assert len(groups) == 10


def test_hits_have_pictures_and_lead_to_their_materials(place):
    page = asked(place, near="ZnS", modality="composition")
    assert page.count("<svg") == 10
    assert place.client.get(f"/materials/prototypes/{names(page)[0]}").status_code == 200


@pytest.mark.parametrize(
    ("parameters", "told"),
    [
        ({"near": "/etc/passwd"}, "neither a formula"),
        ({"near": "Xx2"}, "Xx: no such element"),
        ({"where": "nonsense > 1"}, "the index knows no 'nonsense'"),
        ({"elements": "Zz"}, "'Zz' is no element"),
        ({"stable": "few", "near": "ZnS"}, "'few' is no number"),
        ({"near": "ZnS", "index": "runs/../../../etc"}, "no such index"),
    ],
)
def test_what_cannot_be_answered_is_said(place, parameters, told):
    assert told in complaint(asked(place, **parameters))


def test_words_that_name_a_file_are_never_read_as_one(place, query_files):
    assert "neither a formula" in complaint(asked(place, near=query_files["structure"]))


@pytest.mark.parametrize("name", ["a.cif", "sample.xy", "x.json", "POSCAR", "x.db", "x.unknown"])
def test_a_file_of_nonsense_is_named_and_nothing_of_it_stays(place, name):
    told = complaint(asked(place, content=b"\x00\xff nonsense <b>", file=f"../../{name}"))
    assert told.startswith(f"{name}: ")
    assert not list(Path(tempfile.gettempdir()).glob("omnimat-search-*"))


def test_a_large_file_is_refused_before_it_is_read(place):
    answer = place.client.post(
        "/search", params={"file": "a.cif"}, content=b" " * (MAX_FILE_BYTES + 1)
    )
    assert answer.status_code == 413


def test_a_file_that_takes_too_long_ends_its_search_and_no_other(place, query_files, monkeypatch):
    content = Path(query_files["structure"]).read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(searcher, "ANSWERING", Limits(max_cpu_s=0.002))
        slow = b"# a comment that is read\n" * 200_000 + content  # clocks tick every few ms
        assert "CPU time" in complaint(asked(place, content=slow, file="a.cif"))
    assert similarities(asked(place, content=content, file="a.cif"))[0] == "1.0000"


def test_nobody_waits_for_ever_while_another_one_searches(place, workspace, monkeypatch):
    monkeypatch.setattr(searcher, "_MAX_WAIT_S", 0.01)
    asking, question = Searcher(str(workspace.root)), Question(index=place.index, near="ZnS")
    with ThreadPoolExecutor() as threads:
        # The first question starts a process that imports torch, which takes more than a second.
        first = threads.submit(asking.answer, question)
        sleep(0.3)
        with pytest.raises(RunError, match="ask again in a minute"):
            asking.answer(question)
        assert first.result().num_materials == 30


def test_an_index_whose_model_is_not_here_says_where_to_put_it(place, workspace):
    copy = workspace.root / "indexes" / "foreign"
    shutil.copytree(place.folder.path, copy.path)
    try:
        card = json.loads((copy / CARD).read_text())
        del card["checksum"]
        card["origin"]["model"] = "gone"
        write_checked_json(copy / CARD, card)
        told = complaint(asked(place, near="ZnS", index="indexes/foreign"))
    finally:
        shutil.rmtree(copy.path)
    assert "'gone'" in told
    assert f"put its package into {workspace.root}/models" in told


def test_a_storage_without_indexes_says_what_to_run(tmp_path):
    url = f"sqlite:///{tmp_path}/leaderboard.sqlite"
    with TestClient(create_app(url, str(tmp_path)), "http://127.0.0.1") as client:
        page = client.get("/search").text
    assert "omnimat index mp-small --dataset NAME" in page


def test_the_server_loads_no_network(place, workspace):
    script = f"""
import sys
from fastapi.testclient import TestClient
from omnimat_dashboard.app import create_app
root = {str(workspace.root)!r}
app = create_app(f"sqlite:///{{root}}/leaderboard.sqlite", root)
with TestClient(app, "http://127.0.0.1") as c:
    assert c.get("/search").status_code == 200
    assert c.get("/materials/prototypes/AB_cF8_216_c_a-ZnS").status_code == 200
print("torch" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.stdout.strip(), done.returncode) == ("False", 0), done.stderr


def test_addresses_carry_the_whole_question():
    given = [
        ("index", "indexes/a"),
        ("near", "ZnS"),
        ("elements", "Zn"),
        ("elements", "S, O"),
        ("order", "smallest:band_gap_ev"),
        ("top", "20"),
        ("stable", "0.1"),
        ("where", "a > 1"),
    ]
    question = Question.of(given)
    assert question.elements == ("Zn", "S", "O")
    assert (question.smallest, question.largest, question.top) == ("band_gap_ev", "", 20)
    assert Question.of(parse_qsl(question.address()[1:])) == question


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("../../etc/passwd.cif", "passwd.cif"),
        ("C:\\\\data\\\\quartz.cif", "quartz.cif"),
        (".hidden.xy", "hidden.xy"),
        ("na\u00efve\n.cif", "na_ve_.cif"),
    ],
)
def test_names_of_files_stay_in_their_folder(given, kept):
    assert plain_name(given) == kept
