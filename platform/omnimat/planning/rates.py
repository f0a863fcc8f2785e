"""What the parts of a pretraining run take, as measured on some machine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from pydantic import NonNegativeFloat, NonNegativeInt, PositiveFloat, ValidationError
from scipy.optimize import nnls
from upath import UPath

from omnimat.materials.errors import UserError
from omnimat.materials.settings import Settings, fingerprint
from omnimat.materials.workspace import Workspace
from omnimat.shards.files import read_file, write_atomically
from omnimat.training.settings import PretrainSettings


class StepCost(Settings):
    """Seconds of a step on one worker: fixed + per_sample n + per_pair n N.

    n is the worker's share of the global batch N. The last term is the similarity of its rows with
    everyone's.
    """

    fixed_s: NonNegativeFloat
    per_sample_s: NonNegativeFloat
    per_pair_s: NonNegativeFloat

    @classmethod
    def fitted(cls, seconds: Mapping[int, float]) -> StepCost:
        """Fit to the seconds of steps on one worker, by batch size; no term is negative."""
        sizes = np.array(list(seconds), dtype=np.float64)
        weights = 1 / np.array(list(seconds.values()))  # so that relative errors count alike
        terms = np.stack([np.ones_like(sizes), sizes, sizes**2], axis=1) * weights[:, None]
        fixed_s, per_sample_s, per_pair_s = nnls(terms, np.ones_like(sizes))[0]
        return cls(fixed_s=fixed_s, per_sample_s=per_sample_s, per_pair_s=per_pair_s)

    def seconds(self, share: float, global_batch_size: int) -> float:
        """Give the seconds of a step on a worker that has this share of the batch."""
        per_sample_s = self.per_sample_s + self.per_pair_s * global_batch_size
        return self.fixed_s + per_sample_s * share


class Rates(Settings):
    """What was measured, where; seconds are of one core, or of one GPU for steps on one.

    Attributes:
        device: that trained.
        hardware: of the machine.
        measured_at: ISO 8601, UTC.
        read_s: a material, from the storage of that machine.
        featurize_s: a material, decoding and all its views included.
        collate_s: a material, in the trainer's process.
        step: on one worker.
        gradient_bytes: that workers exchange in a step.
        embedding_bytes: of a material, that workers exchange in a step.
    """

    device: Literal["cpu", "cuda"]
    hardware: Mapping[str, Any]
    measured_at: str
    read_s: PositiveFloat
    featurize_s: NonNegativeFloat
    collate_s: PositiveFloat
    step: StepCost
    gradient_bytes: NonNegativeInt
    embedding_bytes: NonNegativeInt

    @classmethod
    def load(cls, path: UPath) -> Rates:
        """Read what ``save`` wrote.

        Raises:
            FileNotFoundError: there is no such file.
            UserError: it holds something else.
        """
        try:
            return cls.model_validate_json(read_file(path))
        except ValidationError as error:
            raise UserError(
                f"{path} holds no rates ({error.errors()[0]['msg']}): delete it and plan again"
            ) from None

    def save(self, path: UPath) -> None:
        """Write them as JSON."""
        write_atomically(path, f"{self.model_dump_json(indent=1)}\n".encode())


def rates_file(settings: PretrainSettings, workspace: Workspace) -> UPath:
    """Name the file of what was measured for runs that do the same work on each material."""
    training = settings.training
    work = {
        "modalities": settings.modalities.model_dump(mode="json"),
        "objective": settings.objective.model_dump(mode="json"),
        "embedding_dim": settings.embedding_dim,
        "dataset": settings.dataset,
        "read_from": settings.stream.read_from,
        "training": {
            **training.model_dump(include={"precision", "threads_per_worker", "num_micro_batches"}),
            "use_gpu": training.on_gpu,
        },
    }
    return workspace.root / "rates" / f"{fingerprint(work)}.json"
