"""One training step, from a worker's rows to an update of the parameters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from omnimat.training.accumulate import accumulate_gradients
from omnimat.training.context import WorkerContext
from omnimat.training.loss import BatchLoss, MicroBatch
from omnimat.training.meter import Meter
from omnimat.training.plan import RunPlan
from omnimat.training.schedule import warmup_cosine
from omnimat.training.settings import PretrainSettings


def train_step(
    engine: Any,
    settings: PretrainSettings,
    inputs: Sequence[MicroBatch],
    num_rows: Sequence[int],
    context: WorkerContext,
    meter: Meter,
) -> dict[str, Tensor]:
    """Take one step on this worker's rows, which come as one batch or as several micro-batches.

    Args:
        engine: the engine that holds the model.
        settings: settings of the run, which say what is minimised.
        inputs: the micro-batches of this worker, on its device; all workers have equally many.
        num_rows: number of rows of each worker in rank order; they may differ.
        context: this worker.
        meter: counts the time of each phase.

    Returns:
        This worker's share of the loss, ``loss``, and of each of its parts, ``loss/<pair>``.
    """
    loss_of = BatchLoss.of(settings, inputs, num_rows, context, meter)
    is_last = iter([False] * (len(inputs) - 1) + [True])

    def backward(loss: Tensor) -> None:
        engine.set_gradient_accumulation_boundary(next(is_last))
        with meter.phase("backward"):
            engine.backward(loss, scale_wrt_gas=False)
        with meter.phase("optimizer"):
            engine.step()  # updates the parameters only after the last micro-batch

    with meter.phase("forward"):
        if len(inputs) == 1:
            backward(loss_of(*engine(*inputs[0])))
        else:
            accumulate_gradients(engine, inputs, loss_of, backward)
    return loss_of.shares


def seed_step(seed: int, step: int, rank: int) -> None:
    """Seed the random numbers of a step from these three alone, so that a resumed run agrees."""
    torch.manual_seed(int(np.random.SeedSequence([seed, step, rank]).generate_state(1)[0]))


def set_lr(engine: Any, plan: RunPlan, step: int) -> float:
    """Set the learning rate of a step and return it."""
    training = plan.settings.training
    lr = training.lr * warmup_cosine(
        step,
        num_steps=plan.num_steps,
        warmup_steps=round(training.warmup_epochs * plan.steps_per_epoch),
        final_fraction=training.final_lr_fraction,
    )
    for group in engine.optimizer.param_groups:
        group["lr"] = lr
    return lr
