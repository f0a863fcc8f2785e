"""The networks of a packed model, and what they give for features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from omnimat.finetune.examples import FeatureInputs
from omnimat.finetune.heads.tokens import Tokens
from omnimat.finetune.model import PropertyModel, autocast
from omnimat.inference.card import Network
from omnimat.inference.features import batches
from omnimat.modalities.layout import Featurizer
from omnimat.models.export import Card
from omnimat.models.header import filled
from omnimat.nn.precision import exact_products

Float = NDArray[np.float64]
Weights = Mapping[str, torch.Tensor]


@dataclass(frozen=True, slots=True)
class Outputs:
    """What the members of a model give for N materials that have the modalities.

    Attributes:
        embeddings: (N, modalities x width) tokens of the first member, zero where a modality is
            missing.
        values: (members, N, outputs) float32.
    """

    embeddings: NDArray[np.float32]
    values: NDArray[np.float32]


class Ensemble:
    """The members of a model on one device.

    Attributes:
        width: of the embeddings that it gives.
    """

    def __init__(
        self,
        network: Network,
        cards: Mapping[str, Card],
        weights: Sequence[Weights],
        device: torch.device,
    ) -> None:
        """Build the members and give them their weights.

        Args:
            network: what the card says about them.
            cards: cards of the encoders.
            weights: tensors of each member, by name.
            device: where they run.

        Raises:
            MisfitError: weights are not of this network.
        """
        self.width = sum(cards[modality].embedding_dim for modality in network.modalities)
        self._of_none = Outputs(
            np.empty((0, self.width), np.float32),
            np.empty((len(weights), 0, network.codec.num_outputs), np.float32),
        )
        self._precision = network.precision
        self._device = device
        self._members = [_member(network, cards, one).to(device) for one in weights]

    @torch.no_grad()
    def outputs(self, table: pa.Table, featurizers: Mapping[str, Featurizer]) -> Outputs:
        """Apply every member to a feature table whose rows all have a modality."""
        if not len(table):
            return self._of_none
        inputs = FeatureInputs(table.combine_chunks(), featurizers, self._device)
        embedded, values = [], []
        for batch in inputs.batches(batches(table, featurizers)):
            with autocast(self._precision, self._device), exact_products():
                tokens: Sequence[Tokens] = [member.encoder(batch) for member in self._members]
                heads = zip(self._members, tokens, strict=True)
                values.append(torch.stack([m.head(one).float() for m, one in heads]).cpu())
            embedded.append(flattened(tokens[0]))
        return Outputs(np.concatenate(embedded), torch.cat(values, dim=1).numpy())


def flattened(tokens: Tokens) -> NDArray[np.float32]:
    """Lay the tokens of n materials side by side: (n, M, d) -> (n, M * d)."""
    shown = tokens.values * tokens.present[..., None]
    flat: NDArray[np.float32] = shown.float().flatten(1).cpu().numpy()
    return flat


def _member(network: Network, cards: Mapping[str, Card], tensors: Weights) -> PropertyModel:
    width = cards[network.modalities[0]].embedding_dim

    def build() -> PropertyModel:
        encoders = {modality: cards[modality].build() for modality in network.modalities}
        head = network.head.build(network.modalities, width, network.codec.num_outputs)
        return PropertyModel(encoders, head)

    return filled(build, tensors).eval()
