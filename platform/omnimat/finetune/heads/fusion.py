"""Fusion: the embeddings of a material's modalities, or of those it has, into one vector."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, Self

import torch
import torch.nn.functional as F
from pydantic import Field, PositiveInt, model_validator
from torch import Tensor, nn

from omnimat.base.settings import PresetSettings
from omnimat.materials.record import Modality


class Tokens(NamedTuple):
    """One embedding a modality, for n materials and M modalities.

    Attributes:
        values: (n, M, d); anything finite where missing.
        present: (n, M) bool.
    """

    values: Tensor
    present: Tensor

    @classmethod
    def stack(
        cls,
        modalities: Sequence[Modality],
        values: Mapping[Modality, Tensor],
        present: Mapping[Modality, Tensor],
    ) -> Self:
        """Line up embeddings in the order of a fusion's modalities.

        Args:
            modalities: of the fusion.
            values: (n, d) by modality, at least one; a modality left out is missing everywhere.
            present: (n,) bool, by the same modalities.

        Raises:
            ValueError: if there is no embedding, or one of a modality that is not fused.
        """
        if not values or set(values) - set(modalities):
            raise ValueError(f"cannot fuse {sorted(values)} where {sorted(modalities)} are fused")
        one = next(iter(values))
        nothing, nowhere = torch.zeros_like(values[one]), torch.zeros_like(present[one])
        return cls(
            torch.stack([values.get(modality, nothing) for modality in modalities], dim=1),
            torch.stack([present.get(modality, nowhere) for modality in modalities], dim=1),
        )


class _FusionSettings(PresetSettings):
    """What every fusion can be told; UniMat gives no width, these are ours.

    Attributes:
        hidden_width: of what lies between the embeddings and the output.
        modality_dropout: chance that training hides a modality that is there, never all of a
            material's. Without it, and with complete training records, a fusion still takes any
            subset, but has never learned what a missing modality means.
    """

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": {},
        "tiny": {"hidden_width": 32},
    }
    hidden_width: PositiveInt = 256
    modality_dropout: float = Field(default=0.0, ge=0, lt=1)


class ConcatFusionSettings(_FusionSettings):
    """Settings of concatenation and three linear layers."""

    type: Literal["concat"] = "concat"

    def build(self, modalities: Sequence[Modality], embedding_dim: int, out_dim: int) -> Fusion:
        """Build the network."""
        return ConcatFusion(self, modalities, embedding_dim, out_dim)


class GatedFusionSettings(_FusionSettings):
    """Settings of the gated unit."""

    type: Literal["gated"] = "gated"

    def build(self, modalities: Sequence[Modality], embedding_dim: int, out_dim: int) -> Fusion:
        """Build the network."""
        return GatedFusion(self, modalities, embedding_dim, out_dim)


class AttentionFusionSettings(_FusionSettings):
    """Settings of self-attention over modalities."""

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": {},
        "tiny": {"hidden_width": 32, "num_heads": 2, "num_blocks": 1},
    }
    type: Literal["attention"] = "attention"
    hidden_width: PositiveInt = 128
    num_heads: PositiveInt = 4
    num_blocks: PositiveInt = 2

    @model_validator(mode="after")
    def _heads_share_the_width(self) -> Self:
        if self.hidden_width % self.num_heads:
            raise ValueError("hidden_width must be a multiple of num_heads")
        return self

    def build(self, modalities: Sequence[Modality], embedding_dim: int, out_dim: int) -> Fusion:
        """Build the network."""
        return AttentionFusion(self, modalities, embedding_dim, out_dim)


FusionSettings = Annotated[
    ConcatFusionSettings | GatedFusionSettings | AttentionFusionSettings,
    Field(discriminator="type"),
]


class Fusion(nn.Module, ABC):
    """What the fusions share: hiding modalities in training, and the dtype.

    Attributes:
        modalities: the M that are fused, in the order of the tokens.
    """

    def __init__(self, settings: _FusionSettings, modalities: Sequence[Modality]) -> None:
        super().__init__()
        self.modalities = tuple(modalities)
        self.modality_dropout = settings.modality_dropout

    def forward(self, tokens: Tokens) -> Tensor:
        """Fuse what is present.

        Args:
            tokens: of n materials, n may be 0; a material may lack any modalities, even all.

        Returns:
            (n, out_dim).
        """
        values = tokens.values.to(next(self.parameters()).dtype)
        return self.fuse(values, self._seen(tokens.present))

    @abstractmethod
    def fuse(self, values: Tensor, present: Tensor) -> Tensor:
        """Map (n, M, d) values and the (n, M) mask to (n, out_dim)."""

    def _seen(self, present: Tensor) -> Tensor:
        if not (self.training and self.modality_dropout):
            return present
        chance = torch.rand(present.shape, device=present.device)
        kept = present & (chance >= self.modality_dropout)
        return torch.where(kept.any(dim=1, keepdim=True), kept, present)


class ConcatFusion(Fusion):
    """Concatenation and three linear layers (UniMat, Ock et al., 2024).

    A missing modality is a learned token, at first zero.
    """

    def __init__(
        self,
        settings: ConcatFusionSettings,
        modalities: Sequence[Modality],
        embedding_dim: int,
        out_dim: int,
    ) -> None:
        super().__init__(settings, modalities)
        width = settings.hidden_width
        self.absent = nn.Parameter(torch.zeros(len(modalities), embedding_dim))
        self.layers = nn.Sequential(
            nn.Linear(len(modalities) * embedding_dim, width),
            nn.ReLU(),
            nn.Linear(width, width),
            nn.ReLU(),
            nn.Linear(width, out_dim),
        )

    def fuse(self, values: Tensor, present: Tensor) -> Tensor:
        """Map (n, M, d) values and the (n, M) mask to (n, out_dim)."""
        filled = torch.where(present[..., None], values, self.absent)
        fused: Tensor = self.layers(filled.flatten(1))
        return fused


class GatedFusion(Fusion):
    """The gated multimodal unit (Arevalo et al., 2017), its gates a softmax over what is present.

    Every feature of the result is a mean of what the present modalities propose for it, weighted
    by gates that see all of them; so its scale does not depend on how many there are.
    """

    def __init__(
        self,
        settings: GatedFusionSettings,
        modalities: Sequence[Modality],
        embedding_dim: int,
        out_dim: int,
    ) -> None:
        super().__init__(settings, modalities)
        width = settings.hidden_width
        self.absent = nn.Parameter(torch.zeros(len(modalities), embedding_dim))
        self.proposals = nn.ModuleList(nn.Linear(embedding_dim, width) for _ in modalities)
        self.gates = nn.Linear(len(modalities) * embedding_dim, len(modalities) * width)
        self.head = nn.Linear(width, out_dim)

    def fuse(self, values: Tensor, present: Tensor) -> Tensor:
        """Map (n, M, d) values and the (n, M) mask to (n, out_dim)."""
        filled = torch.where(present[..., None], values, self.absent)
        each = zip(self.proposals, filled.unbind(1), strict=True)
        proposed = torch.tanh(torch.stack([linear(value) for linear, value in each], dim=1))
        logits = self.gates(filled.flatten(1)).unflatten(1, (len(self.modalities), -1))
        # The lowest number rather than -inf: a material without any modality must not give NaN.
        lowest = torch.finfo(logits.dtype).min
        weights = logits.masked_fill(~present[..., None], lowest).softmax(dim=1)
        fused: Tensor = self.head((weights * proposed).sum(dim=1))
        return fused


class AttentionFusion(Fusion):
    """Self-attention of a material's modality tokens and a readout token, read from the latter.

    The key axis is that of the modalities; missing ones are masked, so they change nothing.
    """

    def __init__(
        self,
        settings: AttentionFusionSettings,
        modalities: Sequence[Modality],
        embedding_dim: int,
        out_dim: int,
    ) -> None:
        super().__init__(settings, modalities)
        width = settings.hidden_width
        self.project = nn.Linear(embedding_dim, width)
        self.kinds = nn.Parameter(0.02 * torch.randn(len(modalities), width))
        self.readout = nn.Parameter(0.02 * torch.randn(1, width))
        self.blocks = nn.ModuleList(
            _MaskedBlock(width, settings.num_heads) for _ in range(settings.num_blocks)
        )
        self.head = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, out_dim))

    def fuse(self, values: Tensor, present: Tensor) -> Tensor:
        """Map (n, M, d) values and the (n, M) mask to (n, out_dim)."""
        # What is masked still flows through the layers; zeros keep it finite.
        embedded = self.project(torch.where(present[..., None], values, 0)) + self.kinds
        readout = self.readout.to(embedded.dtype).expand(len(values), 1, -1)
        tokens = torch.cat([readout, embedded], dim=1)
        can_be_seen = F.pad(present, (1, 0), value=True)
        for block in self.blocks:
            tokens = block(tokens, can_be_seen)
        fused: Tensor = self.head(tokens[:, 0])
        return fused


class _MaskedBlock(nn.Module):
    """Attention and MLP, each behind a layer norm and around a residual."""

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.attention_norm = nn.LayerNorm(width)
        self.query_key_value = nn.Linear(width, 3 * width)
        self.attended = nn.Linear(width, width)
        self.mlp = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )

    def forward(self, tokens: Tensor, can_be_seen: Tensor) -> Tensor:
        """Map (n, tokens, width) to the same shape, keys masked by the (n, tokens) mask."""
        joint = self.query_key_value(self.attention_norm(tokens))
        query, key, value = joint.unflatten(-1, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4)
        heads = value
        if len(tokens):  # CUDA's fused kernels refuse an empty batch (pytorch issue 133780).
            mask = can_be_seen[:, None, None]
            heads = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        tokens = tokens + self.attended(heads.transpose(1, 2).flatten(2))
        transformed: Tensor = tokens + self.mlp(tokens)
        return transformed
