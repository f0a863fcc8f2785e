"""Maps between targets and what a network learns, one for each task, fitted on training data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from omnimat.base.settings import Settings
from omnimat.finetune.tasks import TaskSettings, Transform
from omnimat.finetune.trial_settings import RegressionLoss
from omnimat.materials.targets import Targets

if TYPE_CHECKING:
    import torch
    from torch import Tensor

_UNSEEN = -1


class Standardiser(Settings):
    """Makes numbers of mean 0 and standard deviation 1 over the training split.

    Attributes:
        mean: the mean of the transformed targets; where a target is several numbers, of each.
        std: their standard deviation.
        transform: what is taken first.
    """

    type: Literal["standardiser"] = "standardiser"
    mean: float | tuple[float, ...]
    std: float | tuple[float, ...]
    transform: Transform

    @classmethod
    def fit(cls, values: NDArray[np.float64], transform: Transform) -> Self:
        """Measure (N,) or (N, k) training targets; where all are equal, they are only shifted."""
        numbers = _transformed(values, transform)
        std = numbers.std(axis=0)
        return cls(
            mean=numbers.mean(axis=0).tolist(),
            std=np.where(std == 0, 1.0, std).tolist(),
            transform=transform,
        )

    @property
    def num_outputs(self) -> int:
        """Numbers the network gives a record."""
        return np.size(self.mean)

    def encode(self, values: NDArray[Any]) -> NDArray[np.float32]:
        """Map (N,) or (N, k) targets to the (N, 1 or k) float32 that are learned."""
        standard = (_transformed(values, self.transform) - self.mean) / self.std
        return standard.astype(np.float32).reshape(len(values), self.num_outputs)

    def decode(self, outputs: NDArray[np.float32]) -> NDArray[np.float64]:
        """Map (N, 1 or k) outputs to (N,) or (N, k) predictions in the target's unit.

        A power of ten that is too large for float64 is infinite.
        """
        standard = outputs.astype(np.float64).reshape(len(outputs), *np.shape(self.mean))
        numbers = standard * self.std + self.mean
        with np.errstate(over="ignore"):
            predictions: NDArray[np.float64] = (
                np.power(10.0, numbers) if self.transform == "log10" else numbers
            )
        return predictions

    def guess(self, num_records: int) -> NDArray[np.float64]:
        """Predict the training mean for every record."""
        return self.decode(np.zeros((num_records, self.num_outputs), np.float32))


class ClassIndex(Settings):
    """Numbers classes by their place among the sorted labels of the training split.

    Attributes:
        labels: the sorted labels of the training split.
        most_frequent: the most frequent of them.
        log_ratios: the logarithm of how much commoner each class is expected to be than it is in
            the training split; empty where it is as common.
    """

    type: Literal["class_index"] = "class_index"
    labels: tuple[str, ...]
    most_frequent: str
    log_ratios: tuple[float, ...] = Field(default=(), exclude_if=lambda told: not told)

    @model_validator(mode="after")
    def _has_a_ratio_for_each(self) -> Self:
        if self.log_ratios and len(self.log_ratios) != len(self.labels):
            raise ValueError("log_ratios: give one for each of labels")
        return self

    @classmethod
    def fit(cls, values: NDArray[np.str_], task: TaskSettings) -> Self:
        """Collect the labels from (N,) training targets; ``check_shares`` knows them all.

        Raises:
            KeyError: if the task expects shares, but none of one of these labels.
        """
        labels, counts = np.unique(values, return_counts=True)
        found = cls(labels=tuple(labels.tolist()), most_frequent=str(labels[counts.argmax()]))
        if not task.expected_shares:
            return found
        expected = np.array([task.expected_shares[label] for label in found.labels])
        ratios = (expected / expected.sum()) / (counts / counts.sum())
        return found.model_copy(update={"log_ratios": tuple(np.log(ratios).tolist())})

    @property
    def num_outputs(self) -> int:
        """Numbers the network gives a record."""
        return len(self.labels)

    def encode(self, values: NDArray[Any]) -> NDArray[np.int64]:
        """Map (N,) labels to (N,) int64; a label that training has not seen is -1."""
        place = {label: index for index, label in enumerate(self.labels)}
        return np.array([place.get(label, _UNSEEN) for label in values.tolist()], dtype=np.int64)

    def log_odds(self, outputs: NDArray[np.float32]) -> NDArray[np.float64]:
        """Map (N, labels) outputs to what tells the more likely label, up to a constant of each."""
        ratios = self.log_ratios or np.zeros(len(self.labels))
        odds: NDArray[np.float64] = outputs.astype(np.float64) + ratios
        return odds

    def decode(self, outputs: NDArray[np.float32]) -> NDArray[np.str_]:
        """Map (N, labels) outputs to the (N,) most likely labels."""
        labels: NDArray[np.str_] = np.array(self.labels)[self.log_odds(outputs).argmax(axis=1)]
        return labels

    def probability(self, outputs: NDArray[np.float32]) -> NDArray[np.float64]:
        """Map (N, labels) outputs to the (N,) probabilities of the most likely labels, 0 to 1."""
        odds = self.log_odds(outputs)
        chances: NDArray[np.float64] = 1 / np.exp(odds - odds.max(axis=1, keepdims=True)).sum(
            axis=1
        )
        return chances

    def joint(self, outputs: NDArray[np.float32]) -> NDArray[np.float32]:
        """Map (networks, N, labels) outputs to (N, labels) whose probabilities are their mean.

        That is the mean before any shift, so that the mean is shifted as each of them would be.
        """
        if len(outputs) == 1:
            alone: NDArray[np.float32] = outputs[0]
            return alone
        with np.errstate(invalid="ignore", divide="ignore"):  # where weights are NaN or huge
            below = outputs.astype(np.float64) - outputs.max(axis=2, keepdims=True)
            chances = np.exp(below) / np.exp(below).sum(axis=2, keepdims=True)
            joined: NDArray[np.float32] = np.log(chances.mean(axis=0)).astype(np.float32)
        return joined

    def guess(self, num_records: int) -> NDArray[np.str_]:
        """Predict the most frequent training label for every record."""
        return np.full(num_records, self.most_frequent)


TargetCodec = Annotated[Standardiser | ClassIndex, Field(discriminator="type")]


@dataclass(frozen=True, slots=True)
class Learned:
    """What a network learns for one task from N records.

    Attributes:
        values: (N, k) float32 or (N,) int64; anything finite where nothing is learned.
        is_learned: (N,) bool, which is false for an unknown target or an unseen class; None where
            something is learned of every record.
    """

    values: Tensor
    is_learned: Tensor | None

    def __getitem__(self, rows: Tensor) -> Learned:
        """Give those of (n,) records, by their places on the same device."""
        is_learned = self.is_learned
        return Learned(
            self.values.index_select(0, rows),
            None if is_learned is None else is_learned.index_select(0, rows),
        )

    def to(self, device: torch.device) -> Learned:
        """Move to a device."""
        is_learned = self.is_learned
        return Learned(
            self.values.to(device), None if is_learned is None else is_learned.to(device)
        )

    def mean(self, losses: Tensor) -> Tensor:
        """Average the (n,) losses of records of which something is learned; 0 if there are none."""
        if self.is_learned is None:
            return losses.mean()
        return losses.where(self.is_learned, 0).sum() / self.is_learned.sum().clamp(min=1)


class JointCodec(Settings):
    """The maps of all tasks of a network, whose outputs lie side by side.

    Attributes:
        codecs: the map of each task, in order.
    """

    codecs: tuple[TargetCodec, ...]

    @classmethod
    def fit(cls, tasks: Sequence[TaskSettings], train: Sequence[Targets]) -> Self:
        """Fit on the known training targets of each task, of which there is at least one."""
        return cls(
            codecs=tuple(
                ClassIndex.fit(targets.known, task)
                if task.kind == "classification"
                else Standardiser.fit(targets.known, task.transform)
                for task, targets in zip(tasks, train, strict=True)
            )
        )

    @property
    def num_outputs(self) -> int:
        """Numbers the network gives a record."""
        return sum(codec.num_outputs for codec in self.codecs)

    def encode(self, targets: Sequence[Targets]) -> list[Learned]:
        """Map the targets of each task to what is learned."""
        return [_learned(*pair) for pair in zip(self.codecs, targets, strict=True)]

    def losses(
        self, outputs: Tensor, learned: Sequence[Learned], regression: RegressionLoss
    ) -> Tensor:
        """Average each task's loss over the records that have its target.

        Args:
            outputs: (n, num_outputs).
            learned: what each task learns from these n records.
            regression: the loss of standardised numbers; that of classes is cross-entropy.

        Returns:
            (tasks,), which is zero where no record has the target.
        """
        import torch
        import torch.nn.functional as F

        loss_of_numbers = {"squared": F.mse_loss, "absolute": F.l1_loss}[regression]
        is_alone = len(self.codecs) == 1  # then there is nothing to cut and to join
        widths = [codec.num_outputs for codec in self.codecs]
        parts = (outputs,) if is_alone else torch.split(outputs, widths, dim=1)
        each = [
            (
                F.cross_entropy(part, one.values.clamp(min=0), reduction="none")
                if one.values.ndim == 1
                else loss_of_numbers(part, one.values, reduction="none").mean(dim=1)
            )
            for part, one in zip(parts, learned, strict=True)
        ]
        means = [one.mean(loss) for loss, one in zip(each, learned, strict=True)]
        return means[0].reshape(1) if is_alone else torch.stack(means)

    def decode(self, outputs: NDArray[np.float32]) -> list[NDArray[Any]]:
        """Map (N, num_outputs) to the predictions of each task."""
        parts = self.parts(outputs)
        return [codec.decode(part) for codec, part in zip(self.codecs, parts, strict=True)]

    def parts(self, outputs: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        """Take (N, num_outputs) apart into the outputs of each task."""
        ends = np.cumsum([codec.num_outputs for codec in self.codecs])[:-1]
        return np.split(outputs, ends, axis=1)


def _learned(codec: TargetCodec, targets: Targets) -> Learned:
    import torch

    # A NaN would reach the gradient even where the loss is masked.
    values = torch.from_numpy(np.nan_to_num(codec.encode(targets.values)))
    is_learned = torch.from_numpy(targets.is_known)
    if isinstance(codec, ClassIndex):
        is_learned = is_learned & (values != _UNSEEN)
    return Learned(values, None if is_learned.all() else is_learned)


def count_unseen(codec: TargetCodec, targets: Targets) -> int:
    """Count the targets whose class training never saw, so that they are always predicted wrong."""
    if isinstance(codec, Standardiser):
        return 0
    return int((codec.encode(targets.known) == _UNSEEN).sum())


def _transformed(values: NDArray[Any], transform: Transform) -> NDArray[np.float64]:
    numbers = values.astype(np.float64)
    if transform == "none":
        return numbers
    return np.log10(numbers, where=numbers > 0, out=np.full_like(numbers, np.nan))
