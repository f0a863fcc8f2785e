"""What the weights of a package have learned from, and who trained its encoders last."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import pandas as pd

from omnimat.base.errors import UserError
from omnimat.base.workspace import Workspace
from omnimat.finetune.outcome import TrialResult
from omnimat.finetune.settings import FinetuneSettings
from omnimat.finetune.trial_settings import FROZEN
from omnimat.inference.card import Seen, SeenMaterials, Trained, Withheld
from omnimat.models.export import Card
from omnimat.models.inputs import read_pretraining
from omnimat.shards.manifest import Manifest
from omnimat.training.held_out import HeldOut
from omnimat.training.seen import (
    PACKAGE,
    Materials,
    UnknownPretrainingError,
    pretraining_of,
    properties_shown,
)


def learned(workspace: Workspace, dataset: str, run: str, cards: Mapping[str, Card]) -> Trained:
    """Describe the data of a pretraining run, as its encoders remember it.

    The data set itself may be gone, or another one may have its name by now. Then nobody knows the
    licences any more.
    """
    fingerprint = next(iter(cards.values())).dataset_fingerprint
    try:
        manifest = Manifest.load(workspace.dataset(dataset))
    except UserError:
        manifest = None
    if manifest is None or manifest.dataset_fingerprint != fingerprint:
        return Trained(dataset=dataset, dataset_fingerprint=fingerprint, licences=None, run=run)
    return Trained.of(manifest, dataset, run)


def pretraining(
    workspace: Workspace, run: str, cards: Mapping[str, Card], trial: TrialResult
) -> tuple[Trained, ...]:
    """Describe the data that a trial knows from pretraining; from scratch, it knows none."""
    if trial.settings.variant == "from_scratch":
        return ()
    result = read_pretraining(workspace.run(run))
    if PACKAGE in result:
        return tuple(Trained.model_validate(one) for one in result[PACKAGE]["trained"])
    return (learned(workspace, result["settings"]["dataset"], run, cards),)


def seen(
    workspace: Workspace, run: str, cards: Mapping[str, Card], tuned: Tuned | None = None
) -> tuple[Seen, SeenMaterials | None]:
    """Tell what weights have seen: of their pretraining, and of a sweep on top of it.

    Args:
        workspace: where the run lies.
        run: the pretraining run; empty for weights that come from none.
        cards: the cards of its encoders.
        tuned: what the sweep has shown them.

    Returns:
        What the card says of it, and the materials; None where nobody knows those of the
        pretraining.
    """
    properties = frozenset[str]() if tuned is None else tuned.properties
    records = [] if tuned is None else [tuned.records]
    try:
        if run:
            pretraining = pretraining_of(workspace, run, cards)
            properties |= pretraining.properties_shown
            records.append(pretraining.materials.records)
    except UnknownPretrainingError as error:
        properties |= properties_shown(cards) | error.properties
        return Seen(properties=tuple(sorted(properties)), num_materials=None), None
    materials = _listed(pd.concat(records))
    return Seen(properties=tuple(sorted(properties)), num_materials=len(materials)), materials


class Tuned(NamedTuple):
    """What a sweep has shown a network.

    Attributes:
        records: rows of the record index: what it learned from, and what chose the epoch.
        properties: what it learned to predict.
    """

    records: pd.DataFrame
    properties: frozenset[str]


def held_out_by(workspace: Workspace, run: str) -> tuple[HeldOut, ...]:
    """Give what a pretraining run held out; nothing of encoders that came in a package."""
    result = read_pretraining(workspace.run(run))
    told = () if PACKAGE in result else result["settings"].get("held_out", ())
    return tuple(HeldOut.model_validate(one) for one in told)


def withheld(
    workspace: Workspace, held_out: Iterable[HeldOut], materials: SeenMaterials | None
) -> tuple[Withheld, ...]:
    """Tell of which materials that other data sets keep for judging no formula was seen.

    Nothing is told of a data set that is gone, or that has materials without a formula.

    Args:
        workspace: where the data sets lie.
        held_out: what may have been kept from the weights.
        materials: all that they have seen; None where nobody knows.
    """
    if materials is None:
        return ()
    known = set(materials.formulas)
    found = []
    for one in dict.fromkeys(held_out):
        try:
            kept = Materials.of_splits(workspace.dataset(one.dataset), one.splits)
        except UserError:
            continue  # of a data set that is gone, nothing is known
        formulas = set(kept.records["reduced_formula"])
        if None not in formulas and formulas and formulas.isdisjoint(known):
            found.append(
                Withheld(
                    dataset=one.dataset,
                    dataset_fingerprint=kept.dataset_fingerprint,
                    splits=one.splits,
                    num_formulas=len(formulas),
                )
            )
    return tuple(found)


def _listed(records: pd.DataFrame) -> SeenMaterials:
    formulas = records["reduced_formula"]
    return SeenMaterials(
        formulas=tuple(sorted(formulas.dropna().unique())),
        ids=tuple(sorted(records["material_id"][formulas.isna()].unique())),
    )


def as_trained(
    cards: Mapping[str, Card],
    name: str,
    settings: FinetuneSettings,
    manifest: Manifest,
    trial: TrialResult,
) -> dict[str, Card]:
    """Give the cards of a trial's encoders, which name who trained them last.

    Args:
        cards: cards of the encoders that it started from.
        name: name of the sweep.
        settings: settings of the sweep.
        manifest: the data set that it learned from.
        trial: the trial; frozen encoders stay what they were.
    """
    if trial.settings.variant in FROZEN:
        return dict(cards)
    update = {
        "parent_run": name,
        "config_hash": settings.fingerprint(),
        "dataset_fingerprint": manifest.dataset_fingerprint,
        "samples_seen": trial.samples_seen,
    }
    return {modality: card.model_copy(update=update) for modality, card in cards.items()}
