"""Pretraining steps by the loop's own parts, with what only a measurement wants to know of them."""

import importlib.util
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode
from upath import UPath

from omnimat.nn.precision import fast_products
from omnimat.stream.prefetch import prefetched
from omnimat.stream.worker import in_process
from omnimat.testing.host_syncs import HostSyncs
from omnimat.training.context import WorkerContext
from omnimat.training.engine import adamw, build_engine
from omnimat.training.feed import feed
from omnimat.training.loop import build_model
from omnimat.training.loss import MicroBatch
from omnimat.training.meter import PHASES, Meter
from omnimat.training.model import Multimodal
from omnimat.training.plan import RunPlan
from omnimat.training.settings import TrainingSettings
from omnimat.training.step import seed_step, set_lr, train_step
from omnimat.training.stopwatch import Stopwatch

NUM_PROFILED = 3


class PlainEngine:
    """What a step needs of DeepSpeed's engine, for one process that has none."""

    def __init__(self, model: nn.Module, settings: TrainingSettings, device: torch.device) -> None:
        self.module, self._settings, self._device = model, settings, device
        self.optimizer = adamw(model, settings, device)
        for group in self.optimizer.param_groups:
            group["fused"] = True  # on a CPU too: the other kind looks at its count of steps there
        self._is_last = True

    def set_gradient_accumulation_boundary(self, is_boundary: bool) -> None:
        """Say whether the next micro-batch is the last of its step."""
        self._is_last = is_boundary

    def __call__(self, *inputs: Any) -> Any:
        """Embed a micro-batch in the precision of the run."""
        is_half = self._settings.precision == "bf16"
        with torch.autocast(self._device.type, torch.bfloat16, enabled=is_half):
            return self.module(*inputs)

    def backward(self, loss: Tensor, *, scale_wrt_gas: bool) -> None:
        """Add up gradients, which are never scaled."""
        assert not scale_wrt_gas
        loss.backward()

    def step(self) -> None:
        """Update the parameters after the last micro-batch."""
        if not self._is_last:
            return
        if self._settings.gradient_clip:
            nn.utils.clip_grad_norm_(self.module.parameters(), self._settings.gradient_clip)
        self.optimizer.step()
        self.optimizer.zero_grad()


@dataclass(frozen=True)
class Steps:
    """Takes steps as the training loop does, but for reports and checkpoints."""

    plan: RunPlan
    engine: Any
    context: WorkerContext
    meter: Meter

    def take(self, step: int, inputs: Sequence[MicroBatch]) -> None:
        """Take one step."""
        training = self.plan.settings.training
        set_lr(self.engine, self.plan, step)
        seed_step(training.seed, step, self.context.rank)
        num_rows = self.plan.num_rows(self.context.world_size)
        with fast_products(training.precision == "fast_fp32"):
            shares = train_step(
                self.engine, self.plan.settings, inputs, num_rows, self.context, self.meter
            )
        self.meter.add(shares)


def pretrain(
    plan: RunPlan, device: torch.device, num_steps: int
) -> tuple[Multimodal, list[dict[str, Any]]]:
    """Train from a store in this process, the only worker of its process group.

    Returns:
        The model, and lines of the table. What the host waits for, and on a GPU what takes most of
        its time, is printed.
    """
    torch.manual_seed(0)
    training = plan.settings.training
    model = build_model(plan.settings).to(device)
    engine = engine_of(model, training, device)
    stream = plan.stream(0, 1, prefetched(in_process, plan.settings.stream.prefetch_batches))
    meter = Meter(training.global_batch_size, Stopwatch(device), stream.meter)
    steps = Steps(plan, engine, WorkerContext(UPath("memory://gpu"), device), meter)
    with closing(feed(stream, device)) as batches:
        numbered = enumerate(meter.waiting(batches))
        with FlopCounterMode(display=False) as flops:
            steps.take(*next(numbered))
        with host_waits(device) as waits:
            steps.take(*next(numbered))
        steps.take(*next(numbered))
        meter.read()
        for _ in range(num_steps):
            steps.take(*next(numbered))
        rows = _rows(meter.read(), flops.get_total_flops(), device)
        if device.type == "cuda":
            print_profile(lambda: steps.take(*next(numbered)))
    print(*(f"the host waits: {wait}" for wait in sorted(set(waits))), sep="\n", flush=True)
    return model, [*rows, _row("waits of the host", len(waits), "in a step")]


def engine_of(model: nn.Module, settings: TrainingSettings, device: torch.device) -> Any:
    """Give DeepSpeed's engine, or a plain one where DeepSpeed is not installed."""
    if importlib.util.find_spec("deepspeed") is None:
        return PlainEngine(model, settings, device)
    return build_engine(model, settings, device, world_size=1)


@contextmanager
def host_waits(device: torch.device) -> Iterator[list[str]]:
    """Note where the host waits for a GPU: CUDA tells, and elsewhere those are found that would."""
    if device.type != "cuda":
        with HostSyncs() as syncs:
            yield syncs.found
        return
    waits: list[str] = []
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            yield waits
    finally:
        torch.cuda.set_sync_debug_mode("default")
    waits += [f"{one.filename}:{one.lineno}" for one in caught if "synchroniz" in str(one.message)]


def print_profile(step: Callable[[], None]) -> None:
    """Print what takes most of a GPU's time in some steps."""
    activities = [torch.profiler.ProfilerActivity.CPU, torch.profiler.ProfilerActivity.CUDA]
    with torch.profiler.profile(activities=activities) as profile:
        for _ in range(NUM_PROFILED):
            step()
    averages = profile.key_averages()
    print(averages.table(sort_by="self_device_time_total", row_limit=20, max_name_column_width=60))


def _rows(found: Mapping[str, float], num_flops: int, device: torch.device) -> list[dict[str, Any]]:
    """Tell of the steps what a report of the loop tells, and how fast they computed."""
    has_deepspeed = importlib.util.find_spec("deepspeed") is not None
    rows = [
        _row("pretraining", found["samples_per_s"], "samples/s"),
        _row("engine", "DeepSpeed" if has_deepspeed else "plain torch"),
        _row("waiting for data", found["data_wait_share"], "of the time"),
        *(_row(f"step: {name}", 1e3 * found[f"{name}_s"], "ms") for name in PHASES),
        _row("products and convolutions", 1e-12 * num_flops / found["step_s"], "TFLOP/s"),
        _row("loss at the end", found["loss"]),
    ]
    if device.type == "cuda":
        rows.append(_row("memory, at most", torch.cuda.max_memory_allocated() / 2**30, "GiB"))
        rows.append(_row("memory, reserved", torch.cuda.max_memory_reserved() / 2**30, "GiB"))
    return rows


def _row(what: str, value: Any, unit: str = "") -> dict[str, Any]:
    return {"what": what, "value": value, "unit": unit}
