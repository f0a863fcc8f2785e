"""What a fine-tuning sweep is; importing this loads no Ray."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, NonNegativeInt, model_validator

from omnimat.encoders.fusion import ConcatFusionSettings, FusionSettings
from omnimat.evaluation.settings import DownstreamSettings
from omnimat.finetune.tasks import TaskSettings
from omnimat.materials.record import Modality
from omnimat.materials.settings import Settings

LearningRate = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Variant = Literal["finetuned", "frozen", "from_scratch"]
MissingModalities = Literal["leave_out", "fuse"]


class OptimizationSettings(Settings):
    """How each trial trains; AdamW under linear warm-up and a half cosine.

    Attributes:
        num_epochs: at most, over the training split.
        batch_size: records a step; an epoch is cut into batches as equal as can be.
        weight_decay: of AdamW.
        warmup_fraction: of all steps.
        final_lr_fraction: of the peak learning rate, at the last step.
        patience: epochs without a better validation metric before a trial stops; None never stops.
        max_train_records: train on a part, the same for every trial; None for all.
        num_threads: of torch in a trial.
    """

    num_epochs: int = Field(default=10, ge=1)
    batch_size: int = Field(default=64, ge=2)
    weight_decay: float = Field(default=0.0, ge=0)
    warmup_fraction: float = Field(default=0.1, ge=0, le=1)
    final_lr_fraction: float = Field(default=0.01, ge=0, le=1)
    patience: int | None = Field(default=None, ge=1)
    max_train_records: int | None = Field(default=None, ge=1)
    num_threads: int = Field(default=1, ge=1)


class TrialSettings(OptimizationSettings):
    """One point of a sweep.

    Attributes:
        variant: ``finetuned`` starts from the exported encoders, ``frozen`` trains only the head
            on them, ``from_scratch`` starts from random weights of the same encoders.
        lr: peak learning rate.
        seed: of the initial weights and of the order of training.
    """

    variant: Variant
    lr: LearningRate
    seed: NonNegativeInt

    @property
    def name(self) -> str:
        """Unique within a sweep."""
        return f"{self.variant}-lr{self.lr:g}-seed{self.seed}"


class FinetuneSettings(DownstreamSettings):
    """A sweep over variants, learning rates and seeds on one task.

    Attributes:
        modalities: which of the run's encoders; several are trained together, under a fusion.
        fusion: of several modalities. From scratch this is fusion without alignment.
        missing_modalities: a record that lacks one of several modalities is left out, or fused
            from those it has; a record without any is left out.
        task: what to predict.
        variants: compared with each other, each at its own best learning rate.
        learning_rates: tried for every variant and seed.
        seeds: repetitions.
        trial: how each trial trains.
        cpus_per_trial: logical CPUs.
        gpus_per_trial: logical GPUs; 0 trains on the CPU.
        max_concurrent_trials: None for as many as the cluster holds.
        max_failures: times a trial is tried again after its process or node died.
    """

    modalities: tuple[Modality, ...] = Field(default=("structure",), min_length=1)
    fusion: FusionSettings = ConcatFusionSettings()
    missing_modalities: MissingModalities = "leave_out"
    task: TaskSettings
    variants: tuple[Variant, ...] = Field(default=("finetuned", "from_scratch"), min_length=1)
    learning_rates: tuple[LearningRate, ...] = Field(default=(3e-4, 1e-3), min_length=1)
    seeds: tuple[NonNegativeInt, ...] = Field(default=(0, 1, 2), min_length=1)
    trial: OptimizationSettings = OptimizationSettings()
    cpus_per_trial: float = Field(default=1.0, gt=0)
    gpus_per_trial: float = Field(default=0.0, ge=0)
    max_concurrent_trials: int | None = Field(default=None, ge=1)
    max_failures: int = Field(default=1, ge=0)

    @model_validator(mode="after")
    def _modalities_are_distinct(self) -> Self:
        if len(set(self.modalities)) < len(self.modalities):
            raise ValueError("modalities must not repeat a value")
        return self

    @model_validator(mode="after")
    def _points_are_distinct(self) -> Self:
        names = [trial.name for trial in self.trials()]
        if len(set(names)) < len(names):
            raise ValueError("variants, learning_rates and seeds must not repeat a value")
        return self

    def trials(self) -> list[TrialSettings]:
        """Give every point of the grid."""
        shared = self.trial.model_dump()
        return [
            TrialSettings(variant=variant, lr=lr, seed=seed, **shared)
            for variant in self.variants
            for lr in self.learning_rates
            for seed in self.seeds
        ]

    def method(self) -> dict[str, object]:
        """Give what decides a number, but for variant and seed: how the work is spread does not."""
        spread = {"variants", "seeds", "cpus_per_trial", "gpus_per_trial", "max_concurrent_trials"}
        spread |= {"max_failures", "num_featurizers", "featurizer_num_cpus"}
        if len(self.modalities) == 1:
            spread |= {"fusion", "missing_modalities"}
        return self.model_dump(mode="json", exclude=spread)
