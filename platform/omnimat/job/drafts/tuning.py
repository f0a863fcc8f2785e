"""How a network is fine-tuned, by how many labels there are, and why.

The rules rest on ``jobs/benchmarks/finetune_rules.py``: from some 200 labels on it is best to train
all weights at one rate; with 50 no way is shown to differ, and a probe takes a third of the time.
Few test materials say little of an error. Each is a key of the job file, where a user changes it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from omnimat.finetune.trial_settings import Variant
from omnimat.job.drafts.sizes import finetune_sizes
from omnimat.materials.values import LabelKind

_FEW, _MANY = 100, 10_000  # training materials with a label
_FEWEST = 50  # labels, below which a warning is due
_MOST_FOR_FOLDS = 500  # labels
_NUM_FOLDS = 5
_PROBE_EPOCHS = 300  # of a layer on embeddings that were made once


@dataclass(frozen=True, slots=True)
class Labels:
    """What is known of the labels of a property.

    Attributes:
        num_known: how many materials have one.
        num_train: how many of these are for training.
        kind: whether they are numbers or classes.
    """

    num_known: int
    num_train: int
    kind: LabelKind


@dataclass(frozen=True, slots=True)
class Tuning:
    """How a network is fine-tuned.

    Attributes:
        variants: what is compared.
        learning_rates: what validation chooses among.
        seeds: the repetitions.
        num_epochs: how often it goes through the training records at most.
        batch_size: how many records a step takes.
        patience: after how many epochs without a better validation error it stops; None for never.
        num_folds: how many folds measure the error; 0 for the split of the data set alone.
        reasons: why, in whole lines.
    """

    variants: tuple[Variant, ...]
    learning_rates: tuple[float, ...]
    seeds: tuple[int, ...]
    num_epochs: int
    batch_size: int
    patience: int | None = None
    num_folds: int = 0
    reasons: tuple[str, ...] = ()


def compared(num_train: int, *, is_pretrained: bool) -> Tuning:
    """Compare what was pretrained with the same network from scratch.

    Args:
        num_train: training materials with a label.
        is_pretrained: whether there is anything that was pretrained.
    """
    sizes = finetune_sizes(num_train)
    return Tuning(
        variants=("from_scratch", "finetuned") if is_pretrained else ("from_scratch",),
        learning_rates=(5e-4, 2e-3, 5e-3),
        seeds=(0, 1),
        num_epochs=sizes.num_epochs,
        batch_size=sizes.batch_size,
    )


def tuned(labels: Labels, num_folds: int | None = None) -> Tuning:
    """Choose how a packed model is tuned to labels.

    Args:
        labels: what is known of them.
        num_folds: how many folds measure the error; None leaves it to the number of labels.
    """
    sizes = finetune_sizes(labels.num_train)
    is_probe, is_large = labels.num_train < _FEW, labels.num_train >= _MANY
    num_epochs = _PROBE_EPOCHS if is_probe else sizes.num_epochs
    if num_folds is None:
        num_folds = _NUM_FOLDS if labels.num_known < _MOST_FOR_FOLDS else 0
    chosen = Tuning(
        variants=("linear_probe",) if is_probe else ("finetuned",),
        learning_rates=(1e-2, 3e-2) if is_probe else (1e-3,) if is_large else (1e-3, 4e-3),
        seeds=(0, 1) if is_large else (0, 1, 2),
        num_epochs=num_epochs,
        batch_size=sizes.batch_size,
        patience=max(3, num_epochs // 5),
        num_folds=num_folds,
    )
    return _with_reasons(chosen, labels)


def _with_reasons(chosen: Tuning, labels: Labels) -> Tuning:
    reasons = (
        _of_number(labels),
        _of_variant(chosen, labels),
        f"{_listed(chosen.learning_rates)}; {len(chosen.seeds)} seeds, which become the members of "
        "the model",
        f"at most {chosen.num_epochs} epochs of batches of {chosen.batch_size}; a trial stops "
        f"after {chosen.patience} epochs without a better validation error",
        _of_folds(chosen, labels),
    )
    return replace(chosen, reasons=tuple(reason for reason in reasons if reason))


def _of_number(labels: Labels) -> str:
    if labels.num_known >= _FEWEST:
        return ""
    return f"{labels.num_known} labels are very few: whatever comes out may be chance"


def _of_variant(chosen: Tuning, labels: Labels) -> str:
    if chosen.variants == ("linear_probe",):
        return (
            f"linear probe: {labels.num_train} training labels are too few to move the weights of "
            "an encoder, so a linear layer on its embeddings learns alone"
        )
    return f"fine-tuned whole: {labels.num_train} training labels are enough for all weights"


def _of_folds(chosen: Tuning, labels: Labels) -> str:
    if not chosen.num_folds:
        return ""
    return (
        f"{chosen.num_folds} folds made of formulas measure the error, since the test split of "
        f"{labels.num_known} labels alone is a small sample"
    )


def _listed(learning_rates: tuple[float, ...]) -> str:
    numbers = " and ".join(f"{one:g}" for one in learning_rates)
    if len(learning_rates) == 1:
        return f"learning rate {numbers}"
    return f"learning rates {numbers}, of which validation chooses"
