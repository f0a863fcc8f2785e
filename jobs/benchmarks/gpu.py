#!/usr/bin/env python
"""What a GPU makes of it: its tests, then pretraining, fine-tuning and embedding, in one table.

    python jobs/benchmarks/gpu.py

It is for a machine that is hired for minutes, which has torch and whose other libraries are not
known. So it draws its own features, needs neither Ray nor pymatgen, does without DeepSpeed where
that is missing, and says what is missing. On a GPU it takes MultiMat at full size and less than
eight minutes; on a CPU it takes tiny networks and a few steps, which shows that it works.
"""

import importlib.util
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

    from omnimat.base.workspace import Workspace
    from omnimat.training.plan import RunPlan

REPOSITORY = Path(__file__).resolve().parents[2]
JOB = REPOSITORY / "jobs" / "multimat" / "pretrain.yaml"
NEEDED = ("torch", "numpy", "scipy", "pandas", "pyarrow", "pydantic", "upath", "tenacity")
NEEDED += ("safetensors", "tqdm", "yaml", "rich")
DISPENSABLE = ("deepspeed", "pytest", "ray", "pymatgen")
RUN = "gpu"

Row = dict[str, Any]


@dataclass(frozen=True)
class Size:
    """How much is done.

    Attributes:
        overrides: of the job file.
        num_materials: materials in the feature store.
        num_steps: pretraining steps that are timed.
        num_epochs: of fine-tuning.
        num_embedded: crystals that are embedded; the same ones return.
        product: rows of the square matrices whose product shows what the device can do.
        tests_s: seconds after which the tests are given up.
    """

    overrides: tuple[str, ...]
    num_materials: int
    num_steps: int
    num_epochs: int
    num_embedded: int
    product: int
    tests_s: float


FULL = Size(("training.num_epochs=500",), 2048, 100, 4, 20_000, 8192, 150.0)
TINY = Size(("preset=tiny",), 100, 2, 1, 40, 256, 900.0)


def absent(names: tuple[str, ...]) -> list[str]:
    """Give those of these packages that are not installed."""
    return [name for name in names if importlib.util.find_spec(name) is None]


def run_tests(timeout_s: float, has_gpu: bool) -> list[Row]:
    """Run the tests that compare a GPU with the CPU, and let them print; without one they skip."""
    command = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", "-p", "no:cacheprovider"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    start_s = time.perf_counter()
    try:
        done = subprocess.run(
            [*command, "tests/gpu"], cwd=REPOSITORY, env=environment, timeout=timeout_s, check=False
        )
        outcome = "failed" if done.returncode else "passed" if has_gpu else "skipped"
    except subprocess.TimeoutExpired:
        outcome = f"given up after {timeout_s:g} s"
    return [row("tests", outcome), row("tests, time", time.perf_counter() - start_s, "s")]


def row(what: str, value: Any, unit: str = "") -> Row:
    """Make a line of the table."""
    return {"what": what, "value": value, "unit": unit}


@contextmanager
def alone(device: "torch.device") -> Iterator[None]:
    """Make this process the only worker of a process group."""
    import torch.distributed as dist
    from torch._C._distributed_c10d import HashStore

    os.environ |= {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1"}
    backend = "nccl" if device.type == "cuda" else "gloo"
    dist.init_process_group(backend, store=HashStore(), rank=0, world_size=1)
    try:
        yield
    finally:
        dist.destroy_process_group()


def product_tflops(device: "torch.device", dtype: "torch.dtype", size: int) -> float:
    """Measure what the device reaches in a product of two large matrices."""
    import torch

    left, right = torch.randn(2, size, size, device=device).to(dtype).unbind()
    return 2e-12 * size**3 / seconds(lambda: left @ right, device, repeats=10)


def seconds(function: Any, device: "torch.device", repeats: int) -> float:
    """Measure the mean time of a call, after one that is not counted."""
    import torch

    def wait() -> None:
        if device.type == "cuda":
            torch.cuda.synchronize()

    function()
    wait()
    start_s = time.perf_counter()
    for _ in range(repeats):
        function()
    wait()
    return (time.perf_counter() - start_s) / repeats


def finetune(plan: "RunPlan", workspace: "Workspace", device: "torch.device", size: Size) -> Row:
    """Fine-tune the structure encoder of the run that ``plan`` planned."""
    from omnimat.finetune.plan import make_plan
    from omnimat.finetune.settings import FinetuneSettings
    from omnimat.finetune.trial import run_trial
    from omnimat.models.inputs import read_cards
    from omnimat.testing.synthetic_store import DATASET, TARGET

    settings = FinetuneSettings.model_validate(
        {
            "dataset": DATASET,
            "run": RUN,
            "tasks": [{"name": TARGET, "target": TARGET}],
            "variants": ["finetuned"],
            "trial": {
                "num_epochs": size.num_epochs,
                "precision": plan.settings.training.precision,
            },
            "gpus_per_trial": float(device.type == "cuda"),
        }
    )
    trial = settings.trials()[0]
    trials = make_plan(settings, workspace, read_cards(workspace.run(RUN)))
    result = run_trial(trials, trial, workspace.run("trial"), lambda entry: None)
    rate = result.samples_seen / result.wall_time_s
    return row("fine-tuning with validation, structure", rate, "crystals/s")


def embed(workspace: "Workspace", plan: "RunPlan", size: Size) -> Row:
    """Embed crystals with the structure encoder, the same ones again and again."""
    import numpy as np

    from omnimat.models.embed import ExportedEncoder
    from omnimat.models.inputs import export_folder

    assert plan.store is not None
    encoder = ExportedEncoder.load(export_folder(workspace.run(RUN), "structure"))
    positions = np.arange(size.num_embedded) % size.num_materials
    store = plan.store.open()
    encoder.embed_stored(store, positions[:1])
    start_s = time.perf_counter()
    column = encoder.embed_stored(store, positions)
    assert len(column.values) == size.num_embedded
    rate = size.num_embedded / (time.perf_counter() - start_s)
    return row("embedding from the store, structure", rate, "crystals/s")


def measure(folder: Path, device: "torch.device", size: Size) -> list[Row]:
    """Pretrain, fine-tune and embed."""
    import torch
    from gpu_pretraining import pretrain
    from upath import UPath

    from omnimat.base.workspace import Workspace
    from omnimat.job.load import load
    from omnimat.models.export import save
    from omnimat.models.inputs import export_folder
    from omnimat.testing.synthetic_store import DATASET, write_store
    from omnimat.training.plan import make_plan

    workspace = Workspace(UPath(folder))
    settings = load(JOB, (*size.overrides, f"dataset={DATASET}")).settings
    write_store(workspace, settings.modalities.featurizers(), size.num_materials)
    plan = make_plan(RUN, settings, workspace)
    with alone(device):
        model, rows = pretrain(plan, device, size.num_steps)
    for modality, card in plan.cards(step=size.num_steps).items():
        save(export_folder(workspace.run(RUN), modality), model.encoders[modality], card)
    for dtype in (torch.float32, torch.bfloat16):
        name = str(dtype).removeprefix("torch.")
        reached = product_tflops(device, dtype, size.product)
        rows.append(row(f"product of {size.product} x {size.product}, {name}", reached, "TFLOP/s"))
    return [*rows, finetune(plan, workspace, device, size), embed(workspace, plan, size)]


def main() -> None:
    """Run everything and print the table."""
    if missing := absent(NEEDED):
        remedy = "install them, or carry their wheels to the machine"
        print(f"these packages are missing: {', '.join(missing)}; {remedy}", file=sys.stderr)
        sys.exit(2)
    missing = absent(DISPENSABLE)
    print(f"done without: {', '.join(missing) or 'nothing'}", flush=True)
    import torch
    from measure import report

    from omnimat.nn.devices import fastest_device

    device = fastest_device()
    size = FULL if device.type == "cuda" else TINY
    rows = [row("tests", "not run")]
    if "pytest" not in missing:
        rows = run_tests(size.tests_s, has_gpu=device.type == "cuda")
    with tempfile.TemporaryDirectory() as folder:
        rows += measure(Path(folder), device, size)
    name = torch.cuda.get_device_name() if device.type == "cuda" else "cpu"
    report(f"MultiMat on {name}", rows, torch=torch.__version__, absent=missing)


if __name__ == "__main__":
    start = time.perf_counter()
    main()
    print(f"{time.perf_counter() - start:.0f} s in all")
