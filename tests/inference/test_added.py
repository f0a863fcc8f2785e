"""A packed model as the start of a job that has modalities of its own beside the model's."""

import pytest
import torch
import yaml
from pydantic import ValidationError
from upath import UPath

from omnimat.base.errors import UserError
from omnimat.base.workspace import Workspace
from omnimat.finetune.plan import make_plan
from omnimat.finetune.settings import FinetuneSettings
from omnimat.finetune.trial import build_model
from omnimat.inference.build import package
from omnimat.inference.package import Package
from omnimat.inference.start import as_run
from omnimat.job.run import checked
from omnimat.modalities.choices import ModalityChoices
from omnimat.models.export import load as load_export
from omnimat.models.inputs import export_folder, read_cards
from omnimat.training.seen import pretraining_of

TASK = {"name": "group", "target": "space_group_number"}
ADDED = {"composition": {"encoder": {"preset": "tiny"}}}
BOTH = {"modalities": ["structure", "composition"], "variants": ["finetuned"], "added": ADDED}
SETTINGS = {"dataset": "data", "tasks": [TASK]}


@pytest.fixture
def job(tmp_path, storage):
    """Write a fine-tuning job on the storage."""

    def job(**changes):
        content = {"kind": "finetune", "name": "tune", "storage_path": str(storage.root)}
        path = tmp_path / "tune.yaml"
        path.write_text(yaml.safe_dump(content | SETTINGS | changes))
        return path

    return job


def weights(workspace, run, modality):
    return load_export(export_folder(workspace.run(run), modality))[0].state_dict()


def are_equal(ours, theirs):
    return ours.keys() == theirs.keys() and all(torch.equal(ours[key], theirs[key]) for key in ours)


def test_the_model_keeps_its_weights_and_what_is_added_is_new_and_always_the_same(packed, tmp_path):
    added = ModalityChoices.model_validate(ADDED)
    here, there = (Workspace(UPath(tmp_path / name)) for name in ("here", "there"))
    alone, run = as_run(Package(packed), here), as_run(Package(packed), here, added)
    assert run != alone
    assert are_equal(weights(here, run, "structure"), weights(here, alone, "structure"))
    torch.manual_seed(7)
    assert as_run(Package(packed), there, added) == run
    assert are_equal(weights(here, run, "composition"), weights(there, run, "composition"))
    cards = read_cards(here.run(run))
    assert cards["composition"].embedding_dim == cards["structure"].embedding_dim
    assert cards["composition"].samples_seen == 0
    before = pretraining_of(here, alone, read_cards(here.run(alone)))
    after = pretraining_of(here, run, cards)
    assert after.properties_shown == before.properties_shown
    assert after.materials.fingerprint == before.materials.fingerprint


def test_each_seed_draws_what_is_added_anew(packed, storage):
    """So that a spread over seeds is one; what the model brings stays the same."""
    run = as_run(Package(packed), storage, ModalityChoices.model_validate(ADDED))
    chosen = {**SETTINGS, "run": run, "modalities": BOTH["modalities"], "seeds": [0, 1]}
    settings = FinetuneSettings.model_validate(chosen | {"variants": ["finetuned"]})
    plan = make_plan(settings, storage, read_cards(storage.run(run)))
    first, again, second = (
        build_model(plan, trial, 1).encoder
        for trial in (settings.trials()[0], *settings.trials()[:2])
    )
    saved = weights(storage, run, "structure")
    for encoder in (first, again, second):
        assert are_equal(encoder["structure"].state_dict(), saved)
    drawn = [one["composition"].state_dict() for one in (first, again, second)]
    assert are_equal(*drawn[:2])
    assert not are_equal(drawn[0], drawn[2])


def test_a_job_trains_both_and_its_model_can_be_packed(storage, packed, job, sweep_in, tmp_path):
    (there,) = checked(job(model=str(packed), **BOTH))
    ready = there.prepared().settings
    assert not ready.model
    assert ready.added is None
    assert set(read_cards(storage.run(ready.run))) == set(BOTH["modalities"])
    choices = {
        **SETTINGS,
        "run": ready.run,
        "modalities": BOTH["modalities"],
        "variants": ["finetuned"],
        "learning_rates": [5e-3],
        "seeds": [0],
        "trial": {"num_epochs": 1, "batch_size": 64},
    }
    sweep_in("both", choices)
    card = package("both", storage, tmp_path / "both")
    assert set(card.encoders) == {"structure", "composition"}
    assert [one.run for one in card.trained] == ["pre", "sweep", "both"]


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"run": "pre", "model": ""}, "added: it goes with model"),
        ({"variants": ["finetuned", "frozen"]}, "frozen would leave these encoders untrained"),
        ({"modalities": ["structure"]}, r"added\.composition: name it among modalities"),
        ({"added": {"composition": {"encoder": None}}}, r"added\.composition\.encoder: it needs"),
    ],
)
def test_what_cannot_be_is_refused(changes, why):
    with pytest.raises(ValidationError, match=why):
        FinetuneSettings.model_validate(SETTINGS | BOTH | {"model": "x"} | changes)


def test_augmentation_is_a_key_of_the_job():
    added = {"structure": {"augmentation": {"strain": 0.01}}}
    changes = {"model": "x", "modalities": ["structure"], "variants": ["finetuned"]}
    with pytest.raises(ValidationError, match=r"give it as augmentation\.structure"):
        FinetuneSettings.model_validate(SETTINGS | changes | {"added": added})


def test_an_encoder_that_the_model_has_is_refused_before_any_cluster(packed, job):
    added = {"structure": {"encoder": {"preset": "tiny"}}}
    with pytest.raises(UserError, match=r"added\.structure: sweep has an encoder for it"):
        checked(job(model=str(packed), variants=["finetuned"], added=added))


def test_an_added_input_that_shows_what_judges_is_refused(packed, job):
    shown = {"properties": {"featurizer": {"classes": ["space_group_number"]}}}
    changes = {**BOTH, "modalities": ["structure", "properties"], "added": shown}
    with pytest.raises(UserError, match="'space_group_number' is among the inputs"):
        checked(job(model=str(packed), **changes))
