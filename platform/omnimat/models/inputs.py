"""What a finished pretraining run offers: its encoders and the featurizers of their inputs."""

from __future__ import annotations

from collections.abc import Mapping

from upath import UPath

from omnimat.base.errors import UserError
from omnimat.base.workspace import EXPORT
from omnimat.modalities.choices import ModalityChoices
from omnimat.modalities.layout import ID_COLUMN, PROPERTIES_COLUMN, Featurizer
from omnimat.modalities.registry import MODALITIES
from omnimat.models.export import CARD_FILE, Card, read_card
from omnimat.stream.store import FeatureStore


def export_folder(run: UPath, modality: str) -> UPath:
    """Return the folder of one exported encoder of a run."""
    return run / EXPORT / modality


def read_cards(run: UPath) -> dict[str, Card]:
    """Read the card of every encoder that a run exported, in the order of the registry.

    Raises:
        UserError: the run exported no encoder, or one that this version cannot read.
    """
    folders = {name: export_folder(run, name) for name in MODALITIES.names}
    cards = {
        name: read_card(folder) for name, folder in folders.items() if (folder / CARD_FILE).exists()
    }
    if not cards:
        raise UserError(f"run: {run} has no exported encoder; run its pretrain job to the end")
    return cards


def featurizers_of(cards: Mapping[str, Card]) -> dict[str, Featurizer]:
    """Build the featurizers on whose arrays these encoders were trained."""
    choices = {
        name: {"featurizer": card.featurizer, "encoder": card.encoder}
        for name, card in cards.items()
    }
    return ModalityChoices.model_validate(choices).featurizers()


def only_modalities(store: FeatureStore, featurizers: Mapping[str, Featurizer]) -> FeatureStore:
    """Return the store with only the columns of these modalities, so that no other is copied."""
    fields = [f"{name}.{field.name}" for name, f in featurizers.items() for field in f.fields]
    return FeatureStore(
        store.records, store.features.select([ID_COLUMN, PROPERTIES_COLUMN, *fields])
    )
