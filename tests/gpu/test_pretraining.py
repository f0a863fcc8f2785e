"""The training loop under DeepSpeed, at every stage, and the exchange of embeddings."""

import importlib.util

import pandas as pd
import pytest
import torch
from upath import UPath

from omnimat.stream.worker import in_process
from omnimat.testing.distributed import run_workers
from omnimat.testing.interruption import KilledError, killed_after
from omnimat.training.context import WorkerContext
from omnimat.training.gather import gather_with_gradient, sum_over_workers
from omnimat.training.history import read_reports
from omnimat.training.loop import train_worker

needs_deepspeed = pytest.mark.skipif(
    importlib.util.find_spec("deepspeed") is None, reason="needs DeepSpeed"
)


# DeepSpeed remembers for a whole process that it was once told of autocast.
RUNS = [(0, "fp32"), (2, "fp32"), (1, "bf16"), (3, "bf16")]


def train_with_kills(plans, folder, device):
    """For each plan, train a step into the second epoch, and then on from the checkpoint."""
    for place, plan in enumerate(plans):
        run = UPath(folder / str(place))
        run.mkdir()
        context = WorkerContext(run, torch.device(device))
        with pytest.raises(KilledError):
            train_worker(plan, context, killed_after(plan.steps_per_epoch + 1))
        train_worker(plan, context, in_process)


@pytest.mark.slow
@needs_deepspeed
def test_a_killed_run_goes_on_where_it_was(device, new_plan, tmp_path):
    plans = [new_plan(zero_stage=stage, precision=precision) for stage, precision in RUNS]
    run_workers(train_with_kills, 1, plans, tmp_path, device.type, device=device.type)
    for place in range(len(RUNS)):
        history = pd.DataFrame(read_reports(UPath(tmp_path / str(place))))
        assert history["loss_is_finite"].all()
        assert history["step"].tolist() == [1, 2, 3, 3, 4]
        twice = history[history["step"] == 3]["loss"].tolist()
        # The same state; a GPU may add up the edges of an atom in another order.
        assert twice[1] == pytest.approx(twice[0], rel=1e-6 if device.type == "cpu" else 1e-2)


def exchange(device):
    """Gather rows of the only worker, and give what comes back with its gradient."""
    own = torch.arange(6.0, device=device).view(3, 2).requires_grad_()
    everyone = gather_with_gradient(own, [3])
    (everyone * torch.tensor([1.0, 2.0], device=device)).sum().backward()
    return [everyone.detach().cpu(), own.grad.cpu(), sum_over_workers(own).cpu()]


def test_embeddings_are_exchanged_with_their_gradients(device):
    ((everyone, gradient, total),) = run_workers(exchange, 1, device.type, device=device.type)
    rows = torch.arange(6.0).view(3, 2)
    assert torch.equal(everyone, rows)
    assert torch.equal(total, rows)
    assert torch.equal(gradient, torch.tensor([1.0, 2.0]).expand(3, 2))
