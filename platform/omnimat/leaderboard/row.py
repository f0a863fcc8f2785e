"""One result: a number with all it takes to check it or make it again."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import AwareDatetime, Field, FiniteFloat, field_validator

from omnimat.materials.settings import Settings, fingerprint

_IDENTITY = (
    "task",
    "metric",
    "model",
    "variant",
    "seed",
    "dataset_fingerprint",
    "split_sha256",
    "config_hash",
)


class Row(Settings):
    """The score of one model, trained with one seed, on one task's test split.

    Attributes:
        task: what is predicted (``formation_energy_per_atom``).
        metric: how it is scored (``mae``).
        unit: of ``value``; empty where it has none.
        higher_is_better: which way ``value`` improves.
        model: label people know the model by.
        variant: how it was trained (``from_scratch``, ``frozen``, ``finetuned``).
        seed: of this run.
        value: the score.
        num_test: materials scored.
        dataset: name.
        dataset_fingerprint: of the data set's manifest.
        split_sha256: of the ids and their splits.
        config_hash: of ``config``; the same for all seeds, or they would not be averaged.
        config: the resolved job, without the seed.
        code_commit: git commit, or ``unknown``.
        code_dirty: whether the checkout had uncommitted changes.
        checkpoint_uri: the selected checkpoint; empty for a model without one.
        checkpoint_sha256: of it.
        predictions_uri: per-material predictions; empty where none were kept.
        predictions_sha256: of them.
        parent_run: pretraining run the model started from; empty from scratch.
        run_name: of this run.
        hyperparameters: what the selection on validation chose.
        hardware: as ``materials.provenance.hardware`` gives it.
        wall_time_s: of this run.
        samples_seen: training samples, repeats counted.
        created_at: in UTC.
        status: ``verified`` once the value has been computed again from the predictions.
    """

    task: str = Field(min_length=1)
    metric: str = Field(min_length=1)
    unit: str = ""
    higher_is_better: bool
    model: str = Field(min_length=1)
    variant: str = Field(min_length=1)
    seed: int
    value: FiniteFloat
    num_test: int = Field(gt=0)
    dataset: str
    dataset_fingerprint: str
    split_sha256: str
    config_hash: str
    config: dict[str, Any]
    code_commit: str
    code_dirty: bool
    checkpoint_uri: str = ""
    checkpoint_sha256: str = ""
    predictions_uri: str = ""
    predictions_sha256: str = ""
    parent_run: str = ""
    run_name: str
    hyperparameters: dict[str, Any] = Field(default_factory=dict)
    hardware: dict[str, Any] = Field(default_factory=dict)
    wall_time_s: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    samples_seen: int = Field(default=0, ge=0)
    created_at: AwareDatetime = Field(default_factory=lambda: datetime.now(UTC))
    status: Literal["self_reported", "verified"] = "self_reported"

    @field_validator("created_at")
    @classmethod
    def _in_utc(cls, moment: datetime) -> datetime:
        return moment.astimezone(UTC)

    @property
    def row_id(self) -> str:
        """Hash of what makes this the same result: writing it again replaces it."""
        return fingerprint({name: getattr(self, name) for name in _IDENTITY})
