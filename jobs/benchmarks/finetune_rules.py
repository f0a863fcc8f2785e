#!/usr/bin/env python
"""What the rules of ``omnimat finetune`` rest on: the error of each way to tune, by labels.

    python jobs/benchmarks/finetune_rules.py --labels 50,200 --seeds 0,1,2

A packed model is tuned to some labels of a data set of the storage, and scored on its whole test
split. The labels are drawn anew for each seed, and an eighth as many beside them validate. Sizes
are those that ``omnimat finetune`` takes; of the learning rates of each way, the one with the least
validation error, averaged over the seeds, is told. A frozen encoder embeds each crystal once.
Seconds are those of the processor for one trial: graphs are made once, and do not count.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import fmean, stdev
from typing import Any

import click
import numpy as np
import pyarrow as pa
import torch
from measure import report

from omnimat.base.lease import unleased
from omnimat.base.workspace import Workspace
from omnimat.finetune.codec import JointCodec
from omnimat.finetune.examples import Examples, FeatureInputs, apply_in_batches
from omnimat.finetune.fit import Fit
from omnimat.finetune.heads.mlp import MlpSettings
from omnimat.finetune.plan import TrialPlan, make_plan
from omnimat.finetune.settings import FinetuneSettings
from omnimat.finetune.trial import build_model
from omnimat.finetune.trial_settings import FROZEN, TrialSettings, Variant
from omnimat.inference.start import as_run, opened
from omnimat.job.drafts.sizes import finetune_sizes
from omnimat.models.inputs import read_cards
from omnimat.stream.featurize import WriteShard, complete
from omnimat.stream.location import StoreLocation
from omnimat.stream.source import Source

PROBE_EPOCHS = 300
TRAIN_TO_VALIDATION = 8  # as the split of an ingest job has it


@dataclass(frozen=True, slots=True)
class Way:
    """A way to tune a network.

    Attributes:
        name: what it is called.
        variant: what is trained.
        learning_rates: what validation chooses among.
        hidden_widths: of the head.
        encoder_lr_fraction: the encoder's learning rate as a fraction of the head's.
        begins_frozen: whether the head learns alone before.
    """

    name: str
    variant: Variant
    learning_rates: tuple[float, ...] = (1e-3, 4e-3)
    hidden_widths: tuple[int, ...] = ()
    encoder_lr_fraction: float = 1.0
    begins_frozen: bool = False

    def trial(self, lr: float, seed: int, num_labels: int, most_epochs: int) -> TrialSettings:
        """Give the settings of a trial on so many labels."""
        sizes = finetune_sizes(num_labels)
        num_epochs = PROBE_EPOCHS if self.variant in FROZEN else sizes.num_epochs
        num_epochs = min(num_epochs, most_epochs)
        return TrialSettings(
            variant=self.variant,
            lr=lr,
            seed=seed,
            num_epochs=num_epochs,
            batch_size=sizes.batch_size,
            patience=max(3, num_epochs // 5),
            encoder_lr_fraction=self.encoder_lr_fraction,
        )


WAYS = (
    Way("linear probe", "linear_probe", (1e-2, 3e-2)),
    Way("frozen, hidden layer", "frozen", (1e-3, 4e-3), hidden_widths=(256,)),
    Way("frozen, then full", "finetuned", (3e-4, 1e-3), begins_frozen=True),
    Way("encoder at a tenth", "finetuned", encoder_lr_fraction=0.1),
    Way("full", "finetuned"),
    Way("from scratch", "from_scratch"),
)


def numbers(context: click.Context, option: click.Parameter, text: str) -> tuple[int, ...]:
    """Read numbers with commas between them."""
    del context, option
    return tuple(map(int, text.split(",")))


@click.command()
@click.option("--model", default="mp-small", show_default=True, help="Packed model.")
@click.option("--dataset", default="matbench-moduli", show_default=True)
@click.option("--task", default="matbench log K", show_default=True, help="Of the catalogue.")
@click.option("--labels", default="50,200,1000,7000", show_default=True, callback=numbers)
@click.option("--seeds", default="0,1,2", show_default=True, callback=numbers)
@click.option("--way", "names", multiple=True, help="One of the ways; default: all.")
@click.option("--most-epochs", default=PROBE_EPOCHS, show_default=True, help="To try it out.")
def main(
    model: str,
    dataset: str,
    task: str,
    labels: tuple[int, ...],
    seeds: tuple[int, ...],
    names: tuple[str, ...],
    most_epochs: int,
) -> None:
    """Tune in every way to every number of labels, and print a table as it grows."""
    torch.set_num_threads(1)
    plan = planned(model, dataset, task)
    whole = {split: plan.examples(split) for split in ("train", "validation", "test")}
    rows: list[dict[str, Any]] = []
    for num_labels in labels:
        for way in (one for one in WAYS if not names or one.name in names):
            rows.append(measured(plan, whole, way, num_labels, seeds, most_epochs))
            print(rows[-1], flush=True)
    report("ways to tune", rows, model=model, task=task, num_test=len(whole["test"]))


def planned(model: str, dataset: str, task: str) -> TrialPlan:
    """Make what all trials share, features included."""
    workspace = Workspace.open()
    run = as_run(opened(model, ("structure",)), workspace)
    settings = FinetuneSettings.model_validate({"dataset": dataset, "run": run, "tasks": [task]})
    plan = make_plan(settings, workspace, read_cards(workspace.run(run)))
    if not plan.store.is_complete:
        write_features(plan.store)
    return plan


def write_features(store: StoreLocation) -> None:
    """Featurize a data set in this process."""
    store.folder.mkdir(parents=True, exist_ok=True)
    write = WriteShard(Source(store.dataset, None, store.featurizers), store.folder, unleased)
    complete(store, [write.write(shard) for shard in range(len(store.manifest.shards))])


def measured(
    plan: TrialPlan,
    whole: dict[Any, Examples],
    way: Way,
    num_labels: int,
    seeds: Sequence[int],
    most_epochs: int,
) -> dict[str, Any]:
    """Tune at each learning rate with each seed, and tell of the best rate."""
    trials = {
        lr: [
            tried(plan, whole, way, way.trial(lr, seed, num_labels, most_epochs), num_labels)
            for seed in seeds
        ]
        for lr in way.learning_rates
    }
    best = min(trials, key=lambda lr: fmean(one.fit.best["validation_error"] for one in trials[lr]))
    errors = [test_error(one.fit, whole["test"]) for one in trials[best]]
    return {
        "way": way.name,
        "labels": num_labels,
        "test_error": fmean(errors),
        "deviation": stdev(errors) if len(errors) > 1 else None,
        "lr": best,
        "epochs": fmean(len(one.fit.history) for one in trials[best]),
        "seconds": fmean(one.seconds for one in trials[best]),
    }


@dataclass(frozen=True, slots=True)
class Tried:
    """A trial that was trained, and how long that took the processor."""

    fit: Fit
    seconds: float


def tried(
    plan: TrialPlan, whole: dict[Any, Examples], way: Way, settings: TrialSettings, num_labels: int
) -> Tried:
    """Train on some of the labels."""
    train = some(whole["train"], num_labels, settings.seed)
    validation = some(whole["validation"], max(5, num_labels // TRAIN_TO_VALIDATION), settings.seed)
    started_s = time.process_time()
    codec = JointCodec.fit(plan.tasks, train.targets)
    plan = replace(plan, head=MlpSettings(hidden_widths=way.hidden_widths))
    model = build_model(plan, settings, codec.num_outputs).to(plan.device)
    if way.begins_frozen:
        most = min(PROBE_EPOCHS, 10 * settings.num_epochs)
        before = {
            "variant": "frozen",
            "lr": 1e-2,
            "num_epochs": most,
            "patience": max(3, most // 5),
        }
        first = settings.model_copy(update=before)
        Fit(plan.tasks, first, codec, model, train, validation).run(lambda entry: None)
    fit = Fit(plan.tasks, settings, codec, model, train, validation)
    fit.run(lambda entry: None)
    return Tried(fit, time.process_time() - started_s)


def test_error(fit: Fit, test: Examples) -> float:
    """Score what a trial predicts for the test split."""
    outputs = torch.cat(apply_in_batches(fit.model, test.inputs, len(test), fit.settings)).float()
    (task,), (targets,), (values,) = (
        fit.tasks,
        test.targets,
        fit.codec.decode(outputs.cpu().numpy()),
    )
    return float(task.scoring.function(targets.known, values[targets.is_known]))


def some(examples: Examples, count: int, seed: int) -> Examples:
    """Draw some of the examples."""
    assert isinstance(examples.inputs, FeatureInputs)  # as they are read
    rows = np.sort(np.random.default_rng(seed).permutation(len(examples))[:count])
    return replace(
        examples,
        material_ids=examples.material_ids[rows],
        targets=tuple(one[rows] for one in examples.targets),
        inputs=replace(examples.inputs, table=examples.inputs.table.take(pa.array(rows))),
    )


if __name__ == "__main__":
    main()
