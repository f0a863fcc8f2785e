"""The commands ``omnimat ingest`` and ``omnimat init``, as a user types them."""

import csv
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import omnimat as package
from omnimat.base.workspace import Workspace
from omnimat.cli.main import main
from omnimat.leaderboard.store import LeaderboardStore
from omnimat.materials.crystals import to_pymatgen
from omnimat.sources.prototypes import Prototypes

REPOSITORY = Path(__file__).parents[2]
PACKED = REPOSITORY / "tests/fixtures/packages/v1/embeds"


@pytest.fixture
def omnimat(tmp_path, monkeypatch):
    """Run a command in a folder of one's own, which must not need Ray."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OMNIMAT_STORAGE", str(tmp_path / "storage"))

    def omnimat(*arguments):
        result = CliRunner().invoke(main, arguments)
        return result.exit_code, result.output

    return omnimat


def write_crystals(folder, num_crystals):
    """Write CIFs and a table of two labels that names their files."""
    (folder / "crystals").mkdir()
    rows = [["sample", "response", "system"]]
    for record in Prototypes(num_materials=num_crystals, max_atoms=4).read(0, num_crystals):
        name = f"{record.material_id}.cif"
        to_pymatgen(record.structure).to(str(folder / "crystals" / name), fmt="cif")
        label = record.properties["volume_angstrom3_per_atom"]
        rows.append([name, label, record.properties["crystal_system"]])
    with (folder / "labels.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)


@pytest.mark.ray
@pytest.mark.slow
def test_from_a_folder_to_job_files_that_pass_the_check(run_here, tmp_path):
    write_crystals(tmp_path, 60)
    (tmp_path / "crystals" / "broken.cif").write_text("data_nothing\n")
    (tmp_path / "crystals" / "notes.docx").write_bytes(b"PK")
    name = f"crystals-{tmp_path.name}"
    arguments = ("ingest", "crystals", "--labels", "labels.csv", "--name", name)
    code, output = run_here(tmp_path, *arguments)
    assert code == 0, output
    for told in ("61 CIF", "notes.docx", "60 of 61", "response: number", "system: class"):
        assert told in output
    assert f"{name}: 60 records, 1 refused" in output
    assert f"omnimat init {name}" in output
    assert (tmp_path / f"{name}.yaml").exists()

    code, again = run_here(tmp_path, *arguments)
    assert code == 0, again

    code, output = run_here(tmp_path, "init", name)
    assert code == 0, output
    files = ["ingest.yaml", "pretrain.yaml", "finetune.yaml"]
    assert all((tmp_path / file).exists() for file in files)
    assert "target: response" in (tmp_path / "finetune.yaml").read_text()
    code, output = run_here(tmp_path, "check", *files)
    assert code == 0, output

    code, output = run_here(tmp_path, "init", name, "--target", "system", "--to", "by-system")
    assert code == 0, output
    assert "kind: classification" in (tmp_path / "by-system" / "finetune.yaml").read_text()
    code, output = run_here(tmp_path, "init", name, "--target", "system")
    assert code == 2, output
    assert "finetune.yaml" in output
    assert "--to" in output


@pytest.mark.ray
@pytest.mark.soak
def test_from_a_packed_model_and_labels_to_a_model_of_ones_own(run_here, tmp_path):
    write_crystals(tmp_path, 60)
    name = f"tuned-{tmp_path.name}"
    data = ("crystals", "--labels", "labels.csv", "--name", name)
    short = ("learning_rates=[3.0e-3]", "seeds=[0]", "trial.num_epochs=2")
    overrides = [word for one in short for word in ("--set", one)]
    what = ("--target", "response", "--unit", "A^3", "--folds", "2")
    asked = ("finetune", str(PACKED), *data, *what)
    code, output = run_here(tmp_path, *asked, *overrides)
    assert code == 0, output
    for told in (
        "60 labels",
        "linear probe: ",
        "2 folds made of formulas measure the error",
        f"wrote {name}-response-folds.yaml",
        "response: mae ",
        "(60 test materials, 2 folds of formulas); to guess the training mean gives",
        f"the model lies in {name}-response; next: omnimat predict {name}-response ",
    ):
        assert told in output
    model = package.load(tmp_path / f"{name}-response")
    assert [one.dataset for one in model.card.trained] == ["tiny", name]
    assert model.card.seen.properties == ("response",)
    file = next(iter(sorted((tmp_path / "crystals").glob("AB*.cif"))))
    assert np.isfinite(model.predict(file)["response"]).all()
    rows = LeaderboardStore(Workspace.open().leaderboard_url).rows()
    tasks = {row.task for row in rows if row.dataset == name}
    assert tasks == {"response", "response, formula fold 1 of 2", "response, formula fold 2 of 2"}
    code, output = run_here(tmp_path, *asked, *overrides)
    assert (code, "is there already" in output) == (2, True)


def test_nothing_to_read_is_one_sentence(omnimat, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "papers").mkdir()
    (tmp_path / "papers" / "a.docx").write_bytes(b"PK")
    for path in ("nowhere", "empty", "papers"):
        code, output = omnimat("ingest", path)
        assert code == 2, output
        assert path in output
        assert "Traceback" not in output
    assert not list(tmp_path.glob("*.yaml"))


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--log10",), "--log10: bonding is a class"),
        (("--unit", "eV"), "--unit: bonding is a class"),
        (("--folds", "1"), "--folds: "),
    ],
)
def test_a_tuning_that_cannot_be_is_refused_before_the_ingest(omnimat, tmp_path, options, told):
    (tmp_path / "salts.csv").write_text("formula,bonding\n" + "NaCl,ionic\nSi,covalent\n" * 3)
    arguments = ("finetune", str(PACKED), "salts.csv", "--target", "bonding", *options)
    code, output = omnimat(*arguments)
    assert (code, told in output) == (2, True), output
    assert [one.name for one in tmp_path.iterdir()] == ["salts.csv"]


def test_another_job_file_is_not_overwritten(omnimat, tmp_path):
    write_crystals(tmp_path, 3)
    (tmp_path / "crystals.yaml").write_text("kind: ingest\nname: other\n")
    code, output = omnimat("ingest", "crystals")
    assert code == 2, output
    assert "crystals.yaml" in output
    assert "--job-file" in output
    assert (tmp_path / "crystals.yaml").read_text() == "kind: ingest\nname: other\n"


def test_options_without_a_table_are_refused(omnimat, tmp_path):
    write_crystals(tmp_path, 3)
    for option in ("--id", "--split"):
        code, output = omnimat("ingest", "crystals", option, "x")
        assert code == 2, output
        assert "--labels" in output
    code, output = omnimat("ingest", "crystals", "--name", "a b")
    assert code == 2, output
    assert "--name" in output


def test_a_data_set_that_is_not_there_is_one_sentence(omnimat):
    code, output = omnimat("init", "nobody")
    assert code == 2, output
    assert "omnimat ingest" in output


@pytest.mark.parametrize("command", ["ingest", "init"])
def test_help_has_examples(omnimat, command):
    code, output = omnimat(command, "--help")
    assert code == 0
    assert f"omnimat {command} crystals" in output


def test_the_example_folder_is_right():
    """Its labels name its files, and measured densities are those of its cells within 2 %."""
    from omnimat.sources.files.source import Files

    folder = REPOSITORY / "jobs" / "crystals"
    source = Files(path=str(folder)).located()
    crystals = {one.material_id: one for one in source.read(0, source.num_items())}
    with (folder / "labels.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["id"] for row in rows} == crystals.keys()
    for row in rows:
        density = to_pymatgen(crystals[row["id"]].structure).density
        assert float(row["density (g/cm3)"]) == pytest.approx(density, rel=0.02)
    assert sum(path.stat().st_size for path in folder.iterdir()) < 60_000
