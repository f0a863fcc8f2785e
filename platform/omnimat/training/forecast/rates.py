"""What the parts of a pretraining run take, as measured on some machine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from pydantic import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, ValidationError
from scipy.optimize import nnls
from upath import UPath

from omnimat.base.errors import UserError
from omnimat.base.files import read_file, write_atomically
from omnimat.base.settings import Settings, fingerprint, identity
from omnimat.base.workspace import Workspace
from omnimat.training.plan import RunPlan


class StepCost(Settings):
    """Seconds of a step on one worker: fixed + per_sample n + comparison n N^num_others.

    n is the worker's share of the global batch N. The last term is the objective's, which compares
    each of its materials with everyone's, taken one by one or two by two, or (Barlow Twins) none.
    """

    fixed_s: NonNegativeFloat
    per_sample_s: NonNegativeFloat
    comparison_s: NonNegativeFloat
    num_others: Literal[0, 1, 2] = 1

    @classmethod
    def fitted(
        cls, seconds: Mapping[int, float], *, comparison_s: float, num_others: Literal[0, 1, 2]
    ) -> StepCost:
        """Fit the first two terms to the seconds of steps on one worker, by batch size.

        Steps of small batches say nothing of the last term: it is given, and taken off. No term is
        negative. Where there is but one size, all the rest counts as per sample: the step of a
        larger batch is then taken for too long rather than too short.
        """
        sizes = np.array(list(seconds), dtype=np.float64)
        steps_s = np.array(list(seconds.values()))
        rest_s = np.maximum(steps_s - comparison_s * sizes ** (1 + num_others), 0.0)
        terms = np.stack([np.full_like(sizes, len(sizes) > 1), sizes], axis=1)
        # Divided by the steps' seconds, so that relative errors count alike.
        fixed_s, per_sample_s = nnls(terms / steps_s[:, None], rest_s / steps_s)[0]
        return cls(
            fixed_s=fixed_s,
            per_sample_s=per_sample_s,
            comparison_s=comparison_s,
            num_others=num_others,
        )

    def seconds(self, share: float, global_batch_size: int) -> float:
        """Give the seconds of a step on a worker that has this share of the batch."""
        compared_s = self.comparison_s * float(global_batch_size) ** self.num_others
        return self.fixed_s + (self.per_sample_s + compared_s) * share


class Rates(Settings):
    """What was measured, where; seconds are of one core, or of one GPU for steps on one.

    Attributes:
        device: that trained.
        hardware: of the machine.
        measured_at: ISO 8601, UTC.
        load_average: processes that wanted a core there in the minute before.
        read_s: a material, from the storage of that machine: of the shards, or of a feature store.
        featurize_s: a material, decoding and all its views included; 0 of a store.
        collate_s: a material, in the trainer's process.
        step: on one worker.
        waiting_s: a step that two workers of that machine take longer, for all the times that they
            wait for each other (global batch normalisation does so twice a layer); None where
            there was no room for two.
        largest_share: materials of the largest step that was measured.
        gradient_bytes: that workers exchange in a step.
        embedding_bytes: of a material, that workers exchange in a step.
    """

    device: Literal["cpu", "cuda"]
    hardware: Mapping[str, Any]
    measured_at: str
    load_average: NonNegativeFloat
    read_s: PositiveFloat
    featurize_s: NonNegativeFloat
    collate_s: PositiveFloat
    step: StepCost
    waiting_s: NonNegativeFloat | None
    largest_share: PositiveInt
    gradient_bytes: NonNegativeInt
    embedding_bytes: NonNegativeInt

    @property
    def measured_on(self) -> str:
        """Name the device that trained."""
        gpus = ", ".join(dict.fromkeys(self.hardware["gpus"])) or "a GPU"
        return gpus if self.device == "cuda" else str(self.hardware["cpu"])

    @classmethod
    def load(cls, path: UPath) -> Rates:
        """Read what ``save`` wrote.

        Raises:
            FileNotFoundError: there is no such file.
            UserError: it holds something else, or was written by another version.
        """
        try:
            return cls.model_validate_json(read_file(path))
        except ValidationError as error:
            raise UserError(
                f"{path} holds no rates of this version of omnimat ({error.errors()[0]['msg']}): "
                "plan with --measure-again"
            ) from None

    def save(self, path: UPath) -> None:
        """Write them as JSON."""
        write_atomically(path, f"{self.model_dump_json(indent=1)}\n".encode())


def reads_store(plan: RunPlan) -> bool:
    """Say whether a run reads a feature store that is there; else the shards are what is read."""
    return plan.store is not None and plan.store.is_complete


def rates_file(plan: RunPlan, workspace: Workspace) -> UPath:
    """Name the file of what was measured for runs that do the same work on each material."""
    settings = plan.settings
    training = settings.training
    work = {
        "modalities": identity(settings.modalities),
        "objective": identity(settings.objective),
        "embedding_dim": settings.embedding_dim,
        "dataset": plan.manifest.dataset_fingerprint,
        "reads_store": reads_store(plan),
        "training": {
            **training.model_dump(include={"precision", "threads_per_worker", "num_micro_batches"}),
            "use_gpu": training.on_gpu,
        },
    }
    return workspace.root / "rates" / f"{fingerprint(work)}.json"


def known_rates(plan: RunPlan, workspace: Workspace) -> Rates | None:
    """Give what was measured for such a run on its kind of device, here or elsewhere.

    Raises:
        UserError: the file holds something else, or rates of another version.
    """
    try:
        return Rates.load(rates_file(plan, workspace))
    except FileNotFoundError:
        return None
