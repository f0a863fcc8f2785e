"""One result: a number with all it takes to check it or make it again."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import AwareDatetime, Field, FiniteFloat, field_validator

from omnimat.base.settings import Settings, fingerprint

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

# What has to be equal for rows to be repetitions of one result over seeds.
_GROUP = (
    "task",
    "metric",
    "unit",
    "higher_is_better",
    "dataset",
    "dataset_fingerprint",
    "split_sha256",
    "model",
    "variant",
    "config_hash",
)

# What may differ between two writings of the same result.
_CIRCUMSTANCES = frozenset({"status", "created_at", "verified_at", "verified_with"})


# What the databases hold, and what sums over seeds stay finite of.
_MAX_INTEGER = 2**63 - 1
_MAX_VALUE = 1e300


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
        dataset_uri: its folder; empty where it is not known.
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
        details: further figures of the same predictions (chance level, accuracy by class).
        hardware: as ``materials.provenance.hardware`` gives it.
        wall_time_s: of this run.
        samples_seen: training samples, repeats counted.
        created_at: in UTC.
        status: ``verified`` once the value has been computed again from the predictions.
        verified_at: when that was, in UTC; None before.
        verified_with: version and commit of the omnimat that did it.
    """

    task: str = Field(min_length=1)
    metric: str = Field(min_length=1)
    unit: str = ""
    higher_is_better: bool
    model: str = Field(min_length=1)
    variant: str = Field(min_length=1)
    seed: int = Field(ge=-_MAX_INTEGER, le=_MAX_INTEGER)
    value: FiniteFloat = Field(ge=-_MAX_VALUE, le=_MAX_VALUE)
    num_test: int = Field(gt=0, le=_MAX_INTEGER)
    dataset: str
    dataset_uri: str = ""
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
    details: dict[str, Any] = Field(default_factory=dict)
    hardware: dict[str, Any] = Field(default_factory=dict)
    wall_time_s: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    samples_seen: int = Field(default=0, ge=0, le=_MAX_INTEGER)
    created_at: AwareDatetime = Field(default_factory=lambda: datetime.now(UTC))
    status: Literal["self_reported", "verified"] = "self_reported"
    verified_at: AwareDatetime | None = None
    verified_with: str = ""

    @field_validator("created_at", "verified_at")
    @classmethod
    def _in_utc(cls, moment: datetime | None) -> datetime | None:
        return None if moment is None else moment.astimezone(UTC)

    @field_validator("config", "hyperparameters", "details", "hardware")
    @classmethod
    def _as_json_has_it(cls, value: dict[str, Any]) -> dict[str, Any]:
        """Refuse what JSON cannot hold, NaN among it, so that rows come back as they went in."""
        try:
            plain: dict[str, Any] = json.loads(json.dumps(value, allow_nan=False))
        except TypeError as error:
            raise ValueError(str(error)) from error
        return plain

    @property
    def row_id(self) -> str:
        """Hash of what makes this the same result: writing it again replaces it."""
        return fingerprint({name: getattr(self, name) for name in _IDENTITY})

    @property
    def group_id(self) -> str:
        """Hash of all that rows have in common which are repetitions over seeds."""
        return fingerprint({name: getattr(self, name) for name in _GROUP})

    @property
    def content(self) -> dict[str, Any]:
        """All but when it was written and whether it was verified."""
        return self.model_dump(exclude=set(_CIRCUMSTANCES))

    @property
    def label(self) -> str:
        """What people know the row by."""
        return f"{self.task}, {self.metric}, {self.model}, {self.variant}, seed {self.seed}"
