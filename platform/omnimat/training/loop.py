"""The pretraining loop of one worker: the same under every launcher."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import Tensor

from omnimat.encoders.batch import ModalityTensors
from omnimat.encoders.multimodal import Multimodal
from omnimat.features.batch import Batch
from omnimat.materials.record import Modality
from omnimat.objectives.contrastive import mean_over_pairs
from omnimat.objectives.embeddings import Embeddings
from omnimat.stream.worker import Pipeline, WorkerStream
from omnimat.training.accumulate import accumulate_gradients
from omnimat.training.checkpoint import Progress, resume, save_checkpoint
from omnimat.training.context import WorkerContext
from omnimat.training.engine import build_engine
from omnimat.training.gather import gather_embeddings, join_over_workers, make_batch_norm_global
from omnimat.training.meter import Meter, progress_line
from omnimat.training.plan import RunPlan
from omnimat.training.schedule import warmup_cosine
from omnimat.training.settings import PretrainSettings


def train_worker(plan: RunPlan, context: WorkerContext, pipeline: Pipeline) -> None:
    """Train from the newest checkpoint to the end of the plan, on what the pipeline delivers."""
    training = plan.settings.training
    torch.set_num_threads(training.threads_per_worker)
    torch.manual_seed(training.seed)  # the same on every worker: all start from the same weights
    model = build_model(plan.settings)
    make_batch_norm_global(model)
    engine = build_engine(model.to(context.device), training, context.device)
    done = resume(engine, context)
    stream = plan.stream(context.rank, context.world_size, pipeline)
    stream.audit.quarantined.update(done.quarantined)
    for metrics, is_checkpoint in _steps(engine, plan, stream, context, done.step):
        folder = None
        if is_checkpoint:
            progress = Progress(int(metrics["step"]), stream.audit.quarantined)
            folder = save_checkpoint(engine, plan.cards(progress.step), progress, context)
        if context.rank == 0:
            print(progress_line(metrics, plan.num_steps), flush=True)
        context.report(metrics, folder)


def build_model(settings: PretrainSettings) -> Multimodal:
    """Build the encoders of a run and their temperature."""
    encoders = {
        name: choice.encoder.build(settings.embedding_dim)
        for name, choice in settings.modalities.chosen().items()
    }
    temperature = settings.objective.temperature
    return Multimodal(encoders, settings.embedding_dim, temperature.initial, temperature.learnable)


def _steps(
    engine: Any, plan: RunPlan, stream: WorkerStream, context: WorkerContext, first_step: int
) -> Iterator[tuple[dict[str, float], bool]]:
    """Take the steps; give metrics where a report is due, and whether a checkpoint is too."""
    meter = Meter(plan.settings.training.global_batch_size)
    step = first_step
    batches = stream.batches(first_step)
    num_micro_batches = plan.settings.training.num_micro_batches
    for share in meter.waiting(iter(lambda: list(islice(batches, num_micro_batches)), [])):
        lr = set_lr(engine, plan, step)
        seed_step(plan.settings.training.seed, step, context.rank)
        meter.add(train_step(engine, plan.settings, share, context))
        step += 1
        is_checkpoint = plan.is_checkpoint_step(step)
        if is_checkpoint or step % plan.settings.training.report_interval_steps == 0:
            stream.audit.quarantined.update(join_over_workers(stream.audit.quarantined))
            counts = {"step": step, "lr": lr, "epoch": step / plan.steps_per_epoch}
            quarantined = {"quarantined_records": len(stream.audit.quarantined)}
            yield counts | meter.read() | quarantined, is_checkpoint


def train_step(
    engine: Any, settings: PretrainSettings, share: Sequence[Batch], context: WorkerContext
) -> dict[str, Tensor]:
    """Take one step on this worker's rows, which come in one batch or in micro-batches.

    Returns:
        This worker's share of each pair's loss.
    """
    inputs = [(to_device(batch, context.device), len(batch.material_ids)) for batch in share]
    first_row = context.rank * sum(num_rows for _, num_rows in inputs)
    shares: dict[str, Tensor] = {}

    def loss_of(local: Embeddings, logit_scale: Tensor) -> Tensor:
        everyone = gather_embeddings(local)
        shares.update(settings.objective(local, everyone, first_row, logit_scale))
        # DeepSpeed averages gradients over workers; the shares add up to the loss.
        return mean_over_pairs(shares) * context.world_size

    def backward(loss: Tensor) -> None:
        engine.backward(loss, scale_wrt_gas=False)
        engine.step()  # updates after the last micro-batch alone

    if len(inputs) == 1:
        backward(loss_of(*engine(*inputs[0])))
    else:
        accumulate_gradients(engine, inputs, loss_of, backward)
    return shares


def to_device(batch: Batch, device: torch.device) -> dict[Modality, ModalityTensors]:
    """Make tensors of a collated batch."""
    return {
        name: ModalityTensors.from_numpy(arrays).to(device)
        for name, arrays in batch.modalities.items()
    }


def seed_step(seed: int, step: int, rank: int) -> None:
    """Make what a step draws at random a function of these three, so that a resumed run agrees."""
    torch.manual_seed(int(np.random.SeedSequence([seed, step, rank]).generate_state(1)[0]))


def set_lr(engine: Any, plan: RunPlan, step: int) -> float:
    """Set the learning rate of a step."""
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
