"""The networks of a packed model, and what they give for features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from omnimat.finetune.codec import ClassIndex, JointCodec
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


@dataclass(frozen=True, slots=True)
class Mean:
    """The prediction of one quantity for N materials.

    Attributes:
        values: (N,) or (N, k) numbers, or (N,) labels.
        spreads: standard deviation over the members, of the same shape; of a class, one less its
            probability.
    """

    values: NDArray[Any]
    spreads: Float

    @property
    def is_finite(self) -> NDArray[np.bool_]:
        """(N,) whether a prediction is finite: a power of ten may be too large, or weights NaN."""
        inner = tuple(range(1, self.spreads.ndim))
        return np.asarray(np.isfinite(self.spreads).all(axis=inner))


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


def averaged(codec: JointCodec, values: NDArray[np.float32]) -> list[Mean]:
    """Average the members' predictions of each quantity.

    Numbers are averaged in the unit of the target, and classes by their probability.

    Args:
        codec: maps outputs to quantities.
        values: (members, N, outputs).
    """
    with np.errstate(over="ignore", invalid="ignore"):
        decoded = [codec.decode(member) for member in values]
    ends = np.cumsum([one.num_outputs for one in codec.codecs])[:-1]
    found = []
    for place, (one, part) in enumerate(zip(codec.codecs, np.split(values, ends, 2), strict=True)):
        if isinstance(one, ClassIndex):
            chances = torch.from_numpy(part).softmax(-1).mean(0).numpy()
            found.append(Mean(one.decode(chances), 1 - chances.max(axis=1).astype(np.float64)))
        else:
            numbers = np.stack([member[place] for member in decoded])
            with np.errstate(over="ignore", invalid="ignore"):
                found.append(Mean(numbers.mean(axis=0), numbers.std(axis=0)))
    return found


def _member(network: Network, cards: Mapping[str, Card], tensors: Weights) -> PropertyModel:
    width = cards[network.modalities[0]].embedding_dim

    def build() -> PropertyModel:
        encoders = {modality: cards[modality].build() for modality in network.modalities}
        head = network.head.build(network.modalities, width, network.codec.num_outputs)
        return PropertyModel(encoders, head)

    return filled(build, tensors).eval()
