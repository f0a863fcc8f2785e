"""The settings of a Hugging Face language model as a text encoder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

from pydantic import model_validator

from omnimat.modalities.encoder import EncoderSettings
from omnimat.modalities.layout import Featurizer
from omnimat.modalities.text.huggingface import (
    model_config,
    require_text_extra,
)
from omnimat.modalities.text.pooling import Pooling
from omnimat.modalities.text.tokens import check_tokens

MODEL_KEY = "modalities.text.encoder.model"

"""Where a job file names the model."""


class HuggingFaceTextSettings(EncoderSettings):
    """Settings of a Hugging Face encoder.

    Attributes:
        model: path of a model's folder, or its name on the hub, that holds the weights to start
            from. None starts from random weights.
        config: content of the model's ``config.json``. Where ``model`` is given, it is read from
            there.
        frozen: whether only the head is trained and the language model stays as it is. Where
            nothing else needs the tokens, the featurizer ``huggingface_embedding`` with
            ``text_mlp`` does the same, but runs the model once instead of at every step.
        pooling: ``cls`` takes the state of the first token; ``mean`` averages over tokens.
    """

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": {},
        "tiny": {
            "config": {
                "model_type": "bert",
                "vocab_size": 4096,
                "hidden_size": 32,
                "num_hidden_layers": 1,
                "num_attention_heads": 2,
                "intermediate_size": 64,
                "hidden_dropout_prob": 0.0,
                "attention_probs_dropout_prob": 0.0,
            }
        },
    }
    network: ClassVar[str] = "omnimat.modalities.text.huggingface_encoder_network:HuggingFaceText"
    type: Literal["huggingface_text"] = "huggingface_text"
    model: str | None = None
    config: dict[str, Any] | None = None
    frozen: bool = False
    pooling: Pooling = "cls"

    @model_validator(mode="after")
    def _something_to_build(self) -> Self:
        require_text_extra()
        if self.model is None and self.config is None:
            raise ValueError("give model, a name on the Hugging Face hub or a folder")
        return self

    @property
    def vocabulary_size(self) -> int | None:
        """Number of token ids that the model knows; None where it is not known yet."""
        return None if self.config is None else self.config.get("vocab_size")

    @property
    def outside(self) -> str | None:
        """The model whose weights it starts from."""
        return self.model

    @property
    def max_tokens(self) -> int | None:
        """Largest number of tokens of a text; None where it is not known yet or has no limit."""
        return None if self.config is None else self.config.get("max_position_embeddings")

    def located(self) -> Self:
        """Return the same settings with the configuration of the model filled in."""
        if self.model is None:
            return self
        return self.model_copy(update={"config": model_config(self.model, MODEL_KEY)})

    def exported(self) -> Self:
        """Return settings that build the same architecture without the model's files."""
        return self.located().model_copy(update={"model": None})

    def fitted_to(self, featurizer: Featurizer) -> Self:
        """Insist on tokens that the network knows, and not too many of them.

        Raises:
            ValueError: it cannot read what the featurizer gives.
        """
        check_tokens(featurizer, self.type, self.vocabulary_size, self.max_tokens)
        return self
