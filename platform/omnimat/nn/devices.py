"""Where a process computes, and what it says to torch before it first computes on a GPU."""

from __future__ import annotations

import os

import torch
from torch import Tensor

# Batches of crystals differ in size. Blocks of fixed size would leave gaps that no batch fills.
_VARIABLES = {"PYTORCH_ALLOC_CONF": "expandable_segments:True"}


def gpu_variables() -> dict[str, str]:
    """Give the environment variables of a process that uses a GPU; what the user has set counts."""
    return {name: os.environ.get(name, value) for name, value in _VARIABLES.items()}


def fastest_device() -> torch.device:
    """Give the GPU where this process sees one, else the CPU."""
    return on_gpu(torch.device("cuda")) if torch.cuda.is_available() else torch.device("cpu")


def on_gpu(device: torch.device) -> torch.device:
    """Give the same GPU, for which this process is then ready; torch reads what is set only once.

    Call it before the process first uses a GPU.
    """
    os.environ |= gpu_variables()
    return device


def is_on_host(values: Tensor) -> bool:
    """Say whether values are in the host's memory, so that to look at them is to wait for nothing.

    ``testing.host_syncs`` takes its place, to see what a step would do on a GPU.
    """
    return values.is_cpu
