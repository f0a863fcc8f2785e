"""What one trial of a sweep is; importing this loads no Ray."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, NamedTuple

from pydantic import Field, NonNegativeInt

from omnimat.base.precision import Precision
from omnimat.base.settings import Settings
from omnimat.finetune.folds import Fold

LearningRate = Annotated[float, Field(gt=0, allow_inf_nan=False)]
TrainFraction = Annotated[float, Field(gt=0, le=1)]
RegressionLoss = Literal["squared", "absolute"]
Variant = Literal["finetuned", "frozen", "linear_probe", "from_scratch"]
Point = tuple[tuple[str, Any], ...]
"""What validation chooses among: keys of a trial and their values."""
FROZEN: frozenset[Variant] = frozenset({"frozen", "linear_probe"})


class Contender(NamedTuple):
    """What is compared on one board, at its own best point.

    Attributes:
        variant: how it was trained.
        train_fraction: the fraction of the training split that it learned from.
        fold: the name of the fold that judges it; None without folds.
    """

    variant: Variant
    train_fraction: float
    fold: str | None = None


class OptimizationSettings(Settings):
    """How each trial trains, with AdamW, a linear warm-up and half a cosine.

    Attributes:
        num_epochs: how often a trial goes through the training split at most.
        batch_size: how many records a step takes at most; all batches of an epoch are about equal.
        regression_loss: the error of standardised numbers that is minimised.
        precision: ``bf16`` runs the network under autocast, which takes half the time on processors
            that support it, and several times as long on others, which a line then says; weights
            and loss stay in float32. ``fast_fp32`` keeps all numbers in
            float32 and only multiplies matrices in bfloat16 or TF32, and that while it learns: it
            validates and predicts in float32.
        gradient_clip: largest norm of the gradient; 0 clips nothing.
        weight_decay: the weight decay of AdamW.
        warmup_fraction: the fraction of the steps in which the learning rate rises.
        final_lr_fraction: the last learning rate as a fraction of the peak.
        encoder_lr_fraction: the learning rate of pretrained encoders as a fraction of the head's.
            With few labels, a low one keeps what they know. It counts for ``finetuned`` alone.
        patience: after how many epochs without a better validation error a trial stops; None lets
            it go on to the end.
        num_threads: how many threads torch uses in a trial.
    """

    of_the_machine: ClassVar[frozenset[str]] = frozenset({"num_threads"})

    num_epochs: int = Field(default=10, ge=1)
    batch_size: int = Field(default=64, ge=2)
    regression_loss: RegressionLoss = "squared"
    precision: Precision = "fp32"
    gradient_clip: float = Field(default=0.0, ge=0)
    weight_decay: float = Field(default=0.0, ge=0)
    warmup_fraction: float = Field(default=0.1, ge=0, le=1)
    final_lr_fraction: float = Field(default=0.01, ge=0, le=1)
    encoder_lr_fraction: float = Field(default=1.0, gt=0, le=1)
    patience: int | None = Field(default=None, ge=1)
    num_threads: int = Field(default=1, ge=1)


class TrialSettings(OptimizationSettings):
    """One trial of a sweep.

    Attributes:
        variant: ``finetuned`` starts from the exported encoders, ``frozen`` trains only the head
            on them, ``linear_probe`` only a linear layer, and ``from_scratch`` starts from random
            weights of the same encoders.
        train_fraction: the fraction of the training split that it learns from; a smaller part lies
            within a larger one.
        lr: the peak learning rate.
        seed: decides the initial weights, the order of training and how features vary.
        chosen: the keys of the grid besides the learning rate, which become part of the name.
        fold: the fold that is its test part; None for the split of the data set.
    """

    variant: Variant
    train_fraction: TrainFraction = 1.0
    lr: LearningRate
    seed: NonNegativeInt
    chosen: tuple[str, ...] = ()
    fold: Fold | None = None

    @property
    def name(self) -> str:
        """A name that is unique within a sweep."""
        part = "" if self.train_fraction == 1 else f"-train{100 * self.train_fraction:g}"
        fold = "" if self.fold is None else f"-fold{self.fold.slug}"
        chosen = "".join(f"-{key}{getattr(self, key)}" for key in self.chosen)
        return f"{self.variant}{part}{fold}-lr{self.lr:g}{chosen}-seed{self.seed}"

    @property
    def point(self) -> Point:
        """What validation chooses among."""
        return tuple((key, getattr(self, key)) for key in ("lr", *self.chosen))

    @property
    def contender(self) -> Contender:
        """What is compared on the leaderboard, at its own best point."""
        fold = None if self.fold is None else self.fold.test
        return Contender(self.variant, self.train_fraction, fold)
