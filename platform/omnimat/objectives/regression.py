"""Regression beside a contrast: what the embedding of one modality tells of another's numbers.

Over the n numbers t of a batch that are known, and whose material has the first modality too,

    L = 1/n sum |p - t|   or   1/n sum (p - t)^2

where p is what a network makes of the embedding. The others are in no sum and no denominator. A
class is one of the n, whose error is the sum of those of its labels, each of which is 0 or 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from typing import TYPE_CHECKING, Literal, Self

import numpy as np
from pydantic import ConfigDict, Field, PositiveFloat, PositiveInt

from omnimat.base.errors import UserError
from omnimat.base.settings import Settings
from omnimat.modalities.batch import collate, feature_table
from omnimat.modalities.layout import Featurizer, TrainingRecords, Vector
from omnimat.modalities.registry import ModalityName

if TYPE_CHECKING:
    from torch import Tensor

    from omnimat.modalities.tensors import ModalityTensors
    from omnimat.objectives.targets import Targets

NUM_MEASURED = 256


class Scale(Settings):
    """Mean and standard deviation of all numbers of a vector together, of some training records.

    Those are the first ``NUM_MEASURED`` in the order of the shards that have the modality. Where a
    data set is sorted, they may be unlike the others; the loss is then scaled by another number.

    Attributes:
        mean: mean, in the unit of the numbers.
        standard_deviation: standard deviation, in the same unit.
    """

    mean: float
    standard_deviation: PositiveFloat


class RegressionSettings(Settings):
    """One modality's numbers, predicted from the embedding of another.

    Attributes:
        source: modality whose embedding predicts; the key of a job file is ``from``.
        target: modality whose numbers are predicted; the key of a job file is ``to``.
        weight: factor of this loss in the sum that is minimised.
        loss: mean of absolute or of squared errors, of numbers with standard deviation near 1.
        hidden_widths: widths of the hidden layers between embedding and numbers, each with a SiLU.
        scale: by which the numbers are standardised, measured when a job starts on the first 256
            training records that have them; None where they are standard by themselves.
    """

    model_config = ConfigDict(validate_by_name=True, validate_by_alias=True)

    source: ModalityName = Field(alias="from")
    target: ModalityName = Field(alias="to")
    weight: PositiveFloat = 1.0
    loss: Literal["absolute", "squared"] = "absolute"
    hidden_widths: tuple[PositiveInt, ...] = (128,)
    scale: Scale | None = None

    @property
    def name(self) -> str:
        """Its name among the losses of a run."""
        return f"{self.source}->{self.target}"

    def located(self, featurizer: Featurizer, training: TrainingRecords) -> Self:
        """Return the same settings with the scale of some training records.

        Args:
            featurizer: featurizer of the target.
            training: training records; of those that have what the target is made of, the first
                ``NUM_MEASURED`` in the order of the shards are measured.

        Raises:
            UserError: none of them has it.
        """
        vector = vector_of(featurizer)
        if vector.is_standard or self.scale is not None:
            return self
        wanted = [column.removeprefix("has_") for column in featurizer.index_columns]
        table = feature_table(islice(training(wanted), NUM_MEASURED), {self.target: featurizer})
        arrays = collate(table, {self.target: featurizer}).modalities[self.target].arrays
        numbers = arrays[vector.name].astype(np.float64)
        if not numbers.size:
            raise UserError(
                f"regression: none of the first {NUM_MEASURED} training records gives "
                f"{self.target}; change modalities.{self.target}.featurizer, or remove {self.name}"
            )
        deviation = float(numbers.std()) or 1.0
        scale = Scale(mean=float(numbers.mean()), standard_deviation=deviation)
        return self.model_copy(update={"scale": scale})

    def targets(
        self, vector: Vector, batch: Mapping[str, ModalityTensors], batch_size: int
    ) -> Targets:
        """Return what should be predicted for a batch of B materials.

        Args:
            vector: what the target's featurizer gives.
            batch: for each modality the materials that have it.
            batch_size: B.
        """
        import torch

        from omnimat.nn.precision import widened
        from omnimat.objectives.targets import Targets, known_of

        given, device = batch[self.target], batch[self.target].rows.device
        values = widened(given.arrays[vector.name].flatten(1))
        if self.scale is not None:
            values = (values - self.scale.mean) / self.scale.standard_deviation
        nowhere = torch.zeros(batch_size, dtype=torch.bool, device=device)
        has_source = nowhere.index_fill(0, batch[self.source].rows, True)
        mask, places = known_of(vector, given)
        nothing = torch.zeros(batch_size, mask.shape[1], dtype=torch.bool, device=device)
        is_known = nothing.index_copy(0, given.rows, mask) & has_source[:, None]
        return Targets(
            values.new_zeros(batch_size, vector.size).index_copy(0, given.rows, values),
            is_known.index_select(1, places),
            is_known.sum(),
        )

    def share(self, predicted: Tensor, targets: Targets, num_known: Tensor) -> Tensor:
        """Return this worker's share of the loss.

        Args:
            predicted: (B, k), what is predicted for this worker's materials.
            targets: what should be.
            num_known: (), ``Targets.num_known`` of the whole batch, summed over workers.

        Returns:
            A scalar. Summed over workers it is the loss of the whole batch; if nothing is known it
            is zero, but connected to the graph.
        """
        import torch

        from omnimat.nn.precision import widened

        errors = widened(predicted) - targets.values
        sizes = errors.abs() if self.loss == "absolute" else errors.square()
        known = torch.where(targets.is_known, sizes, torch.zeros_like(sizes))
        return known.sum() / num_known.clamp(min=1)


def vector_of(featurizer: Featurizer) -> Vector:
    """Return what of a modality can be predicted.

    Raises:
        UserError: nothing can, because its arrays are no single vector.
    """
    vector = featurizer.vector
    if vector is None:
        raise UserError(
            f"regression: {featurizer.modality} cannot be predicted, because its featurizer "
            f"{featurizer.type!r} does not give one vector of numbers of one kind per material; "
            "choose another featurizer, or another modality, such as properties or xrd"
        )
    return vector
