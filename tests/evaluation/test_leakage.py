"""No property judges what has seen it: as an input, or in pretraining of the same materials."""

import copy
import json
import shutil

import pytest
from upath import UPath

from omnimat.base.errors import UserError
from omnimat.base.workspace import RESULT, Workspace
from omnimat.evaluation.leakage import Judging, find_leakage, refuse_inputs
from omnimat.evaluation.overlap import Overlap
from omnimat.finetune.folds import FoldSettings, judging_records, read_properties
from omnimat.materials.split import SPLITS
from omnimat.modalities.properties.features import PropertyValues
from omnimat.shards.manifest import Manifest
from omnimat.sources.prototypes import Prototypes
from omnimat.sources.settings import IngestSettings
from omnimat.training.plan import make_plan
from omnimat.training.seen import Materials, UnknownPretrainingError
from omnimat.training.settings import PretrainSettings

ENERGY, SYSTEM = "density_g_per_cm3", "crystal_system"


@pytest.fixture(scope="module")
def workspace(tmp_path_factory, write_dataset):
    """Two data sets of the same crystals, split in two ways, and runs on the first."""
    workspace = Workspace(UPath(tmp_path_factory.mktemp("leakage")))
    source = Prototypes(num_materials=40, max_atoms=6)
    for name, seed in (("seen", 0), ("other", 1)):
        settings = IngestSettings(source=source, split={"seed": seed}, records_per_shard=20)
        write_dataset(workspace, name, settings)
    more = Prototypes(num_materials=80, max_atoms=6)
    write_dataset(workspace, "more", IngestSettings(source=more, records_per_shard=40))
    whole = {"dataset": "other", "splits": ["train", "validation", "test"]}
    for run, held_out, dataset in (
        ("careless", [], "seen"),
        ("careful", [{"dataset": "other"}], "seen"),
        ("strange", [whole], "more"),
    ):
        workspace.run(run).mkdir(parents=True)
        settings = pretraining(held_out, dataset).located(workspace)
        result = {"settings": settings.model_dump(mode="json")}
        (workspace.run(run) / RESULT).write_text(json.dumps(result))
    return workspace


def pretraining(held_out, dataset="seen"):
    return PretrainSettings.model_validate(
        {
            "dataset": dataset,
            "held_out": held_out,
            "modalities": {
                "structure": {},
                "properties": {"featurizer": {"numbers": [ENERGY], "classes": [SYSTEM]}},
            },
            "objective": {"type": "clip"},
            "training": {"global_batch_size": 4},
        }
    )


@pytest.fixture(scope="module")
def cards(workspace):
    """The cards of each run."""

    def of(run, *given):
        return make_plan(run, pretraining(*given).located(workspace), workspace).cards(step=0)

    careful = of("careful", [{"dataset": "other"}])
    return {
        "careless": of("careless", []),
        "careful": careful,
        "strange": of("strange", [], "more"),
    }


@pytest.fixture
def refuse(workspace, cards):
    """Judge the structure of a run by materials of a data set, or by folds of it."""

    def refuse(run, dataset, splits, *properties):
        if isinstance(splits, FoldSettings):
            folder = workspace.dataset(dataset)
            mark = Manifest.load(folder).dataset_fingerprint
            materials = Materials(folder, mark, judging_records(folder, splits))
            splits = SPLITS
        else:
            materials = Materials.of_splits(workspace.dataset(dataset), splits)
        judging = Judging(materials, splits, {"structure": properties})
        return find_leakage(workspace, run, cards[run], judging)

    return refuse


def test_an_input_does_not_judge():
    featurizers = {"properties": PropertyValues(numbers=("space_group_number",))}
    with pytest.raises(UserError, match=r"'crystal_system'.*modalities\.properties"):
        refuse_inputs(featurizers, {"structure": [SYSTEM], "properties": [SYSTEM]})
    refuse_inputs(featurizers, {"structure": [SYSTEM]})
    refuse_inputs(featurizers, {"properties": [ENERGY]})


def test_pretraining_on_the_same_materials_is_refused(refuse):
    with pytest.raises(UserError, match=f"'{ENERGY}'.*'careless'.*held_out.*other"):
        refuse("careless", "other", ["test"], ENERGY)
    with pytest.raises(UserError, match=SYSTEM):
        refuse("careless", "other", ["validation", "test"], SYSTEM)


def test_a_synonym_of_what_was_shown_is_refused(refuse):
    with pytest.raises(UserError, match=rf"'density' \(by '{ENERGY}'\) was shown"):
        refuse("careless", "other", ["test"], "density")


def test_what_was_held_out_may_judge(refuse):
    found = refuse("careful", "other", ["validation", "test"], ENERGY)
    assert found.overlap == Overlap()


def test_a_split_by_formula_judges_its_own_pretraining(refuse):
    refuse("careless", "seen", ["validation", "test"], ENERGY)
    with pytest.raises(UserError, match=r"held_out: \[\{dataset: seen, splits: \[train\]\}\]"):
        refuse("careless", "seen", ["train"], ENERGY)


def test_of_folds_their_own_records_judge(workspace, refuse):
    """Whatever the data set's own split says, by which its own pretraining went."""
    index, texts = read_properties(workspace.dataset("seen"))
    folds = FoldSettings(property=SYSTEM, test=["cubic"])
    judging = judging_records(workspace.dataset("seen"), folds)
    cubic = [json.loads(text)[SYSTEM] == "cubic" for text in texts]
    assert set(index["material_id"][cubic]) <= set(judging["material_id"])
    assert len(judging) < len(index)
    with pytest.raises(UserError, match=rf"'{ENERGY}'.*of the {len(judging)} materials.*splits: "):
        refuse("careless", "seen", folds, ENERGY)

    trained = set(index["material_id"][index["split"] == "train"])
    tested = index["material_id"][cubic].tolist()
    told = refuse("careless", "seen", folds, "num_atoms").of_parts({"test": tested})
    assert told.run == "careless"
    assert (told.dataset, told.num_pretrained) == ("seen", len(trained))
    part = told.parts["test"]
    # The data set is split by formula, so no polymorph of a held-out material was seen.
    assert part.num_materials == len(tested)
    assert part.same_formula == part.same_structure == len(trained & set(tested)) > 0
    assert part.not_compared == 0


def test_folds_may_judge_what_was_held_out_whole(refuse):
    folds = FoldSettings(property=SYSTEM, test=["cubic"])
    with pytest.raises(UserError, match=r"held_out: \[\{dataset: other, splits: \[train, val"):
        # It holds out only what is not in the training split of the other.
        refuse("careful", "other", folds, ENERGY)
    refuse("strange", "other", folds, ENERGY)


def test_other_properties_may_judge_anything(workspace, refuse):
    found = refuse("careless", "other", ["test"], "num_atoms")
    index = Manifest.load(workspace.dataset("other")).records(workspace.dataset("other"))
    tested = index["material_id"][index["split"] == "test"]
    seen = Manifest.load(workspace.dataset("seen")).records(workspace.dataset("seen"))
    trained = seen["material_id"][seen["split"] == "train"]
    # The same crystals under the same ids, so ids tell what structures have to tell.
    part = found.of_parts({"test": tested.tolist()}).parts["test"]
    assert part.same_structure == tested.isin(trained).sum() > 0
    assert part.same_formula >= part.same_structure


@pytest.fixture
def spoilt(workspace, cards):
    """Copy a run whose data or files are spoilt, and judge it."""

    def spoilt(result=None, card=None):
        run = workspace.run("spoilt")
        shutil.rmtree(run, ignore_errors=True)
        if result is not None:
            run.mkdir()
            (run / RESULT).write_text(result)
        own = {k: one.model_copy(update=card or {}) for k, one in cards["careless"].items()}
        materials = Materials.of_splits(workspace.dataset("other"), ["test"])

        def judge(name):
            judging = Judging(materials, ["test"], {"structure": [name]})
            return find_leakage(workspace, "spoilt", own, judging)

        return judge

    return spoilt


def told_settings(**changes):
    return json.dumps({"settings": pretraining([]).model_dump(mode="json") | changes})


@pytest.mark.parametrize(
    ("result", "card", "why"),
    [
        (None, {}, "result.json is not there"),
        ("{", {}, "damaged"),
        ("[]", {}, "damaged"),
        ("{}", {}, "no settings"),
        (told_settings(lr=1), {}, "no settings"),
        (told_settings(dataset="gone"), {}, "data set 'gone' is not in this storage"),
        (told_settings(held_out=[{"dataset": "lost"}]), {}, "data set 'lost'"),
        (told_settings(), {"dataset_fingerprint": "0"}, "is not the one that its encoders"),
        (told_settings()[:-1] + ', "records_fingerprint": "0"}', {}, "held out was ingested again"),
    ],
)
def test_what_nobody_knows_is_unknown_and_judges_no_label(spoilt, result, card, why):
    judge = spoilt(result, card)
    found = judge("num_atoms").of_parts({"test": ["a"]})
    assert why in found.unknown
    assert found.parts == {}
    assert "is not known" in found.sentence
    with pytest.raises(UserError, match=f"'{ENERGY}' was shown.*nobody knows.*{why}"):
        judge(ENERGY)


def test_why_nobody_knows_can_be_told_to_another_process():
    error = UnknownPretrainingError.of("run", "its data set is gone")
    told = copy.copy(error)  # it is taken apart and put together as between processes
    assert (str(told), told.why) == (str(error), error.why)
