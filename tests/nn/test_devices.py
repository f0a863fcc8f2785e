"""What a process is told before it uses a GPU; on this machine without one, it is only told."""

import subprocess
import sys

import torch

from omnimat.nn.devices import gpu_variables, on_gpu


def test_what_the_user_has_set_counts(monkeypatch):
    monkeypatch.delenv("PYTORCH_ALLOC_CONF", raising=False)
    assert gpu_variables() == {"PYTORCH_ALLOC_CONF": "expandable_segments:True"}
    monkeypatch.setenv("PYTORCH_ALLOC_CONF", "max_split_size_mb:512")
    assert on_gpu(torch.device("cuda", 3)) == torch.device("cuda", 3)
    assert gpu_variables() == {"PYTORCH_ALLOC_CONF": "max_split_size_mb:512"}


def test_torch_starts_with_it():
    """An option that torch does not know ends a process that allocates on a GPU."""
    program = (
        "from omnimat.nn.devices import fastest_device; import torch;"
        "print(torch.zeros(3, device=fastest_device()).sum().item())"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout == "0.0\n", done.stderr
