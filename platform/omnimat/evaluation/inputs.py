"""What a finished pretraining run offers: its encoders, and features as they were trained on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from upath import UPath

from omnimat.encoders.export import CARD_FILE, Card
from omnimat.features.layout import ID_COLUMN, PROPERTIES_COLUMN, Featurizer
from omnimat.materials.errors import UserError
from omnimat.materials.record import MODALITIES, Modality
from omnimat.materials.workspace import EXPORT, Workspace
from omnimat.modalities import ModalityChoices
from omnimat.shards.manifest import Manifest
from omnimat.stream.store import COMPLETE, FeatureStore, store_fingerprint


def export_folder(run: UPath, modality: Modality) -> UPath:
    """Folder of one exported encoder of a run."""
    return run / EXPORT / modality


def read_cards(run: UPath) -> dict[Modality, Card]:
    """Read the card of every encoder a run exported, in the order of the vocabulary.

    Raises:
        UserError: if the run exported none.
    """
    paths = {name: export_folder(run, name) / CARD_FILE for name in MODALITIES}
    cards = {
        name: Card.model_validate_json(path.read_text())
        for name, path in paths.items()
        if path.exists()
    }
    if not cards:
        raise UserError(f"run: {run} has no exported encoder; run its pretrain job to the end")
    return cards


def featurizers_of(cards: Mapping[Modality, Card]) -> dict[Modality, Featurizer]:
    """Build the featurizers whose arrays these encoders were trained on."""
    choices = {
        name: {"featurizer": card.featurizer, "encoder": card.encoder}
        for name, card in cards.items()
    }
    return ModalityChoices.model_validate(choices).featurizers()


@dataclass(frozen=True, slots=True)
class StoreLocation:
    """Where the features of a data set lie, or will; small enough to send to any worker.

    Attributes:
        dataset: folder of shards and manifest.
        folder: of the feature store.
        featurizers: what it is made with.
    """

    dataset: UPath
    folder: UPath
    featurizers: Mapping[Modality, Featurizer]

    @classmethod
    def of(
        cls, workspace: Workspace, dataset: str, featurizers: Mapping[Modality, Featurizer]
    ) -> Self:
        """Name the store of a data set under these featurizers.

        Raises:
            UserError: if the data set is not there.
        """
        directory = workspace.dataset(dataset)
        fingerprint = store_fingerprint(Manifest.load(directory), featurizers)
        return cls(directory, workspace.features(dataset, fingerprint), featurizers)

    @property
    def manifest(self) -> Manifest:
        """Of the data set."""
        return Manifest.load(self.dataset)

    @property
    def is_complete(self) -> bool:
        """Whether it can be opened."""
        return (self.folder / COMPLETE).exists()

    def open(self) -> FeatureStore:
        """Open it; see ``FeatureStore.open``."""
        return FeatureStore.open(self.dataset, self.folder, self.featurizers)


def only_modalities(
    store: FeatureStore, featurizers: Mapping[Modality, Featurizer]
) -> FeatureStore:
    """Give the same store with the columns of these modalities, so that no other is copied."""
    fields = [f"{name}.{field.name}" for name, f in featurizers.items() for field in f.fields]
    return FeatureStore(
        store.records, store.features.select([ID_COLUMN, PROPERTIES_COLUMN, *fields])
    )
