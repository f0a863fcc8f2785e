"""Reading, featurizing, answering and writing, as the actors do, but in this process."""

import json

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from pymatgen.core import Composition
from upath import UPath

import omnimat
from omnimat.base.child import Limits
from omnimat.base.errors import RunError
from omnimat.base.lease import LostError
from omnimat.base.workspace import RESULT, Workspace
from omnimat.prediction import indexing
from omnimat.prediction import run as running
from omnimat.prediction.answering import REPORT, Answer
from omnimat.prediction.featurizing import ERROR, Featurize, block_of, features_of
from omnimat.prediction.indexing import INDEX, index
from omnimat.prediction.parts import MAX_TRIES, PartReport, Tries, kept_parts
from omnimat.prediction.plan import make_plan
from omnimat.prediction.progress import QUARANTINED, Progress, write_result
from omnimat.prediction.rows import Part, parts_of
from omnimat.prediction.run import predict
from omnimat.prediction.settings import IndexSettings, PredictSettings
from omnimat.search.index import Index
from omnimat.search.materials import formula_told
from omnimat.testing.hostile_source import Hostile
from omnimat.testing.leased import leased
from omnimat.testing.packages import TARGET, write_package

# A float32 sum depends in its last digits on the batch that a material is in.
TOLERANCE = 1e-6


@pytest.fixture
def made(model, tmp_path):
    """Make all parts of an input, and give the folder, the parts and what was told of each."""

    def made(rows_per_part=7, folder="made", **choices):
        settings = PredictSettings(model=str(model), rows_per_part=rows_per_part, **choices)
        plan = make_plan(settings, Workspace(UPath(tmp_path / "storage")))
        fence = leased(UPath(tmp_path / folder))
        parts = parts_of(plan.rows, rows_per_part)
        featurize = Featurize(plan.rows, plan.featurizers, settings.item_limits, fence)
        answer = Answer(plan.package.held(), settings, fence)
        told = [answer(featurize(block_of(part))) for part in parts]
        assert [block[ERROR][0].as_py() for block in told] == [""] * len(parts)
        progress = Progress(fence.folder, parts)
        for number, block in enumerate(told):
            report = PartReport.model_validate_json(block[REPORT][0].as_py())
            progress.add(number, report)
        quarantined = progress.write_quarantined()
        write_result(progress, settings, plan.origin, quarantined, fence.check)
        return progress

    return made


def table_of(progress):
    files = sorted((progress.folder / "parts").iterdir())
    return pd.concat([pd.read_parquet(file) for file in files], ignore_index=True)


@pytest.mark.parametrize("output", ["predictions", "embeddings", "both"])
def test_a_job_says_what_python_says(made, model, crystals, output):
    progress = made(source={"path": str(crystals)}, output=output)
    table = table_of(progress)
    paths = [str(crystals / f"{name}.cif") for name in table["material_id"]]
    python = omnimat.load(model)
    assert len(table) == 30
    assert (progress.num_rows, progress.num_done, progress.num_quarantined) == (32, 32, 2)
    assert progress.missing == []
    assert set(progress.losses.reasons) == {"broken", "empty"}
    if output != "embeddings":
        wanted = python.predict(paths).drop(columns="name")
        numbers = wanted.select_dtypes("number").columns
        assert {TARGET, f"{TARGET}_low", "crystal_system_probability", "distance"} <= set(numbers)
        np.testing.assert_allclose(table[numbers], wanted[numbers], rtol=TOLERANCE)
        others = ["crystal_system", "notes"]
        pd.testing.assert_frame_equal(table[others], wanted[others], check_dtype=False)
        cells = np.stack(table["cell_angstrom"].tolist())
        np.testing.assert_allclose(cells, np.stack(wanted["cell_angstrom"]), rtol=TOLERANCE)
    if output != "predictions":
        vectors = np.stack(table["embedding"].tolist())
        np.testing.assert_allclose(vectors, python.embed(paths).vectors, atol=TOLERANCE)
    assert set(table) >= {"material_id", "notes"}


def test_the_parts_of_a_job_are_an_index_that_is_screened_by_elements(
    made, model, crystals, records, tmp_path
):
    progress = made(source={"path": str(crystals)}, output="both")
    formulas = {one.material_id: formula_told(one) for one in records}
    table = table_of(progress)
    assert table["reduced_formula"].tolist() == [formulas[one] for one in table["material_id"]]
    python = omnimat.load(model)
    encoder = python.networks.encoders.fingerprint_of("structure")
    for file in (progress.folder / "parts").iterdir():
        assert pq.read_schema(str(file)).metadata[b"omnimat.encoder"] == encoder.encode()
    index = omnimat.index(python, progress.folder / "parts", tmp_path / "index")
    oxides = omnimat.screen(python, index, elements=["O"], top=len(records))
    wanted = {name for name, formula in formulas.items() if "O" in Composition(formula)}
    assert set(oxides["name"]) == wanted != set()


@pytest.fixture
def in_this_process(monkeypatch):
    """Have the parts made one after the other here, as the actors make them."""

    def answered(parts, plan, settings, fence):
        told = (plan.rows, plan.featurizers, settings.item_limits, fence, settings.wanted)
        featurize, answer = Featurize(*told), Answer(plan.package.held(), settings, fence)
        for part in parts:
            block = answer(featurize(block_of(part)))
            assert block[ERROR][0].as_py() == ""
            yield part.number, PartReport.model_validate_json(block[REPORT][0].as_py())

    monkeypatch.setattr(running, "_answered", answered)


@pytest.mark.usefixtures("in_this_process")
@pytest.mark.parametrize("predicts", [True, False])
def test_an_index_job_makes_what_one_process_makes(
    predicts, records, tmp_path, write_records, monkeypatch
):
    """It was ended when all parts were there; then one of them was damaged."""
    write_package(tmp_path / "model", predicts=predicts)
    workspace = Workspace(UPath(tmp_path / "storage"))
    shards, test = [records[:20], records[20:]], {one.material_id for one in records[::3]}
    splits = {True: "test", False: "train"}
    write_records(workspace.dataset("data"), shards, lambda name: splits[name in test])
    chosen = {"model": str(tmp_path / "model"), "dataset": "data", "rows_per_part": 7}
    settings, fence = IndexSettings(**chosen), leased(UPath(tmp_path / "made"))

    with monkeypatch.context() as patch:
        patch.setattr(indexing, "write_index", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            index("data", settings, workspace, fence)
    assert not (fence.folder / RESULT).exists()
    damaged, *others = sorted((fence.folder / "parts").iterdir(), key=str)
    stamps = [file.stat().st_mtime_ns for file in others]
    flip_bit(damaged)
    index("data", settings, workspace, fence)
    assert [file.stat().st_mtime_ns for file in others] == stamps
    made = Index.open(fence.folder / INDEX)
    assert json.loads((fence.folder / RESULT).read_text())["num_rows"] == len(made) == 30

    python = omnimat.load(tmp_path / "model")
    wanted = omnimat.index(python, str(workspace.dataset("data")), tmp_path / "index")
    assert made.card.origin.encoder == wanted.card.origin.encoder
    assert ("predicted.distance" in wanted.materials) == predicts
    assert {"split", "known.crystal_system", "reduced_formula"} <= set(wanted.materials)
    np.testing.assert_allclose(made.embeddings, wanted.embeddings, atol=TOLERANCE)
    pd.testing.assert_frame_equal(made.materials, wanted.materials, check_like=True, rtol=TOLERANCE)


@pytest.mark.usefixtures("in_this_process")
def test_an_index_job_says_what_it_had_to_leave_out(model, crystals, tmp_path):
    source = {"path": str(crystals)}
    settings = IndexSettings(model=str(model), source=source, max_quarantined=0.1)
    fence = leased(UPath(tmp_path / "made"))
    index("crystals", settings, Workspace(UPath(tmp_path)), fence)
    made = Index.open(fence.folder / INDEX)
    assert len(made) == 30
    assert made.left_out()["name"].tolist() == ["broken", "empty"]
    assert all(made.left_out()["reason"])


def test_the_rows_stand_in_the_order_of_the_input_however_they_are_cut(made, crystals):
    tables = [
        table_of(made(rows_per_part=size, folder=str(size), source={"path": str(crystals)}))
        for size in (5, 100)
    ]
    for table in tables:
        assert table["material_id"].tolist() == sorted(table["material_id"])
        np.testing.assert_allclose(table[TARGET], tables[0][TARGET], rtol=TOLERANCE)


def test_equal_parts_are_equal_bytes(made, crystals):
    one, two = (made(folder=name, source={"path": str(crystals)}) for name in ("one", "two"))
    results = [json.loads((each.folder / "result.json").read_text()) for each in (one, two)]
    assert results[0]["parts"] == results[1]["parts"]
    assert results[0]["quarantined"] == results[1]["quarantined"]
    assert results[0]["num_rows"] == 30
    assert results[0]["num_quarantined"] == 2


def test_a_data_set_is_read_as_its_files_are(
    made, crystals, records, tmp_path, write_records, monkeypatch
):
    """And in parts that are bounded by the bytes of its records."""
    workspace = Workspace(UPath(tmp_path / "storage"))
    write_records(workspace.dataset("data"), [records[:20], records[20:]], lambda _: "train")
    table = table_of(made(dataset="data"))
    assert table["material_id"].tolist() == [one.material_id for one in records]
    monkeypatch.setattr("omnimat.prediction.rows._MAX_PART_BYTES", 10_000)
    small = made(dataset="data", folder="small", rows_per_part=1000)
    assert len(small.parts) > 3
    np.testing.assert_allclose(table_of(small)[TARGET], table[TARGET], rtol=TOLERANCE)
    of_files = table_of(made(source={"path": str(crystals)}, folder="files"))
    together = table.merge(of_files, on="material_id")
    assert len(together) == 30
    # A CIF holds fewer digits than a shard.
    np.testing.assert_allclose(together[f"{TARGET}_x"], together[f"{TARGET}_y"], rtol=1e-4)


def test_parts_of_nothing_but_broken_rows_have_the_columns_of_all(made, tmp_path):
    folder = tmp_path / "broken"
    folder.mkdir()
    for number in range(3):
        (folder / f"{number}.cif").write_text("data_x\n")
    progress = made(rows_per_part=2, source={"path": str(folder)}, output="both")
    assert len(table_of(progress)) == 0
    assert {"material_id", TARGET, "embedding", "notes"} <= set(table_of(progress))
    assert progress.num_quarantined == progress.num_done == 3
    with pytest.raises(RunError, match="3 of 3 records are quarantined"):
        progress.losses.check(0.5)


def flip_bit(file):
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(bytes(data))


@pytest.mark.parametrize("where", ["parts", "reports"])
@pytest.mark.parametrize("damage", [flip_bit, UPath.unlink, lambda file: file.write_text("{}")])
def test_only_what_is_whole_is_kept(made, crystals, where, damage, capsys):
    progress = made(source={"path": str(crystals)})
    everything = set(range(len(progress.parts)))
    assert set(kept_parts(progress.folder, progress.parts)) == everything
    damage(sorted((progress.folder / where).iterdir())[1])
    assert set(kept_parts(progress.folder, progress.parts)) == everything - {1}
    is_told = "part-00001" in capsys.readouterr().out
    assert is_told == ((where, damage) != ("reports", UPath.unlink))


def test_who_was_shut_out_writes_nothing(model, crystals, tmp_path, monkeypatch):
    settings = PredictSettings(model=str(model), source={"path": str(crystals)})
    plan = make_plan(settings, Workspace(UPath(tmp_path)))
    fence = leased(UPath(tmp_path / "held"))
    featurize = Featurize(plan.rows, plan.featurizers, settings.item_limits, fence)
    answer = Answer(plan.package.held(), settings, fence)
    features = featurize(block_of(Part(0, 0, 5)))

    def refuse(_):
        raise LostError("it was taken over")

    monkeypatch.setattr(type(fence), "check", refuse)
    assert answer(features)[ERROR][0].as_py() == "it was taken over"
    assert not (fence.folder / "parts").exists()


def test_a_driver_that_was_shut_out_leaves_its_successor_alone(
    made, model, crystals, tmp_path, monkeypatch
):
    """All parts are there when it learns of it, and its successor is writing one of them again."""
    source = {"path": str(crystals)}
    folder = made(source=source).folder
    for name in (RESULT, QUARANTINED):
        (folder / name).unlink()
    being_written = folder / "parts" / ".part-00001.parquet.0123456789abcdef.partial"
    being_written.write_bytes(b"half of it")
    fence = leased(folder)

    def refuse(_):
        raise LostError("it was taken over")

    monkeypatch.setattr(type(fence), "check", refuse)
    settings = PredictSettings(model=str(model), rows_per_part=7, source=source)
    with pytest.raises(LostError, match="taken over"):
        predict("made", settings, Workspace(UPath(tmp_path / "storage")), fence)
    assert being_written.exists()
    assert not (folder / QUARANTINED).exists()


def test_a_row_that_ends_its_process_costs_itself_alone(tmp_path):
    """It has ended one, which left its note: so the part is read item by item in a child."""
    fence, part = leased(UPath(tmp_path)), Part(0, 0, 3)
    ended = Tries(fence).of(part)  # and never left, as in a process that has died
    ended.__enter__()
    rows = Hostile(items=("good-1", "segfault", "good-2"), notes=str(tmp_path))
    block = Featurize(rows, {}, Limits(60, 1.0), fence)(block_of(part))
    reasons = features_of(block)["quarantine_reason"].to_pylist()
    assert reasons == [None, "crashed its reader: segmentation fault", None]
    assert list((tmp_path / "reading").iterdir()) == []


def test_rows_that_end_their_process_again_and_again_are_named(tmp_path):
    fence = leased(UPath(tmp_path))
    part = Part(3, 30, 40)
    killed = [Tries(fence).of(part) for _ in range(MAX_TRIES)]  # and never left
    assert [one.__enter__() for one in killed] == [False, *[True] * (MAX_TRIES - 1)]
    with pytest.raises(RunError, match=f"rows 30 to 39 .* {MAX_TRIES} times"):
        Tries(fence).of(part).__enter__()
    with Tries(leased(UPath(tmp_path))).of(part) as was_in_vain:  # another start counts anew
        assert was_in_vain
