"""The encoders of a pretraining run or of a packed model, whose embeddings can be compared."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Self

from upath import UPath

from omnimat.base.errors import UserError
from omnimat.base.provenance import sha256_of
from omnimat.base.settings import fingerprint, identity
from omnimat.modalities.layout import Featurizer
from omnimat.models.embed import ExportedEncoder
from omnimat.models.export import WEIGHTS_FILE, Card
from omnimat.models.inputs import export_folder, featurizers_of, read_cards
from omnimat.search.card import Origin


@dataclass(frozen=True)
class Encoders:
    """Encoders that share a latent space.

    Attributes:
        name: name of the run or the model.
        cards: card of each, by modality.
        featurizers: featurizer of each, by modality.
        weights_sha256: gives the hash of the file that holds the weights of a modality's encoder.
        load: loads the encoder of a modality.
    """

    name: str
    cards: Mapping[str, Card]
    featurizers: Mapping[str, Featurizer]
    weights_sha256: Callable[[str], str]
    load: Callable[[str], ExportedEncoder]

    @classmethod
    def of_run(cls, name: str, run: UPath) -> Self:
        """Give the encoders that a pretraining run exported.

        Raises:
            UserError: the run exported none, or one that this version cannot read.
        """
        cards = read_cards(run)
        return cls(
            name,
            cards,
            featurizers_of(cards),
            lambda modality: sha256_of(export_folder(run, modality) / WEIGHTS_FILE),
            lambda modality: ExportedEncoder.load(export_folder(run, modality)),
        )

    def fingerprint_of(self, modality: str) -> str:
        """Identify an encoder: the one of a run and the one of its package have the same."""
        settings = identity([self.cards[modality], self.featurizers[modality]])
        return fingerprint([settings, self.weights_sha256(modality)])

    def origin(self, modality: str, source: str) -> Origin:
        """Say of an index that the encoder of a modality makes it."""
        return Origin(
            model=self.name,
            encoder=self.fingerprint_of(modality),
            modality=modality,
            source=source,
        )

    def check_made(self, origin: Origin, place: object) -> None:
        """Check that an index was made by these encoders.

        Raises:
            UserError: it was made by others, whose embeddings mean something else.
        """
        modality = origin.modality
        if modality not in self.cards or self.fingerprint_of(modality) != origin.encoder:
            raise UserError(
                f"{place} was made by another model, {origin.model!r}, and embeddings of two "
                f"models cannot be compared: give that model, or index again with {self.name!r}"
            )
