"""What a fine-tuning sweep is; importing this loads no Ray."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, NonNegativeInt, PositiveInt, ValidationError, model_validator

from omnimat.base.settings import Settings, fingerprint
from omnimat.evaluation.settings import DownstreamSettings
from omnimat.finetune.codec import RegressionLoss
from omnimat.finetune.heads.fusion import ConcatFusionSettings, FusionSettings
from omnimat.finetune.model import Precision
from omnimat.finetune.tasks import Task
from omnimat.modalities.registry import ModalityName

LearningRate = Annotated[float, Field(gt=0, allow_inf_nan=False)]
TrainFraction = Annotated[float, Field(gt=0, le=1)]
Variant = Literal["finetuned", "frozen", "linear_probe", "from_scratch"]
Contender = tuple[Variant, float]
"""Variant and fraction of the training split."""
Point = tuple[tuple[str, Any], ...]
"""Keys of a trial and their values."""
FROZEN: frozenset[Variant] = frozenset({"frozen", "linear_probe"})
MissingModalities = Literal["leave_out", "fuse"]


class HeadSettings(Settings):
    """What maps the embedding of a single modality to outputs.

    Attributes:
        hidden_widths: of the layers between, with ReLU; none for a linear head.
    """

    hidden_widths: tuple[PositiveInt, ...] = ()


class OptimizationSettings(Settings):
    """How each trial trains; AdamW under linear warm-up and a half cosine.

    Attributes:
        num_epochs: at most, over the training split.
        batch_size: records a step; an epoch is cut into batches as equal as can be.
        regression_loss: of standardised numbers, ``squared`` or ``absolute``.
        precision: ``bf16`` runs the network under autocast, twice as fast where the processor has
            it; weights and loss stay in float32.
        weight_decay: of AdamW.
        warmup_fraction: of all steps.
        final_lr_fraction: of the peak learning rate, at the last step.
        patience: epochs without a better validation error before a trial stops; None never stops.
        num_threads: of torch in a trial.
    """

    num_epochs: int = Field(default=10, ge=1)
    batch_size: int = Field(default=64, ge=2)
    regression_loss: RegressionLoss = "squared"
    precision: Precision = "fp32"
    weight_decay: float = Field(default=0.0, ge=0)
    warmup_fraction: float = Field(default=0.1, ge=0, le=1)
    final_lr_fraction: float = Field(default=0.01, ge=0, le=1)
    patience: int | None = Field(default=None, ge=1)
    num_threads: int = Field(default=1, ge=1)


class TrialSettings(OptimizationSettings):
    """One point of a sweep.

    Attributes:
        variant: ``finetuned`` starts from the exported encoders, ``frozen`` trains only the head
            on them, ``linear_probe`` only a linear layer, ``from_scratch`` starts from random
            weights of the same encoders.
        train_fraction: of the training split; a smaller part lies within a larger one.
        lr: peak learning rate.
        seed: of the initial weights and of the order of training.
        chosen: keys of the grid besides the learning rate, which go into the name.
    """

    variant: Variant
    train_fraction: TrainFraction = 1.0
    lr: LearningRate
    seed: NonNegativeInt
    chosen: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Unique within a sweep."""
        part = "" if self.train_fraction == 1 else f"-train{100 * self.train_fraction:g}"
        chosen = "".join(f"-{key}{getattr(self, key)}" for key in self.chosen)
        return f"{self.variant}{part}-lr{self.lr:g}{chosen}-seed{self.seed}"

    @property
    def point(self) -> Point:
        """What validation chooses."""
        return tuple((key, getattr(self, key)) for key in ("lr", *self.chosen))

    @property
    def contender(self) -> Contender:
        """What is compared on the leaderboard, each at its own best point."""
        return self.variant, self.train_fraction


class AshaSettings(Settings):
    """Asynchronous successive halving (Li et al. 2020) over the points of a grid.

    It looks at the first seed alone; the point it leaves the best is then trained with the others,
    or the mean over seeds would be one over the luckiest.

    Attributes:
        grace_epochs: every trial has.
        reduction_factor: one in so many goes on at each rung.
    """

    grace_epochs: int = Field(default=1, ge=1)
    reduction_factor: int = Field(default=3, ge=2)


class FinetuneSettings(DownstreamSettings):
    """A sweep over variants, points and seeds on one or more tasks.

    Attributes:
        modalities: which of the run's encoders; several are trained together, under a fusion.
        head: on a single modality.
        fusion: of several modalities. From scratch this is fusion without alignment.
        missing_modalities: a record that lacks one of several modalities is left out, or fused
            from those it has; a record without any is left out.
        label: words after the model's name on the leaderboard, where that alone would not tell two
            jobs apart.
        tasks: what to predict: names of the catalogue, or tasks spelled out. Several are learned
            together by one network, whose loss is the mean of theirs.
        variants: compared with each other, each at its own best point.
        train_fractions: of the training split, for a curve of the error by the labels there are.
        learning_rates: tried for every variant, fraction and seed.
        grid: further keys of ``trial`` and the values to try for each.
        seeds: repetitions.
        trial: how each trial trains.
        asha: stop poor points early; None trains every one to its end.
        cpus_per_trial: logical CPUs.
        gpus_per_trial: logical GPUs; 0 trains on the CPU, ``auto`` on one GPU where the cluster
            has any.
        max_concurrent_trials: None for as many as the cluster holds.
        max_failures: times a trial is tried again after its process or node died.
    """

    of_the_machine: ClassVar[Mapping[str, Any]] = {
        **DownstreamSettings.of_the_machine,
        "cpus_per_trial": True,
        "gpus_per_trial": True,
        "max_concurrent_trials": True,
        "max_failures": True,
        "trial": {"num_threads": True},
    }

    modalities: tuple[ModalityName, ...] = Field(default=("structure",), min_length=1)
    head: HeadSettings = HeadSettings()
    fusion: FusionSettings = ConcatFusionSettings()
    missing_modalities: MissingModalities = "leave_out"
    label: str = ""
    tasks: tuple[Task, ...] = Field(min_length=1)
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
        """What Ray sets aside for a trial; no GPU while that is left open."""
        num_gpus = 0.0 if self.gpus_per_trial == "auto" else self.gpus_per_trial
        amounts = {"CPU": self.cpus_per_trial, "GPU": num_gpus}
        return {name: amount for name, amount in amounts.items() if amount}

    @model_validator(mode="after")
    def _nothing_repeats(self) -> Self:
        if len(set(self.modalities)) < len(self.modalities):
            raise ValueError("modalities must not repeat a value")
        if len({task.name for task in self.tasks}) < len(self.tasks):
            raise ValueError("tasks must not repeat a name")
        if len({task.slug for task in self.tasks}) < len(self.tasks):
            raise ValueError("tasks: two names differ by signs alone, which no file's name keeps")
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

    def trials(self) -> list[TrialSettings]:
        """Give every point of the grid."""
        shared = self.trial.model_dump() | {"chosen": tuple(self.grid)}
        return [
            TrialSettings(
                **shared | {"variant": variant, "train_fraction": part} | point, seed=seed
            )
            for variant in self.variants
            for part in self.train_fractions
            for point in self.points()
            for seed in self.seeds
        ]

    def method(self) -> dict[str, object]:
        """Give what decides a number, but for the contender and the seed."""
        unused = {"fusion", "missing_modalities"} if len(self.modalities) == 1 else {"head"}
        left_out = dict.fromkeys({"label", "variants", "train_fractions", "seeds", *unused}, True)
        return self.model_dump(mode="json", exclude={**self.of_the_machine, **left_out})

    def claim(self) -> str:
        """Hash what a sweep that has begun must keep; its trials tell themselves apart."""
        grid = ("variants", "train_fractions", "learning_rates", "grid", "seeds")
        free = {**self.of_the_machine, **dict.fromkeys(("label", *grid), True)}
        return fingerprint(self.model_dump(mode="json", exclude=free))
