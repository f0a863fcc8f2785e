"""No property judges what has seen it: as an input, or in pretraining of the same materials."""

import json

import pytest
from upath import UPath

from omnimat.base.errors import UserError
from omnimat.base.workspace import RESULT, Workspace
from omnimat.evaluation.leakage import refuse_inputs, refuse_pretrained
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
    for run, held_out in (("careless", []), ("careful", [{"dataset": "other"}])):
        workspace.run(run).mkdir(parents=True)
        settings = pretraining(held_out).located(workspace)
        result = {"settings": settings.model_dump(mode="json")}
        (workspace.run(run) / RESULT).write_text(json.dumps(result))
    return workspace


def pretraining(held_out):
    return PretrainSettings.model_validate(
        {
            "dataset": "seen",
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


def test_other_properties_may_judge_anything(workspace, cards):
    refuse_pretrained(workspace, "careless", cards, "seen", ["train"], ["num_atoms"])


def test_a_run_that_cannot_tell_what_it_has_seen_is_refused(workspace, cards):
    with pytest.raises(UserError, match=r"run: .*result\.json is not there"):
        refuse_pretrained(workspace, "unfinished", cards, "seen", ["test"], [ENERGY])
