#!/usr/bin/env python
"""What a feature store costs a training, beside loops whose tensors were collated once.

    python jobs/benchmarks/data_path.py

Pretraining reads, collates and trains as it does under torchrun. One peer takes the same steps on
tensors that lie ready; the other is a loop of plain torch on these, without DeepSpeed. Fine-tuning
trains for some epochs, each with its validation; its peer is a loop of plain torch on tensors that
were collated once. All have the same model and batch size, and they take turns. The mark is 0.95.
"""

import copy
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
import torch.distributed as dist
import yaml
from launchers import FEATURES, MODALITIES, PRETRAIN
from measure import DATA, interleaved, omnimat, report
from torch import nn
from torch._C._distributed_c10d import HashStore
from upath import UPath

from omnimat.base.workspace import Workspace
from omnimat.finetune import plan as finetuning
from omnimat.finetune.codec import JointCodec
from omnimat.finetune.examples import Examples
from omnimat.finetune.fit import Fit
from omnimat.finetune.model import FeatureBatch, PropertyModel
from omnimat.finetune.settings import FinetuneSettings
from omnimat.finetune.trial import build_model as build_property_model
from omnimat.finetune.trial_settings import TrialSettings
from omnimat.models.export import save
from omnimat.models.inputs import export_folder, read_cards
from omnimat.objectives.contrastive import mean_over_groups
from omnimat.stream.prefetch import prefetched
from omnimat.stream.timing import StreamMeter
from omnimat.stream.worker import in_process
from omnimat.training.context import WorkerContext
from omnimat.training.engine import build_engine
from omnimat.training.feed import feed, micro_batch
from omnimat.training.loop import build_model
from omnimat.training.loss import MicroBatch
from omnimat.training.meter import Meter
from omnimat.training.plan import RunPlan, make_plan
from omnimat.training.settings import PretrainSettings
from omnimat.training.step import train_step
from omnimat.training.stopwatch import Stopwatch

CPU = torch.device("cpu")
LR, CLIP = 1e-3, 1.0
TARGET = {"name": "volume", "target": "volume_angstrom3_per_atom", "unit": "angstrom^3/atom"}


def run_plan(workspace: Workspace, preset: str) -> RunPlan:
    """Plan a pretraining that does not end while it is measured."""
    told = {key: PRETRAIN[key] for key in ("dataset", "embedding_dim", "objective")}
    told["modalities"] = {name: {"encoder": {"preset": preset}} for name in MODALITIES}
    training = {"global_batch_size": 64, "num_epochs": 10**4, "lr": LR, "gradient_clip": CLIP}
    settings = PretrainSettings.model_validate(
        {**told, "stream": {"read_from": "store"}, "training": training}
    )
    return make_plan("run", settings.located(workspace), workspace)


def pretraining(plan: RunPlan, num_steps: int, repeats: int) -> list[dict[str, Any]]:
    """Take the same number of steps in turn."""
    settings, training = plan.settings, plan.settings.training
    context = WorkerContext(UPath("memory://run"), CPU)
    engine = build_engine(build_model(settings), training, CPU, 1)
    meter = Meter(training.global_batch_size, Stopwatch(CPU), StreamMeter())
    num_rows = plan.num_rows(1)
    pipeline = prefetched(in_process, settings.stream.prefetch_batches)
    fed = feed(plan.stream(0, 1, pipeline), CPU)
    ready = [
        micro_batch(batch, CPU)
        for batch in islice(plan.stream(0, 1, in_process).batches(), num_steps)
    ]

    def from_store() -> None:
        for inputs in islice(fed, num_steps):
            train_step(engine, settings, inputs, num_rows, context, meter)
        meter.stopwatch.read()

    def on_tensors() -> None:
        for one in ready:
            train_step(engine, settings, [one], num_rows, context, meter)
        meter.stopwatch.read()

    plain = plain_pretraining(settings, ready)
    seconds = interleaved(
        {"ours": from_store, "the same steps on tensors": on_tensors, "plain torch": plain}, repeats
    )
    fed.close()  # type: ignore[attr-defined]
    num_samples = num_steps * training.global_batch_size
    return rows_of("pretraining", num_samples, seconds)


def plain_pretraining(settings: PretrainSettings, ready: list[MicroBatch]) -> Callable[[], None]:
    """Write the loop that one would write by hand."""
    model = build_model(settings)
    optimizer = torch.optim.AdamW(model.parameters(), lr=LR)

    def loop() -> None:
        for tensors, size in ready:
            embeddings, scale = model(tensors, size)
            loss = mean_over_groups(settings.objective(embeddings, embeddings, 0, scale))
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(model.parameters(), CLIP)
            optimizer.step()

    return loop


def fine_tuning(workspace: Workspace, modality: str, num_epochs: int) -> list[dict[str, Any]]:
    """Train a property model on one modality, an epoch of ours and one of the peer in turn."""
    settings = FinetuneSettings.model_validate(
        {"dataset": "data", "run": "run", "modalities": [modality], "tasks": [TARGET]}
        | {"learning_rates": [LR], "seeds": [0]}
    )
    plan = finetuning.make_plan(settings, workspace, read_cards(workspace.run("run")))
    trial = TrialSettings(
        variant="finetuned", lr=LR, seed=0, num_epochs=num_epochs, batch_size=64, patience=None
    )
    train, validation = plan.examples("train"), plan.examples("validation")
    codec = JointCodec.fit(plan.tasks, train.targets)
    model = build_property_model(plan, trial, codec.num_outputs)
    plain = PlainTraining(copy.deepcopy(model), codec, train, validation, trial.batch_size)
    seconds: dict[str, list[float]] = {"ours": [], "plain torch": []}
    marked_s = time.perf_counter()

    def between(_: Mapping[str, float]) -> None:
        nonlocal marked_s
        seconds["ours"].append(time.perf_counter() - marked_s)
        started_s = time.perf_counter()
        plain.epoch()
        marked_s = time.perf_counter()
        seconds["plain torch"].append(marked_s - started_s)

    Fit(plan.tasks, trial, codec, model, train, validation).run(between)
    medians = {name: statistics.median(each[1:]) for name, each in seconds.items()}
    return rows_of(f"fine-tuning on {modality}", len(train), medians)


class PlainTraining:
    """A loop over tensors that were collated once, in batches that stay the same."""

    def __init__(
        self,
        model: PropertyModel,
        codec: JointCodec,
        train: Examples,
        validation: Examples,
        batch_size: int,
    ) -> None:
        self._model = model
        self._optimizer = torch.optim.AdamW(model.parameters(), lr=LR)
        self._train = self._batches(codec, train, batch_size)
        self._validation = self._batches(codec, validation, batch_size)

    @staticmethod
    def _batches(
        codec: JointCodec, examples: Examples, batch_size: int
    ) -> list[tuple[FeatureBatch, torch.Tensor]]:
        num_batches = -(-len(examples) // batch_size)
        parts = np.array_split(np.arange(len(examples)), num_batches)
        (learned,) = codec.encode(examples.targets)
        wanted = [learned[torch.from_numpy(rows)].values for rows in parts]
        return list(zip(examples.inputs.batches(parts), wanted, strict=True))

    def epoch(self) -> None:
        """Learn from every batch, and measure the error on the validation part."""
        self._model.train()
        for batch, wanted in self._train:
            loss = (self._model(batch) - wanted.reshape(len(wanted), -1)).square().mean()
            self._optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(self._model.parameters(), CLIP)
            self._optimizer.step()
        self._model.eval()
        with torch.no_grad():
            torch.cat([self._model(batch) for batch, _ in self._validation]).numpy()


def rows_of(what: str, num_samples: int, seconds: Mapping[str, float]) -> list[dict[str, Any]]:
    """Give a row for each peer of ours."""
    return [
        {
            "training": what,
            "peer": peer,
            "ours, samples/s": num_samples / seconds["ours"],
            "peer, samples/s": num_samples / peer_s,
            "ours / peer": peer_s / seconds["ours"],
        }
        for peer, peer_s in seconds.items()
        if peer != "ours"
    ]


def prepared(folder: Path, preset: str) -> Workspace:
    """Ingest the embedded crystals and write their features, and encoders that know nothing."""
    for job, values in {"data": DATA, "features": FEATURES}.items():
        (folder / f"{job}.yaml").write_text(yaml.safe_dump(values))
    omnimat(folder, "run", "features.yaml")
    workspace = Workspace(UPath(folder / "storage"))
    for modality, card in run_plan(workspace, preset).cards(step=0).items():
        save(export_folder(workspace.run("run"), modality), card.build(), card)
    return workspace


@click.command()
@click.option("--steps", default=20, show_default=True, help="Steps of pretraining in a turn.")
@click.option("--repeats", default=7, show_default=True, help="Turns of each loop.")
@click.option("--epochs", default=12, show_default=True, help="Epochs of fine-tuning; two or more.")
@click.option("--preset", default="tiny", show_default=True, help="Size of the encoders.")
def main(steps: int, repeats: int, epochs: int, preset: str) -> None:
    """Print the ratios."""
    os.environ |= {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "DS_ACCELERATOR": "cpu"}
    torch.set_num_threads(1)
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as name:
        workspace = prepared(Path(name), preset)
        dist.init_process_group("gloo", store=HashStore(), rank=0, world_size=1)
        rows = pretraining(run_plan(workspace, preset), steps, repeats)
        for modality in MODALITIES:
            rows += fine_tuning(workspace, modality, epochs)
        dist.destroy_process_group()
    report(
        "from a feature store, beside tensors that were collated once",
        rows,
        repeats=repeats,
        preset=preset,
    )


if __name__ == "__main__":
    main()
