"""What a fine-tuning sweep is; importing this loads no Ray."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, NonNegativeInt, ValidationError, model_validator

from omnimat.base.registry import OneOf
from omnimat.base.settings import Settings, fingerprint, identity
from omnimat.evaluation.settings import DownstreamSettings
from omnimat.finetune.folds import Fold, FoldSettings
from omnimat.finetune.heads.head import HEADS, HeadSettings
from omnimat.finetune.heads.mlp import MlpSettings
from omnimat.finetune.tasks import Task
from omnimat.finetune.trial_settings import (
    FROZEN,
    LearningRate,
    OptimizationSettings,
    TrainFraction,
    TrialSettings,
    Variant,
)
from omnimat.materials.split import SPLITS, Split
from omnimat.modalities.choices import Augmentations, ModalityChoices
from omnimat.modalities.registry import ModalityName
from omnimat.training.held_out import HeldOuts

MissingModalities = Literal["leave_out", "fuse"]


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
        added: modalities for which the packed model has no encoder, each with its featurizer and
            encoder as in a pretrain job. These encoders start untrained.
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
        augmentation: how stored features vary from epoch to epoch, by modality. Validation sees one
            such view of each record, since it stands for what is to come; the test part, which is
            that, is seen as it is.
        test_dataset: the name of another data set, whose test split judges; None for the test part
            of ``dataset``. Trials, and what they start from, may learn from materials of the same
            formulas, and rows tell how many these are. To keep them from all trials, name the data
            set in ``held_out`` too, with the split ``test``; a pretraining has its own.
        folds: a property that divides the data set into folds, each of which is the test part in
            turn; None for the split of the data set.
        variants: what is compared, each at its own best point.
        train_fractions: fractions of the training split, for a curve of the error by the number of
            labels.
        learning_rates: what is tried for every variant, fraction and seed.
        grid: further keys of ``trial``, and the values that are tried for each.
        seeds: the seeds of the repetitions.
        ensemble: whether the mean of the seeds' networks is a result of its own, too. It is what a
            packed model of them predicts, and costs as much as all of them.
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
    added: ModalityChoices | None = None
    modalities: tuple[ModalityName, ...] = Field(default=("structure",), min_length=1)
    head: Annotated[HeadSettings, OneOf(HEADS)] = MlpSettings()
    missing_modalities: MissingModalities = "leave_out"
    held_out: HeldOuts = ()
    label: str = ""
    tasks: tuple[Task, ...] = Field(min_length=1)
    augmentation: Augmentations = Augmentations()
    test_dataset: str | None = None
    folds: FoldSettings | None = None
    variants: tuple[Variant, ...] = Field(default=("finetuned", "from_scratch"), min_length=1)
    train_fractions: tuple[TrainFraction, ...] = Field(default=(1.0,), min_length=1)
    learning_rates: tuple[LearningRate, ...] = Field(default=(3e-4, 1e-3), min_length=1)
    grid: Mapping[str, tuple[Any, ...]] = {}
    seeds: tuple[NonNegativeInt, ...] = Field(default=(0, 1, 2), min_length=1)
    ensemble: bool = False
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
    def _what_is_added_can_be_trained(self) -> Self:
        if self.added is None:
            return self
        if not self.model:
            raise ValueError("added: it goes with model, a packed one; a run has what it has")
        if frozen := [one for one in self.variants if one in FROZEN]:
            raise ValueError(f"added: {frozen[0]} would leave these encoders untrained; drop one")
        for name, choice in self.added.chosen().items():
            if name not in self.modalities:
                raise ValueError(f"added.{name}: name it among modalities, or take it out")
            if choice.encoder is None:
                raise ValueError(f"added.{name}.encoder: it needs one")
            if choice.augmentation is not None:
                raise ValueError(f"added.{name}.augmentation: give it as augmentation.{name}")
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

    @model_validator(mode="after")
    def _a_mean_is_of_several(self) -> Self:
        if self.ensemble and len(self.seeds) < 2:
            raise ValueError("ensemble: the mean of one network is that network; give more seeds")
        return self

    @model_validator(mode="after")
    def _another_data_set_judges(self) -> Self:
        if self.test_dataset is None:
            return self
        if self.folds is not None or self.test_dataset == self.dataset:
            raise ValueError("test_dataset: name another data set than dataset, and take out folds")
        return self

    @model_validator(mode="after")
    def _what_varies_is_learned_from(self) -> Self:
        varied = self.augmentation.chosen()
        if others := sorted(varied.keys() - set(self.modalities)):
            raise ValueError(f"augmentation.{others[0]}: it is none of modalities; remove it")
        if varied and (fixed := [one for one in self.variants if one in FROZEN]):
            raise ValueError(
                f"augmentation: {fixed[0]} encoders see each record once, so nothing can vary; "
                "take it out of variants, or remove augmentation"
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
    def judging_dataset(self) -> str:
        """The data set whose test part judges."""
        return self.test_dataset or self.dataset

    def splits_of(self) -> dict[str, tuple[Split, ...]]:
        """Give the splits of each data set that are used, where there are no folds."""
        if self.test_dataset is None:
            return {self.dataset: SPLITS}
        return {self.dataset: ("train", "validation"), self.test_dataset: ("test",)}

    @property
    def judged(self) -> dict[str, frozenset[str]]:
        """The properties that are predicted, by the modality from which that is done."""
        return dict.fromkeys(self.modalities, frozenset(task.target for task in self.tasks))

    @property
    def _unused(self) -> set[str]:
        """Keys that decide nothing: of a single modality none is missing."""
        unused = {
            "missing_modalities": len(self.modalities) == 1,
            "held_out": not self.held_out,
            "augmentation": not self.augmentation.chosen(),
            "test_dataset": not self.test_dataset,
        }
        return {key for key, decides_nothing in unused.items() if decides_nothing}

    def method(self) -> dict[str, Any]:
        """Give what decides a number, but for the contender and the seed; defaults included."""
        aside = {"label", "folds", "variants", "train_fractions", "seeds", "ensemble", "model"}
        left_out = dict.fromkeys(aside | self._unused | self.of_the_machine, True)
        exclude: dict[str, Any] = {**left_out, "trial": self.trial.of_the_machine}
        return self.model_dump(mode="json", exclude=exclude)

    def network(self) -> dict[str, Any]:
        """Give the identity of what every trial trains, whatever its own settings."""
        keys = {"revision", "head", "missing_modalities", "tasks", "augmentation"} - self._unused
        return {key: value for key, value in identity(self).items() if key in keys}

    def claim(self) -> str:
        """Hash what a sweep that has begun must keep; its trials tell themselves apart."""
        grid = {"variants", "train_fractions", "learning_rates", "grid", "seeds"}
        free = grid | {"label", "ensemble"}
        kept = {k: value for k, value in identity(self).items() if k not in free}
        if "folds" in kept:
            kept["folds"] = {k: value for k, value in kept["folds"].items() if k != "test"}
        return fingerprint(kept)
