"""A sweep that was taken over by another process is told so, and computes nothing more."""

from types import SimpleNamespace

import pytest
from upath import UPath

from omnimat.base.lease import LostError
from omnimat.finetune.progress import Progress
from omnimat.finetune.trial_settings import TrialSettings
from omnimat.finetune.tuning import _Ends, _train

TRIAL = TrialSettings(variant="finetuned", lr=1e-2, seed=0, num_epochs=1, batch_size=16)


def refuse() -> None:
    raise LostError("the sweep was taken over")


def test_no_trial_begins(plan, tmp_path):
    with pytest.raises(LostError):
        _train({"trial": TRIAL.model_dump(mode="json")}, plan, UPath(tmp_path), refuse)
    assert list(tmp_path.iterdir()) == []


def test_a_refusal_at_the_end_of_a_trial_is_kept_and_not_raised_into_tune(plan, tmp_path):
    ends = _Ends(plan, UPath(tmp_path), Progress(1, lambda values: None), refuse)
    trial = SimpleNamespace(config={"trial": TRIAL.model_dump(mode="json")}, last_result={})
    ends.on_trial_complete(1, [trial], trial)
    assert isinstance(ends.refusal, LostError)
    assert list(tmp_path.iterdir()) == []
