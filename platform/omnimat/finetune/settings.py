"""What a fine-tuning sweep is; importing this loads no Ray."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, Self

from pydantic import Field, NonNegativeInt, ValidationError, model_validator

from omnimat.base.precision import Precision
from omnimat.base.registry import OneOf
from omnimat.base.settings import Settings, fingerprint, identity
from omnimat.evaluation.settings import DownstreamSettings
from omnimat.finetune.folds import Fold, FoldSettings
from omnimat.finetune.heads.head import HEADS, HeadSettings
from omnimat.finetune.heads.mlp import MlpSettings
from omnimat.finetune.tasks import Task
from omnimat.modalities.registry import ModalityName
from omnimat.training.held_out import HeldOut

LearningRate = Annotated[float, Field(gt=0, allow_inf_nan=False)]
TrainFraction = Annotated[float, Field(gt=0, le=1)]
RegressionLoss = Literal["squared", "absolute"]
Variant = Literal["finetuned", "frozen", "linear_probe", "from_scratch"]
Point = tuple[tuple[str, Any], ...]
"""What validation chooses among: keys of a trial and their values."""
FROZEN: frozenset[Variant] = frozenset({"frozen", "linear_probe"})
MissingModalities = Literal["leave_out", "fuse"]


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
            that support it; weights and loss stay in float32. ``fast_fp32`` keeps all numbers in
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
        seed: decides the initial weights and the order of training.
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


class AshaSettings(Settings):
    """Asynchronous successive halving (Li et al. 2020) over the points of a grid.

    It looks at the first seed alone. The point that turns out best is then trained with the other
    seeds, so that the mean over seeds is not one over the luckiest.

    Attributes:
        grace_epochs: how many epochs every trial trains before it may be stopped.
        reduction_factor: at each rung, one trial in so many goes on.
    """

    grace_epochs: int = Field(default=1, ge=1)
    reduction_factor: int = Field(default=3, ge=2)


class FinetuneSettings(DownstreamSettings):
    """A sweep over variants, points and seeds on one or more tasks.

    Attributes:
        run: the name of the pretraining run whose exported encoders are used.
        model: the path of a packed model, a folder or a zip, whose encoders are used instead. Its
            encoders become a run of the storage, named after the model and its content.
        modalities: which of the run's encoders are used; several are trained together.
        head: what maps the embeddings to outputs. Left out, it is an ``mlp`` without hidden layers
            for one modality and ``concat`` for several. From scratch, the latter is fusion without
            alignment.
        missing_modalities: whether a record that lacks one of several modalities is left out, or
            fused from those it has; a record without any is always left out.
        held_out: what other data sets keep for judging: no trial learns from these materials, nor
            is any chosen by them.
        label: words after the model's name on the leaderboard, for jobs that would otherwise look
            alike.
        tasks: what to predict: names of the catalogue, or tasks spelled out. Several are learned
            together by one network, whose loss is the mean of theirs.
        folds: a property that divides the data set into folds, each of which is the test part in
            turn; None for the split of the data set.
        variants: what is compared, each at its own best point.
        train_fractions: fractions of the training split, for a curve of the error by the number of
            labels.
        learning_rates: what is tried for every variant, fraction and seed.
        grid: further keys of ``trial``, and the values that are tried for each.
        seeds: the seeds of the repetitions.
        trial: how each trial trains.
        asha: how poor points are stopped early; None trains every point to its end.
        cpus_per_trial: how many logical CPUs a trial has.
        gpus_per_trial: how many logical GPUs a trial has; ``auto`` is one where the cluster has
            any.
        max_concurrent_trials: how many trials run at once; None for as many as the cluster holds.
        max_failures: how often a trial is tried again after its process or node died.
    """

    revision: ClassVar[int] = 2  # since one key, head, stands for what were head and fusion
    of_the_machine: ClassVar[frozenset[str]] = DownstreamSettings.of_the_machine | {
        "cpus_per_trial",
        "gpus_per_trial",
        "max_concurrent_trials",
        "max_failures",
    }

    run: str = ""
    model: str = ""
    modalities: tuple[ModalityName, ...] = Field(default=("structure",), min_length=1)
    head: Annotated[HeadSettings, OneOf(HEADS)] = MlpSettings()
    missing_modalities: MissingModalities = "leave_out"
    held_out: tuple[HeldOut, ...] = ()
    label: str = ""
    tasks: tuple[Task, ...] = Field(min_length=1)
    folds: FoldSettings | None = None
    variants: tuple[Variant, ...] = Field(default=("finetuned", "from_scratch"), min_length=1)
    train_fractions: tuple[TrainFraction, ...] = Field(default=(1.0,), min_length=1)
    learning_rates: tuple[LearningRate, ...] = Field(default=(3e-4, 1e-3), min_length=1)
    grid: Mapping[str, tuple[Any, ...]] = {}
    seeds: tuple[NonNegativeInt, ...] = Field(default=(0, 1, 2), min_length=1)
    trial: OptimizationSettings = OptimizationSettings()
    asha: AshaSettings | None = None
    cpus_per_trial: float = Field(default=1.0, gt=0)
    gpus_per_trial: Annotated[float, Field(ge=0)] | Literal["auto"] = "auto"
    max_concurrent_trials: int | None = Field(default=None, ge=1)
    max_failures: int = Field(default=1, ge=0)

    @property
    def trial_resources(self) -> dict[str, float]:
        """What Ray reserves for a trial; no GPU as long as that is left open."""
        num_gpus = 0.0 if self.gpus_per_trial == "auto" else self.gpus_per_trial
        amounts = {"CPU": self.cpus_per_trial, "GPU": num_gpus}
        return {name: amount for name, amount in amounts.items() if amount}

    @model_validator(mode="before")
    @classmethod
    def _several_are_fused(cls, values: Any) -> Any:
        """Choose the head of several modalities where a job file leaves it out."""
        if not isinstance(values, Mapping) or "head" in values:
            return values
        modalities = values.get("modalities")
        is_one = not isinstance(modalities, Sequence) or len(modalities) < 2
        return values if is_one else {**values, "head": {"type": "concat"}}

    @model_validator(mode="after")
    def _starts_somewhere(self) -> Self:
        if bool(self.run) == bool(self.model):
            which = "not both" if self.run else "this job names neither"
            raise ValueError(f"run: give run or model, the path of a packed one; {which}")
        return self

    @model_validator(mode="after")
    def _nothing_repeats(self) -> Self:
        if len(set(self.modalities)) < len(self.modalities):
            raise ValueError("modalities must not repeat a value")
        if len({task.name for task in self.tasks}) < len(self.tasks):
            raise ValueError("tasks must not repeat a name")
        if len({task.slug for task in self.tasks}) < len(self.tasks):
            raise ValueError("tasks: two names differ only in signs, which file names do not keep")
        return self

    @model_validator(mode="after")
    def _head_takes_the_modalities(self) -> Self:
        if len(self.modalities) > 1 and not self.head.takes_several:
            others = [name for name, head in HEADS.load_all().items() if head.takes_several]
            raise ValueError(
                f"head: {self.head.type} takes one modality, not {', '.join(self.modalities)}; "
                f"choose one of {', '.join(others)}"
            )
        return self

    @model_validator(mode="after")
    def _grid_is_of_the_trial(self) -> Self:
        known = set(OptimizationSettings.model_fields)
        if unknown := set(self.grid) - known:
            raise ValueError(
                f"grid.{min(unknown)} is no key of trial; choose among {', '.join(sorted(known))}"
            )
        try:
            names = [trial.name for trial in self.trials()]
        except ValidationError as error:
            first = error.errors()[0]
            raise ValueError(f"grid.{first['loc'][0]}: {first['msg']}") from error
        if len(set(names)) < len(names):
            raise ValueError(
                "variants, train_fractions, learning_rates, grid and seeds must not repeat a value"
            )
        return self

    def points(self) -> list[dict[str, Any]]:
        """Give what validation chooses among."""
        axes = {"lr": self.learning_rates, **self.grid}
        return [
            dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())
        ]

    def each_fold(self) -> tuple[Fold | None, ...]:
        """Give the folds, or None alone for the split of the data set."""
        return (None,) if self.folds is None else self.folds.each()

    def trials(self) -> list[TrialSettings]:
        """Give every point of the grid."""
        shared = self.trial.model_dump() | {"chosen": tuple(self.grid)}
        return [
            TrialSettings(
                **shared | {"variant": variant, "train_fraction": part} | point,
                seed=seed,
                fold=fold,
            )
            for fold in self.each_fold()
            for variant in self.variants
            for part in self.train_fractions
            for point in self.points()
            for seed in self.seeds
        ]

    @property
    def is_from_scratch(self) -> bool:
        """Whether no trial starts from what was pretrained."""
        return set(self.variants) == {"from_scratch"}

    @property
    def judged(self) -> dict[str, frozenset[str]]:
        """The properties that are predicted, by the modality from which that is done."""
        return dict.fromkeys(self.modalities, frozenset(task.target for task in self.tasks))

    @property
    def _unused(self) -> set[str]:
        """Keys that decide nothing: of a single modality none is missing."""
        unused = {"missing_modalities": len(self.modalities) == 1, "held_out": not self.held_out}
        return {key for key, decides_nothing in unused.items() if decides_nothing}

    def method(self) -> dict[str, Any]:
        """Give what decides a number, but for the contender and the seed; defaults included."""
        aside = {"label", "folds", "variants", "train_fractions", "seeds", "model"}
        left_out = dict.fromkeys(aside | self._unused | self.of_the_machine, True)
        exclude: dict[str, Any] = {**left_out, "trial": self.trial.of_the_machine}
        return self.model_dump(mode="json", exclude=exclude)

    def network(self) -> dict[str, Any]:
        """Give the identity of what every trial trains, whatever its own settings."""
        keys = {"revision", "head", "missing_modalities", "tasks"} - self._unused
        return {key: value for key, value in identity(self).items() if key in keys}

    def claim(self) -> str:
        """Hash what a sweep that has begun must keep; its trials tell themselves apart."""
        free = {"label", "variants", "train_fractions", "learning_rates", "grid", "seeds"}
        kept = {k: value for k, value in identity(self).items() if k not in free}
        if "folds" in kept:
            kept["folds"] = {k: value for k, value in kept["folds"].items() if k != "test"}
        return fingerprint(kept)
