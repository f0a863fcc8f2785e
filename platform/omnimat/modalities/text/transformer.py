"""The settings of a small transformer over the tokens of a description."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, PositiveInt, model_validator

from omnimat.modalities.encoder import EncoderSettings
from omnimat.modalities.layout import Featurizer
from omnimat.modalities.text.pooling import Pooling
from omnimat.modalities.text.tokens import check_tokens


class TextTransformerSettings(EncoderSettings):
    """Settings of the text transformer.

    No paper describes a model of this size. The preset ``paper`` suits a data set of 10^5
    descriptions (4.4 million parameters with 128 outputs).

    Attributes:
        vocabulary_size: number of token ids, at least that of the tokenizer.
        max_tokens: largest number of tokens of a text, at least that of the featurizer.
        pooling: ``cls`` takes the state of the first token; ``mean`` averages over tokens.
        token_width: width of each token.
        num_blocks: number of transformer blocks.
        num_heads: number of attention heads, which share the width.
        mlp_width: hidden width of the MLP of each block.
        dropout: share of the activations that training leaves out.
    """

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": {},
        "tiny": {
            "token_width": 64,
            "num_blocks": 2,
            "num_heads": 2,
            "mlp_width": 128,
            "dropout": 0.0,
        },
    }
    network: ClassVar[str] = "omnimat.modalities.text.transformer_network:TextTransformer"
    type: Literal["text_transformer"] = "text_transformer"
    vocabulary_size: PositiveInt = 4096
    max_tokens: PositiveInt = 512
    token_width: PositiveInt = 256
    num_blocks: PositiveInt = 4
    num_heads: PositiveInt = 8
    mlp_width: PositiveInt = 1024
    dropout: float = Field(default=0.1, ge=0, lt=1)
    pooling: Pooling = "cls"

    @model_validator(mode="after")
    def _heads_share_the_width(self) -> Self:
        if self.token_width % self.num_heads:
            raise ValueError("token_width must be a multiple of num_heads")
        return self

    def fitted_to(self, featurizer: Featurizer) -> Self:
        """Insist on tokens that the network knows, and not too many of them.

        Raises:
            ValueError: it cannot read what the featurizer gives.
        """
        check_tokens(featurizer, self.type, self.vocabulary_size, self.max_tokens)
        return self
