"""No property judges what has seen it: as an input, or in pretraining of the same materials."""

import json

import pytest
from upath import UPath

from omnimat.base.errors import UserError
from omnimat.base.workspace import RESULT, Workspace
from omnimat.evaluation.leakage import refuse_inputs, refuse_pretrained, refuse_pretrained_folds
from omnimat.finetune.folds import FoldSettings, judging_records, read_properties
from omnimat.modalities.properties.features import PropertyValues
from omnimat.sources.prototypes import Prototypes
from omnimat.sources.settings import IngestSettings
from omnimat.training.plan import make_plan
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
    return make_plan("careless", pretraining([]).located(workspace), workspace).cards(step=0)


def test_an_input_does_not_judge():
    featurizers = {"properties": PropertyValues(numbers=("space_group_number",))}
    with pytest.raises(UserError, match=r"'crystal_system'.*modalities\.properties"):
        refuse_inputs(featurizers, ["structure", "properties"], [SYSTEM])
    refuse_inputs(featurizers, ["structure"], [SYSTEM])
    refuse_inputs(featurizers, ["properties"], [ENERGY])


def test_pretraining_on_the_same_materials_is_refused(workspace, cards):
    with pytest.raises(UserError, match=f"'{ENERGY}'.*'careless'.*held_out.*other"):
        refuse_pretrained(workspace, "careless", cards, "other", ["test"], [ENERGY])
    with pytest.raises(UserError, match=SYSTEM):
        refuse_pretrained(workspace, "careless", cards, "other", ["validation", "test"], [SYSTEM])


def test_what_was_held_out_may_judge(workspace, cards):
    refuse_pretrained(workspace, "careful", cards, "other", ["validation", "test"], [ENERGY])


def test_a_split_by_formula_judges_its_own_pretraining(workspace, cards):
    refuse_pretrained(workspace, "careless", cards, "seen", ["validation", "test"], [ENERGY])
    with pytest.raises(UserError, match=ENERGY):
        refuse_pretrained(workspace, "careless", cards, "seen", ["train"], [ENERGY])


def test_of_folds_their_own_records_judge(workspace, cards):
    """Whatever the data set's own split says, by which its own pretraining went."""
    index, texts = read_properties(workspace.dataset("seen"))
    folds = FoldSettings(property=SYSTEM, test=["cubic"])
    judging = judging_records(workspace.dataset("seen"), folds)
    cubic = [json.loads(text)[SYSTEM] == "cubic" for text in texts]
    assert set(index["material_id"][cubic]) <= set(judging["material_id"])
    assert len(judging) < len(index)

    def refuse(name, properties):
        refuse_pretrained_folds(
            workspace,
            name,
            cards,
            "seen",
            lambda folder: judging_records(folder, folds),
            properties,
        )

    with pytest.raises(UserError, match=rf"'{ENERGY}'.*of the {len(judging)} materials.*splits: "):
        refuse("careless", [ENERGY])
    refuse("careless", ["num_atoms"])


def test_folds_may_judge_what_was_held_out_whole(workspace, cards):
    folds = FoldSettings(property=SYSTEM, test=["cubic"])

    def refuse(run):
        refuse_pretrained_folds(
            workspace, run, cards, "other", lambda folder: judging_records(folder, folds), [ENERGY]
        )

    with pytest.raises(UserError, match=r"held_out: \[\{dataset: other, splits: \[train, val"):
        refuse("careful")  # which holds out only what is not in the training split of the other
    refuse("strange")


def test_other_properties_may_judge_anything(workspace, cards):
    refuse_pretrained(workspace, "careless", cards, "seen", ["train"], ["num_atoms"])


def test_a_run_that_cannot_tell_what_it_has_seen_is_refused(workspace, cards):
    with pytest.raises(UserError, match=r"run: .*result\.json is not there"):
        refuse_pretrained(workspace, "unfinished", cards, "seen", ["test"], [ENERGY])
