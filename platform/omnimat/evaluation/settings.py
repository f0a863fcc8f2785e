"""What an evaluation is; importing this loads no Ray."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, create_model, model_validator

from omnimat.base.registry import Registry
from omnimat.evaluation.duplicates import DuplicateRule
from omnimat.evaluation.section import Section
from omnimat.materials.split import Split
from omnimat.stream.featurizers import FeaturizerSettings
from omnimat.verification.outcome import UnreachableError

# They run in this order; each is a key of the job file.
SECTIONS: Registry[type[Section]] = Registry(
    "omnimat.evaluations",
    {
        "retrieval": "omnimat.evaluation.retrieval:RetrievalSettings",
        "discovery": "omnimat.evaluation.discovery:DiscoverySettings",
        "zero_shot": "omnimat.evaluation.zero_shot:ZeroShotSettings",
        "clusters": "omnimat.evaluation.clusters:ClustersSettings",
        "maps": "omnimat.evaluation.maps:MapsSettings",
    },
)


class DownstreamSettings(FeaturizerSettings):
    """What every job on top of a pretraining run says.

    Attributes:
        dataset: the name of an ingested data set.
        run: the name of the pretraining run whose exported encoders are used.
    """

    dataset: str
    run: str


class AnyEvaluation(DownstreamSettings):
    """What the encoders of a pretraining run know about a split: everything but the sections.

    Attributes:
        split: the materials that are queries and candidates.
        batch_size: how many materials are embedded at a time.
        num_threads: how many threads torch uses, in this process and in tasks that embed. ``auto``
            leaves it to torch, which takes the cores that a process may use, or
            ``OMP_NUM_THREADS``; the driver of a submitted job takes all cores of its machine even
            though Ray sets that to one.
        gpus_per_encoder: how many logical GPUs the task has that embeds with an encoder; with 0,
            this process embeds. ``auto`` is one where the cluster has any.
        duplicates: which materials count as the same (see ``evaluation.duplicates``).
    """

    of_the_machine: ClassVar[frozenset[str]] = DownstreamSettings.of_the_machine | {
        "num_threads",
        "gpus_per_encoder",
    }

    split: Split = "test"
    batch_size: int = Field(default=256, ge=1)
    num_threads: Annotated[int, Field(ge=1)] | Literal["auto"] = "auto"
    gpus_per_encoder: Annotated[float, Field(ge=0)] | Literal["auto"] = "auto"
    duplicates: DuplicateRule = "symmetry"

    @property
    def encoder_gpus(self) -> float:
        """GPUs of a task that embeds; 0 while that is left open."""
        return 0.0 if self.gpus_per_encoder == "auto" else self.gpus_per_encoder

    @property
    def sections(self) -> dict[str, Section]:
        """The sections that run, by their keys."""
        values = {name: getattr(self, name) for name in SECTIONS.names}
        return {name: section for name, section in values.items() if section is not None}

    @model_validator(mode="after")
    def _something_to_do(self) -> Self:
        if not self.sections:
            raise ValueError("every section is null: leave retrieval in, or give another")
        return self


def _keys() -> dict[str, Any]:
    """Give a key for each section, which a job file may set to null."""
    return {
        name: (section | None, section() if section.runs_by_default else None)
        for name, section in SECTIONS.load_all().items()
    }


if TYPE_CHECKING:
    EvaluateSettings = AnyEvaluation
else:
    EvaluateSettings = create_model(
        "EvaluateSettings", __base__=AnyEvaluation, __module__=__name__, **_keys()
    )
"""The settings of an evaluation, with a key for each section that is installed."""


def name_on_rows(key: str) -> str:
    """Give the name that rows have for a section: its key, after the package that adds it."""
    if key in SECTIONS.ours:
        return key
    return f"{SECTIONS.load(key).__module__.partition('.')[0]}.{key}"


def section_of(name: str) -> type[Section]:
    """Find a section by the name that rows have for it.

    Raises:
        UnreachableError: if it is not installed.
    """
    if not name:
        raise UnreachableError("the row names no section, so nothing can compute it again")
    package, _, key = name.rpartition(".")
    if key in SECTIONS.names and name_on_rows(key) == name:
        return SECTIONS.load(key)
    missing = f"install the package {package}" if package else "install the omnimat that wrote it"
    raise UnreachableError(f"section is {name!r}, which is not known here; {missing} to verify it")
