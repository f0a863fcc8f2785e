"""One result: a number with everything it takes to check it or to make it again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal, get_args

from pydantic import AwareDatetime, Field, FiniteFloat, field_validator

from omnimat.base.settings import fingerprint
from omnimat.leaderboard.legible import LegibleSettings

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

# What has to be equal in rows that repeat one result with several seeds.
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

# What may differ when the same result is written twice.
_CIRCUMSTANCES = frozenset({"status", "created_at", "checked_at", "checked_with"})

# What has to be equal in two rows of one id, for one to stand for the other.
_RESULT = (
    "value",
    "num_test",
    "unit",
    "higher_is_better",
    "predictions_sha256",
    "checkpoint_sha256",
    "hyperparameters",
    "samples_seen",
)

Status = Literal["self_reported", "recomputed", "reproduced"]
"""How far a row is proven, from the least to the most."""
STATUSES: tuple[Status, ...] = get_args(Status)

_MAX_INTEGER = 2**63 - 1  # the largest that the databases hold
_MAX_VALUE = 1e300  # sums over seeds stay finite


def row_id_of(values: Mapping[str, Any]) -> str:
    """Give the id of a row as soon as these of its fields are known."""
    return fingerprint({name: values[name] for name in _IDENTITY})


class Row(LegibleSettings):
    """The score of one model, trained with one seed, on the test split of one task.

    Attributes:
        task: what is predicted (``formation energy``) or asked (``retrieval text -> structure``).
        metric: how it is scored (``mae``).
        unit: the unit of ``value``; empty where it has none.
        higher_is_better: whether a higher ``value`` is better.
        model: the name that people know the model by.
        variant: how the model was trained (``from_scratch``, ``frozen``, ``finetuned``).
        seed: the seed of this run.
        value: the score.
        num_test: how many materials were scored.
        section: who computes the row again: a section of an evaluation (``retrieval``), or
            ``finetune``; another package's section has the package before its name
            (``my_package.phonons``). Empty where nobody can.
        dataset: the name of the data set.
        dataset_uri: the folder of the data set; empty where it is not known.
        dataset_fingerprint: the fingerprint in the data set's manifest.
        split_sha256: a hash of the material ids and their splits.
        config_hash: the hash of ``config``, by which rows are averaged over seeds.
        config: the resolved job, without the seed.
        code_commit: the git commit, or ``unknown``.
        code_dirty: whether the checkout had uncommitted changes.
        checkpoint_uri: the selected checkpoint; empty for a model without one.
        checkpoint_sha256: its hash.
        predictions_uri: the file that the value follows from; empty where none was kept.
        predictions_sha256: its hash.
        parent_run: the pretraining run that the model started from; empty from scratch.
        run_name: the name of this run.
        hyperparameters: what was chosen on the validation split.
        details: further figures of the same predictions (chance level, accuracy by class).
        hardware: the machine, as ``base.provenance.hardware`` describes it.
        wall_time_s: how long this run took.
        samples_seen: how many training samples the model has seen, repeats counted.
        created_at: when the row was written, in UTC.
        status: ``recomputed`` once the value has been computed again from its files, and
            ``reproduced`` once its checkpoint has made these files again too.
        checked_at: when that was, in UTC; None before.
        checked_with: the version and commit of the omnimat that did it.
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
    section: str = ""
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
    status: Status = "self_reported"
    checked_at: AwareDatetime | None = None
    checked_with: str = ""

    @field_validator("created_at", "checked_at")
    @classmethod
    def _in_utc(cls, moment: datetime | None) -> datetime | None:
        return None if moment is None else moment.astimezone(UTC)

    @field_validator("config", "hyperparameters", "details", "hardware")
    @classmethod
    def _as_json_has_it(cls, value: dict[str, Any]) -> dict[str, Any]:
        """Refuse what JSON cannot hold, such as NaN, so that rows come back as they went in."""
        try:
            plain: dict[str, Any] = json.loads(json.dumps(value, allow_nan=False))
        except TypeError as error:
            raise ValueError(str(error)) from error
        return plain

    @property
    def row_id(self) -> str:
        """A hash of what makes this the same result; writing it again replaces it."""
        return row_id_of({name: getattr(self, name) for name in _IDENTITY})

    @property
    def group_id(self) -> str:
        """A hash of all that repetitions with other seeds have in common."""
        return fingerprint({name: getattr(self, name) for name in _GROUP})

    @property
    def content(self) -> dict[str, Any]:
        """Everything but when the row was written and what has come of checking it."""
        return self.model_dump(exclude=set(_CIRCUMSTANCES))

    @property
    def result(self) -> dict[str, Any]:
        """What is equal when the same result is made again, elsewhere and at another time."""
        return {name: getattr(self, name) for name in _RESULT}

    @property
    def label(self) -> str:
        """The name that people know the row by."""
        return f"{self.task}, {self.metric}, {self.model}, {self.variant}, seed {self.seed}"
