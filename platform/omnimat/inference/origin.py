"""What the weights of a package have learned from, and who trained its encoders last."""

from __future__ import annotations

from collections.abc import Mapping

from omnimat.base.errors import UserError
from omnimat.base.workspace import Workspace
from omnimat.finetune.outcome import TrialResult
from omnimat.finetune.settings import FROZEN, FinetuneSettings
from omnimat.inference.card import Trained
from omnimat.models.export import Card
from omnimat.models.inputs import read_pretraining
from omnimat.shards.manifest import Manifest


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
    settings = read_pretraining(workspace.run(run))["settings"]
    return (learned(workspace, settings["dataset"], run, cards),)


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
