"""Which materials a pretraining run has seen, and how much is known of that."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Self

import pandas as pd
from pydantic import ValidationError
from upath import UPath

from omnimat.base.errors import UserError
from omnimat.base.settings import Settings, fingerprint
from omnimat.base.workspace import RESULT, Workspace
from omnimat.materials.split import Split
from omnimat.models.export import Card
from omnimat.models.inputs import featurizers_of, read_pretraining
from omnimat.shards.manifest import MANIFEST_NAME, Manifest
from omnimat.training.held_out import folders_of
from omnimat.training.plan import RunPlan
from omnimat.training.settings import PretrainSettings


class UnknownPretrainingError(UserError):
    """Nobody knows which materials a run has seen.

    Attributes:
        why: what is missing, and what would mend it.
        properties: the properties that it was shown of them, besides those that its inputs show.
    """

    why: str
    properties: frozenset[str]

    @classmethod
    def of(cls, run: str, why: str, properties: Collection[str] = ()) -> Self:
        """Say of which run and why."""
        error = cls(f"nobody knows which materials run {run!r} has seen: {why}")
        error.why = why
        error.properties = frozenset(properties)
        return error


@dataclass(frozen=True, slots=True)
class Materials:
    """Some of the materials of a data set.

    Attributes:
        dataset: the folder of the data set, whose name is that of the data set.
        dataset_fingerprint: the fingerprint in its manifest.
        records: their rows of the record index.
    """

    dataset: UPath
    dataset_fingerprint: str
    records: pd.DataFrame

    @classmethod
    def of_splits(cls, dataset: UPath, splits: Collection[Split]) -> Self:
        """Give the materials of these splits.

        Raises:
            UserError: there is no such data set.
        """
        manifest = Manifest.load(dataset)
        index = manifest.records(dataset)
        return cls(dataset, manifest.dataset_fingerprint, index[index["split"].isin(splits)])

    @property
    def fingerprint(self) -> str:
        """A hash of the data set and of which of its materials these are."""
        ids = "\n".join(sorted(self.records["material_id"]))
        return fingerprint([self.dataset_fingerprint, hashlib.sha256(ids.encode()).hexdigest()])


@dataclass(frozen=True, slots=True)
class Pretraining:
    """What a run was pretrained on.

    Attributes:
        run: the name of the run.
        materials: the materials that it was trained on.
        properties_shown: the properties of these materials that its inputs show.
    """

    run: str
    materials: Materials
    properties_shown: frozenset[str]

    @classmethod
    def planned(cls, plan: RunPlan) -> Self:
        """Give what a run will see.

        Raises:
            UserError: a data set that the run holds out is missing.
        """
        featurizers = plan.settings.modalities.featurizers().values()
        shown = frozenset(name for one in featurizers for name in one.properties_shown)
        materials = Materials(plan.dataset, plan.manifest.dataset_fingerprint, plan.records)
        return cls(plan.name, materials, shown)


class SeenElsewhere(Settings):
    """What encoders have seen that were trained elsewhere and came in a package.

    Attributes:
        dataset: the name of the data set that they have learned from last.
        dataset_fingerprint: its fingerprint.
        properties: the properties that they were shown.
        formulas: the reduced formulas of all materials that they have seen; None where nobody
            knows these.
        ids: the ids of those of whom no formula is known.
    """

    dataset: str
    dataset_fingerprint: str
    properties: tuple[str, ...]
    formulas: tuple[str, ...] | None
    ids: tuple[str, ...] = ()

    def pretraining(self, run: str) -> Pretraining:
        """Give it as what a run of this name has seen; of no material the structure is known.

        Raises:
            UnknownPretrainingError: nobody knows the materials.
        """
        if self.formulas is None:
            why = "it came in a package, which does not tell; package it anew where it was trained"
            raise UnknownPretrainingError.of(run, why, self.properties)
        ids = [*(f"formula {one}" for one in self.formulas), *self.ids]
        formulas = [*self.formulas, *(None for _ in self.ids)]
        records = pd.DataFrame(
            {"material_id": ids, "reduced_formula": pd.Series(formulas, dtype=object)}
        )
        records = records.assign(has_structure=False, num_atoms=0)
        materials = Materials(UPath(self.dataset), self.dataset_fingerprint, records)
        return Pretraining(run, materials, frozenset(self.properties))


PACKAGE = "package"
"""The key of a run's result that holds ``SeenElsewhere``, if its encoders came in a package."""


def properties_shown(cards: Mapping[str, Card]) -> frozenset[str]:
    """Give the properties that the inputs of these encoders show."""
    return frozenset(name for f in featurizers_of(cards).values() for name in f.properties_shown)


def pretraining_of(workspace: Workspace, run: str, cards: Mapping[str, Card]) -> Pretraining:
    """Find out what a finished run has seen: its training split, less what it held out.

    Args:
        workspace: where the run and its data set lie.
        run: the name of the run.
        cards: the cards of its encoders.

    Raises:
        UnknownPretrainingError: this cannot be found out any more.
    """
    try:
        result = read_pretraining(workspace.run(run))
        if PACKAGE in result:
            return SeenElsewhere.model_validate(result[PACKAGE]["seen"]).pretraining(run)
        settings = PretrainSettings.model_validate(_of_what_is_seen(result["settings"]))
    except UnknownPretrainingError:
        raise
    except UserError as error:
        raise UnknownPretrainingError.of(run, str(error)) from error
    except (KeyError, TypeError, ValidationError) as error:
        raise UnknownPretrainingError.of(
            run, f"its {RESULT} has no settings that this version reads"
        ) from error
    for dataset in (settings.dataset, *(kept.dataset for kept in settings.held_out)):
        if not (workspace.dataset(dataset) / MANIFEST_NAME).exists():
            raise UnknownPretrainingError.of(
                run, f"data set {dataset!r} is not in this storage; ingest it again"
            )
    held_out = folders_of(settings.held_out, workspace)
    plan = RunPlan(run, settings, workspace.dataset(settings.dataset), None, held_out)
    pretraining = Pretraining.planned(plan)
    now = pretraining.materials
    if {card.dataset_fingerprint for card in cards.values()} != {now.dataset_fingerprint}:
        raise UnknownPretrainingError.of(
            run,
            f"data set {settings.dataset!r} in this storage is not the one that its encoders were "
            "trained on; ingest that, or pretrain again",
        )
    if result.get("records_fingerprint", now.fingerprint) != now.fingerprint:
        raise UnknownPretrainingError.of(
            run,
            "a data set that it held out was ingested again with other materials; pretrain again",
        )
    return pretraining


def _of_what_is_seen(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out how a run was trained, so that keys of another version are no hindrance."""
    return {key: value for key, value in settings.items() if key not in ("training", "stream")}
