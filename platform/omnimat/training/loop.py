"""The pretraining loop of one worker, the same under every launcher."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
import torch.distributed as dist

from omnimat.nn.checkpointing import checkpoint_layers
from omnimat.nn.precision import fast_products, warn_of_emulation
from omnimat.objectives.regression import vector_of
from omnimat.stream.losses import QUARANTINED
from omnimat.stream.worker import Pipeline, WorkerStream
from omnimat.training.checkpoint import Progress, write_part
from omnimat.training.checkpoint_folders import new_session
from omnimat.training.checkpoint_store import CheckpointStore
from omnimat.training.context import WorkerContext
from omnimat.training.engine import build_engine
from omnimat.training.feed import feed
from omnimat.training.gather import (
    agree,
    join_over_workers,
    make_batch_norm_global,
)
from omnimat.training.loss import MicroBatch
from omnimat.training.meter import Meter, progress_line
from omnimat.training.model import Multimodal
from omnimat.training.plan import RunPlan
from omnimat.training.regressor import Regressor
from omnimat.training.resume import SavedState, newest_state
from omnimat.training.settings import PretrainSettings, TrainingSettings
from omnimat.training.shared_clock import SharedClock
from omnimat.training.step import seed_step, set_lr, train_step
from omnimat.training.stopwatch import Stopwatch


def train_worker(plan: RunPlan, context: WorkerContext, pipeline: Pipeline) -> None:
    """Train from the newest checkpoint to the end of the plan on the batches of the pipeline.

    Raises:
        UserError: the global batch has nothing for some of so many workers.
    """
    context.check_held()
    training = plan.settings.training
    training.check_batch_is_enough_for(context.world_size)
    torch.set_num_threads(training.threads_per_worker)
    if context.device.type == "cuda":  # NCCL puts the objects that workers exchange there
        torch.cuda.set_device(context.device)
    torch.manual_seed(training.seed)  # the same on every worker, hence the same initial weights
    model = build_model(plan.settings)
    make_batch_norm_global(model)
    stream = plan.stream(context.rank, context.world_size, pipeline)
    with newest_state(context) as saved:
        done = Progress(step=0) if saved is None else saved.progress
        batches = feed(stream, context.device, done.step)  # its processes start meanwhile
        engine = build_or_resume(model.to(context.device), training, context, saved)
    stream.audit.quarantined.update(done.quarantined)
    context.tell(_standing(done.step, stream, context))  # the run may hang before its first report
    if context.rank == 0:
        warn_of_emulation(training.precision, context.device)
    meter = Meter(training.global_batch_size, Stopwatch(context.device), stream.meter)
    with _checkpoint_store(plan, context, done.step) as checkpoints:
        for metrics, is_checkpoint in _steps(
            engine, plan, stream, batches, context, meter, done.step
        ):
            checkpoints.check()
            if context.rank == 0:
                print(progress_line(metrics, plan.num_steps), flush=True)
            context.report(metrics)
            if is_checkpoint:
                now = Progress(int(metrics["step"]), stream.audit.quarantined)
                with meter.phase("checkpoint"):
                    part = write_part(engine, plan.cards(now.step), now)
                    checkpoints.save(part, now.step)
    dist.barrier()
    checkpoints.prune()


def build_or_resume(
    model: Multimodal, training: TrainingSettings, context: WorkerContext, saved: SavedState | None
) -> Any:
    """Wrap the model in an engine, and load the saved state into both if there is one."""
    if saved is not None:
        saved.load_weights(model)
    engine = build_engine(model, training, context.device, context.world_size)
    if saved is not None:
        saved.load_optimizer(engine)
    return engine


def _checkpoint_store(plan: RunPlan, context: WorkerContext, first_step: int) -> CheckpointStore:
    return CheckpointStore(
        run=context.run,
        rank=context.rank,
        world_size=context.world_size,
        num_kept=plan.settings.training.num_checkpoints_kept,
        session=agree(new_session(context.run) if context.rank == 0 else ""),
        first_step=first_step,
        check_held=context.check_held,
    )


def build_model(settings: PretrainSettings) -> Multimodal:
    """Build the model of a run: its encoders, its temperature and its regressors."""
    encoders = {
        name: encoder.build(settings.embedding_dim)
        for name, encoder in settings.modalities.encoders().items()
    }
    featurizers, objective = settings.modalities.featurizers(), settings.objective
    regressors = {
        term.name: Regressor(
            term.source,
            settings.embedding_dim,
            term.hidden_widths,
            vector_of(featurizers[term.target]).size,
        )
        for term in settings.regression
    }
    if settings.training.activation_checkpointing:
        for encoder in encoders.values():
            checkpoint_layers(encoder)
    if settings.training.compile:
        for name, chosen in settings.modalities.encoders().items():
            if chosen.has_fixed_shapes:
                encoders[name].compile()  # when it is first called
    return Multimodal(
        encoders,
        settings.embedding_dim,
        objective.temperature.initial,
        objective.temperature.learnable,
        objective.num_heads,
        regressors,
    )


def _steps(
    engine: Any,
    plan: RunPlan,
    stream: WorkerStream,
    batches: Iterator[list[MicroBatch]],
    context: WorkerContext,
    meter: Meter,
    first_step: int,
) -> Iterator[tuple[dict[str, float], bool]]:
    """Take the steps; yield the metrics where a report is due, and whether a checkpoint is too."""
    step = first_step
    training = plan.settings.training
    num_rows = plan.num_rows(context.world_size)
    clock = SharedClock(training.checkpoint_interval_minutes)
    for inputs in meter.waiting(batches):
        lr = set_lr(engine, plan, step)
        seed_step(training.seed, step, context.rank)
        with fast_products(training.precision == "fast_fp32"):
            meter.add(train_step(engine, plan.settings, inputs, num_rows, context, meter))
        step += 1
        is_report = step % training.report_interval_steps == 0
        is_checkpoint = plan.is_checkpoint_step(step) or (is_report and clock.has_run_out())
        if is_checkpoint:
            clock.restart()
        if is_checkpoint or is_report:
            stream.audit.quarantined.update(join_over_workers(stream.audit.quarantined))
            _check_losses(plan, stream.audit.quarantined, context)
            progress = {"lr": lr, "epoch": step / plan.steps_per_epoch}
            yield _standing(step, stream, context) | progress | meter.read(), is_checkpoint


def _check_losses(plan: RunPlan, quarantined: Mapping[str, str], context: WorkerContext) -> None:
    """End a run that has lost more than it may, once the reasons are written down."""
    losses = plan.losses(quarantined, context.run / QUARANTINED)
    if losses.exceed(plan.settings.max_quarantined):
        if context.rank == 0:
            context.check_held()
            losses.write()
        dist.barrier()  # the end of another worker must not cut the writing short
    losses.check(plan.settings.max_quarantined)


def _standing(step: int, stream: WorkerStream, context: WorkerContext) -> dict[str, float]:
    """Return how far a run is, which can be told even before its first step."""
    return {
        "step": step,
        "num_workers": context.world_size,
        "quarantined_records": len(stream.audit.quarantined),
    }
