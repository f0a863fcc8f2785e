"""The loss of a batch: contrasts of all workers' embeddings, and regressions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self

import torch
from torch import Tensor

from omnimat.modalities.tensors import ModalityTensors
from omnimat.objectives.contrastive import mean_over_groups
from omnimat.objectives.embeddings import Embeddings
from omnimat.objectives.regression import RegressionSettings, vector_of
from omnimat.objectives.targets import Targets
from omnimat.training.context import WorkerContext
from omnimat.training.gather import gather_embeddings, sum_over_workers
from omnimat.training.meter import Meter
from omnimat.training.settings import PretrainSettings

MicroBatch = tuple[Mapping[str, ModalityTensors], int]
"""The tensors of some materials, and how many these are."""


@dataclass
class BatchLoss:
    """What is minimised in a step, as a function of what the model returns for a worker's rows.

    Attributes:
        settings: settings of the run.
        targets: what this worker's rows should predict, by regression.
        num_known: how many targets of each regression are known, of all workers.
        num_rows: number of rows of each worker in rank order.
        context: this worker.
        meter: counts the time of each phase.
        shares: after a call, this worker's share of the loss, ``loss``, and of each of its parts,
            ``loss/<pair>``.
    """

    settings: PretrainSettings
    targets: Mapping[str, Targets]
    num_known: Mapping[str, Tensor]
    num_rows: Sequence[int]
    context: WorkerContext
    meter: Meter
    shares: dict[str, Tensor] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        settings: PretrainSettings,
        inputs: Sequence[MicroBatch],
        num_rows: Sequence[int],
        context: WorkerContext,
        meter: Meter,
    ) -> Self:
        """Find out what a worker's micro-batches should predict; all workers must call this."""
        targets = {term.name: _targets(term, settings, inputs) for term in settings.regression}
        with meter.phase("gather"):
            num_known = _num_known(targets)
        return cls(settings, targets, num_known, num_rows, context, meter)

    def __call__(self, local: Embeddings, logit_scale: Tensor) -> Tensor:
        """Return this worker's loss, for an engine that averages gradients over workers."""
        everyone = self._everyone(local)
        first_row = sum(self.num_rows[: self.context.rank])
        with self.meter.phase("loss"):
            groups = self.settings.objective(local, everyone, first_row, logit_scale)
            regressions = self._regressions(local)
            loss = self._sum(groups, regressions)
            parts = {f"loss/{name}": share for name, share in {**groups, **regressions}.items()}
            self.shares = {"loss": loss, **parts}
            # DeepSpeed averages gradients over workers, but the workers' shares add up to the loss.
            return loss * self.context.world_size

    def _everyone(self, local: Embeddings) -> Embeddings:
        """Gather what the objective compares; the own rows alone where it compares nothing."""
        if not self.settings.objective.groups(local.values):
            return local
        with self.meter.phase("gather"):
            return gather_embeddings(local, self.num_rows)

    def _regressions(self, local: Embeddings) -> dict[str, Tensor]:
        return {
            term.name: term.share(
                local.predictions[term.name], self.targets[term.name], self.num_known[term.name]
            )
            for term in self.settings.regression
        }

    def _sum(self, groups: Mapping[str, Tensor], regressions: Mapping[str, Tensor]) -> Tensor:
        """Add up the mean of the contrasts and each regression times its weight."""
        contrast = [mean_over_groups(groups)] if groups else []
        weighted = [term.weight * regressions[term.name] for term in self.settings.regression]
        return torch.stack([*contrast, *weighted]).sum()


def _targets(
    term: RegressionSettings, settings: PretrainSettings, inputs: Sequence[MicroBatch]
) -> Targets:
    """Join what the micro-batches of a worker should predict."""
    vector = vector_of(settings.modalities.featurizers()[term.target])
    return Targets.joined([term.targets(vector, tensors, num_rows) for tensors, num_rows in inputs])


def _num_known(targets: Mapping[str, Targets]) -> dict[str, Tensor]:
    if not targets:
        return {}
    own = torch.stack([one.num_known for one in targets.values()])
    return dict(zip(targets, sum_over_workers(own), strict=True))
