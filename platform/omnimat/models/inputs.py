"""What a finished pretraining run offers: its encoders and the featurizers of their inputs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from upath import UPath

from omnimat.base.checked_json import read_checked_json
from omnimat.base.errors import UserError
from omnimat.base.workspace import EXPORT, RESULT
from omnimat.modalities.choices import ModalityChoices
from omnimat.modalities.layout import Featurizer
from omnimat.modalities.registry import MODALITIES
from omnimat.models.export import CARD_FILE, WEIGHTS_FILE, Card, read_card

_REMEDY = "restore it from a copy, or make the run again with --fresh"


def read_pretraining(run: UPath) -> dict[str, Any]:
    """Read the result of a finished pretraining run, which holds its settings.

    Raises:
        UserError: there is none, so the run has not finished, or it is damaged.
        RunError: the storage did not answer.
    """
    path = run / RESULT
    try:
        result = read_checked_json(path, _REMEDY)
    except FileNotFoundError:
        raise UserError(
            f"run: {path} is not there; run the pretrain job to its end first"
        ) from None
    if not isinstance(result.get("settings"), dict):
        raise UserError(f"run: {path} holds no settings of a run: {_REMEDY}")
    return result


def export_folder(run: UPath, modality: str) -> UPath:
    """Return the folder of one exported encoder of a run."""
    return run / EXPORT / modality


def read_cards(run: UPath) -> dict[str, Card]:
    """Read the card of every encoder that a run exported, in the order of the registry.

    Raises:
        UserError: the run exported no encoder, or one that this version cannot read.
    """
    cards = cards_in(run / EXPORT)
    if not cards:
        raise UserError(f"run: {run} has no exported encoder; run its pretrain job to the end")
    return cards


def cards_in(export: UPath) -> dict[str, Card]:
    """Read the card of every encoder in a folder of exports, in the order of the registry.

    Raises:
        UserError: this version cannot read one.
    """
    folders = {name: export / name for name in MODALITIES.names}
    return {
        name: read_card(folder)
        for name, folder in folders.items()
        if any((folder / file).exists() for file in (CARD_FILE, WEIGHTS_FILE))
    }


def featurizers_of(cards: Mapping[str, Card]) -> dict[str, Featurizer]:
    """Build the featurizers on whose arrays these encoders were trained."""
    choices = {
        name: {"featurizer": card.featurizer, "encoder": card.encoder}
        for name, card in cards.items()
    }
    return ModalityChoices.model_validate(choices).featurizers()
