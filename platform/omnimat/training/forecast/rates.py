"""How long the parts of a pretraining run take, as measured on some machine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from pydantic import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, ValidationError
from upath import UPath

from omnimat.base.checked_json import read_checked_json, write_checked_json
from omnimat.base.errors import UserError
from omnimat.base.settings import Settings, fingerprint, first_mistake, identity
from omnimat.base.workspace import Workspace
from omnimat.training.plan import RunPlan


class StepCost(Settings):
    """Seconds of a step on one worker: fixed + per_sample n + comparison n N^num_others.

    n is the worker's share of the global batch N. The last term is that of the objective, which
    compares each of the worker's materials with all others of the batch, one or two at a time. With
    Barlow Twins it is 0.
    """

    fixed_s: NonNegativeFloat
    per_sample_s: NonNegativeFloat
    comparison_s: NonNegativeFloat
    num_others: Literal[0, 1, 2] = 1

    @classmethod
    def fitted(
        cls, seconds: Mapping[int, float], *, comparison_s: float, num_others: Literal[0, 1, 2]
    ) -> StepCost:
        """Fit the first two terms to the seconds of steps on one worker at each batch size.

        Steps of small batches reveal nothing about the last term, so it is given and subtracted. No
        term is negative. Where there is only one batch size, all that remains counts as per sample,
        which overestimates rather than underestimates the step of a larger batch.
        """
        sizes = np.array(list(seconds), dtype=np.float64)
        steps_s = np.array(list(seconds.values()))
        rest_s = np.maximum(steps_s - comparison_s * sizes ** (1 + num_others), 0.0)
        from scipy.optimize import nnls  # 0.4 s of import, to measure alone

        terms = np.stack([np.full_like(sizes, len(sizes) > 1), sizes], axis=1)
        # Dividing by the seconds of each step gives equal weight to equal relative errors.
        fixed_s, per_sample_s = nnls(terms / steps_s[:, None], rest_s / steps_s)[0]
        return cls(
            fixed_s=fixed_s,
            per_sample_s=per_sample_s,
            comparison_s=comparison_s,
            num_others=num_others,
        )

    def seconds(self, share: float, global_batch_size: int) -> float:
        """Return the seconds of a step on a worker that has this share of the batch."""
        compared_s = self.comparison_s * float(global_batch_size) ** self.num_others
        return self.fixed_s + (self.per_sample_s + compared_s) * share


class Rates(Settings):
    """Measured rates, and where they were measured.

    Seconds are those of one CPU core, or of one GPU for steps that were taken on a GPU.

    Attributes:
        device: kind of device that trained.
        hardware: hardware of the machine.
        measured_at: time of the measurement in ISO 8601, UTC.
        load_average: number of processes that wanted a core in the minute before.
        read_s: seconds to read a material, from shards or a feature store, from the storage of that
            machine.
        featurize_s: seconds to decode a material and featurize all its views; 0 for a feature
            store.
        collate_s: seconds per material to collate a batch, in the trainer's process.
        step: cost of a step on one worker.
        waiting_s: seconds by which a step of two workers on that machine takes longer, because they
            wait for each other (global batch normalisation does so twice per layer); None where
            there was no room for two.
        largest_share: number of materials in the largest step that was measured.
        gradient_bytes: bytes of gradients that workers exchange in a step.
        embedding_bytes: bytes of embeddings per material that workers exchange in a step.
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
        """Name of the GPUs or of the CPU that trained."""
        gpus = ", ".join(dict.fromkeys(self.hardware["gpus"])) or "a GPU"
        return gpus if self.device == "cuda" else str(self.hardware["cpu"])

    @classmethod
    def load(cls, path: UPath) -> Rates:
        """Read a file that ``save`` wrote.

        Raises:
            FileNotFoundError: there is no such file.
            UserError: the file holds something else or was changed, or another version wrote it.
        """
        remedy = "plan with --measure-again to replace it"
        try:
            return cls.model_validate(read_checked_json(path, remedy))
        except ValidationError as error:
            raise UserError(
                f"{path} holds no rates of this version of omnimat ({first_mistake(error)}): "
                f"{remedy}"
            ) from None

    def save(self, path: UPath) -> None:
        """Write the rates to a JSON file with a checksum."""
        write_checked_json(path, self.model_dump(mode="json"))


def reads_store(plan: RunPlan) -> bool:
    """Return whether a run reads a feature store that exists; if not, it reads the shards."""
    return plan.store is not None and plan.store.is_complete


def rates_file(plan: RunPlan, workspace: Workspace) -> UPath:
    """Return the file with the rates of all runs that do the same work on each material."""
    settings = plan.settings
    training = settings.training
    work: dict[str, Any] = {
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
    if settings.regression:
        work["regression"] = identity(settings.regression)
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
