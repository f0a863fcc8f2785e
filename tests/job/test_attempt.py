"""Which job may go on with what another has begun under its name."""

import pytest
from upath import UPath

from omnimat.base.errors import UserError
from omnimat.base.workspace import RESULT, Workspace
from omnimat.job.attempt import open_run
from omnimat.job.load import load

GRID = ("learning_rates=[1e-3]", "seeds=[0, 1, 2, 3]", "grid={weight_decay: [0, 0.1]}")


@pytest.fixture
def open_sweep(finetune, tmp_path):
    """Open the folder of jobs/finetune.yaml under other values."""
    workspace = Workspace(UPath(tmp_path / "storage"))

    def opened(*overrides: str) -> UPath | None:
        settings = load(finetune, overrides).settings
        return open_run("sweep", settings, workspace, fresh=False)

    return opened


def test_a_sweep_that_has_not_ended_goes_on_with_another_grid(open_sweep):
    run = open_sweep()
    assert open_sweep(*GRID) == run
    assert open_sweep("trial.num_threads=4", "cpus_per_trial=4") == run
    for other in ("trial.num_epochs=3", "modalities=[dos]", "asha={grace_epochs: 2}"):
        with pytest.raises(UserError, match="was made under other settings"):
            open_sweep(other)


def test_one_that_has_ended_is_what_it_is(open_sweep, finetune):
    run = open_sweep()
    settings = load(finetune).settings
    (run / RESULT).write_text(f'{{"config_hash": "{settings.fingerprint()}"}}')
    assert open_sweep() is None
    assert open_sweep("trial.num_threads=4") is None
    with pytest.raises(UserError, match="was made under other settings"):
        open_sweep("seeds=[0]")
