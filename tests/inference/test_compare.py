"""Lists of packed models, and two of them side by side."""

import json
import shutil
from statistics import fmean

import pytest
from click.testing import CliRunner

from omnimat.base.errors import UserError
from omnimat.cli.main import main
from omnimat.inference import shipped
from omnimat.inference.build import package
from omnimat.inference.compare import compared, facts, models_in
from omnimat.inference.package import Package, opened

TARGET = "volume_angstrom3_per_atom"


@pytest.fixture
def folder(packed, storage, tmp_path):
    """A folder with two models, one that is none, and a file beside them."""
    folder = tmp_path / "models"
    shutil.copytree(packed, folder / "volume")
    package("pre", storage, folder / "pre.zip")
    (folder / "broken").mkdir()
    (folder / "broken" / "card.json").write_text("{}")
    (folder / "notes.txt").write_text("mine")
    return folder


def run(*arguments):
    result = CliRunner().invoke(main, list(map(str, arguments)))
    return result.exit_code, result.output


def test_a_folder_is_listed_with_what_cannot_be_read(folder):
    found = {one.path.name: one for one in models_in(folder)}
    assert list(found) == ["broken", "pre.zip", "volume"]
    assert found["broken"].card is None
    assert found["volume"].card.predictor is not None
    code, output = run("models", "list", folder)
    assert code == 0, output
    for told in ("volume", TARGET, "pre.zip", "structure, composition", "broken"):
        assert told in output
    with pytest.raises(UserError, match="is no folder"):
        list(models_in(folder / "notes.txt"))


def test_models_that_come_with_omnimat_go_by_their_name(folder, monkeypatch):
    assert shipped.located("volume") != folder / "volume"
    monkeypatch.setattr(shipped, "SHIPPED", folder)
    assert shipped.located("volume") == folder / "volume"
    assert shipped.located("../models/volume").parts[0] == ".."
    assert opened("volume").card.name == "sweep"
    with pytest.raises(UserError, match="nothing-such does not exist"):
        opened("nothing-such")
    code, output = run("models", "list")
    assert code == 0
    assert "pre.zip" in output


def test_two_cards_side_by_side(folder):
    first, second = (Package(folder / name).card for name in ("volume", "pre.zip"))
    by_name = {fact.what: fact for fact in compared(first, second)}
    assert by_name["name"].values == ("sweep", "pre")
    assert by_name["name"].differs
    assert not by_name["encoder of structure"].differs
    assert by_name["encoder of composition"].values[0] == ""
    score = first.predictor.predicted[0].score
    told, nothing = by_name[f"{TARGET}: mae of a network"].values
    assert float(told.split(" ± ")[0]) == pytest.approx(fmean(score.of_each), rel=0.05)
    assert told.endswith("angstrom^3/atom")
    assert nothing == ""
    assert all(not fact.differs for fact in compared(first, first))
    assert facts(first)["learned from, 2"].startswith("data (")


def test_the_command_marks_what_differs(folder):
    code, output = run("models", "compare", folder / "volume", folder / "pre.zip")
    assert code == 0, output
    (line,) = [one for one in output.splitlines() if "encoder of structure" in one]
    assert "≠" not in line
    (line,) = [one for one in output.splitlines() if f"{TARGET}: test materials" in one]
    assert "≠" in line
    code, output = run("models", "compare", folder / "volume", folder / "nothing")
    assert (code, len(output.strip().splitlines())) == (2, 1)


def test_what_a_stranger_wrote_is_shown_and_not_obeyed(folder):
    card = json.loads((folder / "volume" / "card.json").read_text())
    del card["checksum"]
    card["name"] = "[red]x[/red]\x1b[2J"
    (folder / "volume" / "card.json").write_text(json.dumps(card))
    code, output = run("models", "compare", folder / "volume", folder / "pre.zip")
    assert code == 0, output
    assert "[red]x[/red]" in output
    assert "\x1b" not in output
