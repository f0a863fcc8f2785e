import pytest
from pydantic import ValidationError
from pymatgen.core import Lattice, Structure

from omnimat.base.errors import UserError
from omnimat.shards.manifest import Manifest
from omnimat.sources.files.source import Files
from omnimat.sources.prototypes import Prototypes
from omnimat.sources.settings import IngestSettings
from omnimat.testing.sent import sent
from omnimat.training.plan import RunPlan, make_plan
from omnimat.training.settings import PretrainSettings


@pytest.fixture
def new_plan(workspace, new_settings):
    def new_plan(**training) -> RunPlan:
        return make_plan("run", new_settings(**training), workspace)

    return new_plan


def test_counts_only_the_training_split(new_plan, workspace):
    plan = new_plan()
    assert set(plan.records["split"]) == {"train"}
    assert plan.manifest.split_counts["train"] == len(plan.records) < 40
    assert plan.steps_per_epoch == len(plan.records) // 8
    assert plan.num_steps == 3 * plan.steps_per_epoch


def test_no_formula_that_another_data_set_holds_out_is_learned(
    workspace, write_dataset, new_settings
):
    source = Prototypes(num_materials=60, max_atoms=6)
    write_dataset(workspace, "others", IngestSettings(source=source, split={"seed": 1}))
    others = Manifest.load(workspace.dataset("others")).records(workspace.dataset("others"))
    kept = set(others.loc[others["split"].isin(["validation", "test"]), "reduced_formula"])
    values = new_settings().model_dump() | {"held_out": [{"dataset": "others"}]}
    plan = make_plan("run", PretrainSettings.model_validate(values), workspace)
    all_of_them = make_plan("run", new_settings(), workspace).records
    is_kept = all_of_them["reduced_formula"].isin(kept)
    assert 0 < is_kept.sum() < len(all_of_them)
    assert plan.records["material_id"].tolist() == all_of_them[~is_kept]["material_id"].tolist()
    assert plan.records.index.tolist() == list(range(len(plan.records)))


@pytest.mark.parametrize(
    ("intervals", "steps"),
    [
        ({"checkpoint_interval_epochs": 1}, [3, 6, 9]),
        ({"checkpoint_interval_epochs": 2}, [6, 9]),
        ({}, [9]),
        ({"checkpoint_interval_epochs": 2, "checkpoint_interval_steps": 4}, [4, 6, 8, 9]),
        ({"checkpoint_interval_epochs": None, "checkpoint_interval_steps": 4}, [4, 8, 9]),
        ({"checkpoint_interval_epochs": None, "checkpoint_interval_minutes": 1}, [9]),
    ],
)
def test_checkpoints_are_due_by_epochs_and_by_steps_and_at_the_end(new_plan, intervals, steps):
    plan = new_plan(**{"checkpoint_interval_epochs": 5} | intervals)
    assert (plan.steps_per_epoch, plan.num_steps) == (3, 9)
    assert [step for step in range(1, 10) if plan.is_checkpoint_step(step)] == steps


def test_how_often_a_run_is_saved_is_not_part_of_what_it_is(new_settings):
    often = new_settings(checkpoint_interval_steps=1, checkpoint_interval_minutes=0.5)
    assert often.fingerprint() == new_settings().fingerprint()


def test_travels_light(new_plan):
    plan = new_plan()
    assert len(plan.records)
    received = sent(plan)
    assert "records" not in vars(received)  # every worker reads them itself
    assert received == plan
    assert received.records.equals(plan.records)


def test_cards_say_where_an_encoder_comes_from(new_plan):
    card = new_plan().cards(step=5)["text"]
    assert (card.modality, card.parent_run, card.samples_seen) == ("text", "run", 40)


def test_a_batch_larger_than_the_split_is_refused(new_plan):
    with pytest.raises(UserError, match=r"training\.global_batch_size is 64.*'prototypes'"):
        new_plan(global_batch_size=64)


def test_a_data_set_that_is_not_there_is_refused(workspace, new_settings):
    settings = new_settings().model_copy(update={"dataset": "nothing"})
    with pytest.raises(UserError, match="nothing"):
        make_plan("run", settings, workspace)


def test_a_modality_that_nobody_has_is_refused(workspace, write_dataset, new_settings, tmp_path):
    salt = Structure(Lattice.cubic(5.6), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    salt.to(str(tmp_path / "salt.cif"))
    write_dataset(workspace, "bare", IngestSettings(source=Files(path=str(tmp_path))))
    settings = new_settings().model_copy(update={"dataset": "bare"})
    with pytest.raises(UserError, match=r"modalities\.charge_density: .*'bare'.*ingest"):
        make_plan("run", settings, workspace)


def test_text_without_the_embedding_asked_for_is_refused(workspace, new_settings):
    """The prototypes have text but no stored embedding, which would silently mean no text."""
    values = new_settings().model_dump(exclude_none=True)
    values["modalities"]["text"]["featurizer"]["source"] = "stored"
    with pytest.raises(UserError, match=r"modalities\.text: .*text_embedding.*change"):
        make_plan("run", PretrainSettings.model_validate(values), workspace)


@pytest.mark.parametrize(
    ("training", "message"),
    [
        ({"global_batch_size": 8, "num_workers": 9}, r"global_batch_size 8 .*num_workers 9.* 9 or"),
        ({"num_epochs": 2, "warmup_epochs": 2.5}, r"warmup_epochs 2\.5 .*num_epochs 2"),
    ],
)
def test_settings_that_cannot_work_are_refused(new_settings, training, message):
    with pytest.raises(ValidationError, match=message):
        new_settings(**training)
