"""The DeepSpeed engine, for any number of workers on GPUs or CPUs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from omnimat.training.settings import TrainingSettings


def deepspeed_config(settings: TrainingSettings, world_size: int) -> dict[str, Any]:
    """Derive DeepSpeed's configuration, which is written nowhere else.

    bf16 means torch autocast over fp32 parameters. DeepSpeed's own bf16 mode would also cast
    batch-norm statistics and basis functions, and it uses another optimizer wrapper at stage 0.
    Gradients are added up over workers in fp32 at every stage: left to itself, DeepSpeed rounds
    those of ``nn.Linear`` and ``nn.Conv`` layers to bf16 first, at stages 1 to 3.

    The numbers of samples are those of the smallest worker in its smallest micro-batch: DeepSpeed
    wants the same everywhere, and only logs them.
    """
    config: dict[str, Any] = {
        "train_micro_batch_size_per_gpu": (
            settings.global_batch_size // (world_size * settings.num_micro_batches)
        ),
        "gradient_accumulation_steps": settings.num_micro_batches,
        "gradient_clipping": settings.gradient_clip,
        "zero_optimization": {"stage": settings.zero_stage},
        "zero_allow_untested_optimizer": True,
        "steps_per_print": 10**9,
    }
    if settings.precision == "bf16":
        config["torch_autocast"] = {
            "enabled": True,
            "dtype": "bfloat16",
            "lower_precision_safe_modules": [],  # whose gradients may be exchanged in bf16
        }
    return config


def build_engine(
    model: nn.Module, settings: TrainingSettings, device: torch.device, world_size: int
) -> Any:
    """Wrap the model in a DeepSpeed engine with torch's AdamW, which compiles nothing."""
    engine, *_ = imported_deepspeed(device.type).initialize(
        model=model,
        optimizer=adamw(model, settings, device),
        config=deepspeed_config(settings, world_size),
    )
    return engine


def imported_deepspeed(device: str) -> Any:
    """Import DeepSpeed for a kind of device, without what it would compile."""
    if device == "cpu":
        os.environ.setdefault("DS_ACCELERATOR", "cpu")
    import deepspeed  # only once the accelerator is set: DeepSpeed looks for one on import

    # On a CPU, DeepSpeed would compile a shared-memory collective at every first start. That needs
    # a compiler and tens of seconds, and gloo works without it. To find out which operators could
    # be compiled, which is asked for this one alone, DeepSpeed would compile others.
    deepspeed.ops.__compatible_ops__ = {}
    # DeepSpeed's engines import its Muon optimizer, of which three functions ask to be compiled.
    # That alone loads torch's compiler, a second of CPU, for an optimizer that is not used here.
    deepspeed.runtime.compiler.compile = lambda: lambda function: function
    return deepspeed


def adamw(model: nn.Module, settings: TrainingSettings, device: torch.device) -> torch.optim.AdamW:
    """Make the optimizer; on a GPU one kernel updates many parameters.

    Biases, normalisation weights and the temperature have no weight decay.
    """
    trained = [p for p in model.parameters() if p.requires_grad]
    decayed = [p for p in trained if p.ndim > 1]
    plain = [p for p in trained if p.ndim <= 1]
    groups = [
        {"params": decayed, "weight_decay": settings.weight_decay},
        {"params": plain, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(
        groups, lr=settings.lr, betas=settings.betas, fused=device.type == "cuda"
    )


@contextmanager
def whole_parameters(engine: Any) -> Iterator[None]:
    """Make every parameter whole on every worker; all workers must call this at ZeRO-3.

    At lower stages parameters are whole already, and this does nothing.
    """
    import deepspeed

    partitioned = engine.zero_optimization_stage() == 3
    with deepspeed.zero.GatheredParameters(list(engine.module.parameters()), enabled=partitioned):
        yield
