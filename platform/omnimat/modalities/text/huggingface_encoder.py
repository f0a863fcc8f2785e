"""Any Hugging Face language model as a text encoder, frozen or trained, with a linear head.

MultiMat (Moro et al., 2025) uses the CLS state of a frozen MatBERT, CLaC (Park et al., 2025) that
of a trained MatSciBERT.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

import torch
from pydantic import model_validator
from torch import Tensor, nn

from omnimat.base.errors import UserError
from omnimat.modalities.encoder import EncoderSettings
from omnimat.modalities.layout import Featurizer
from omnimat.modalities.text.huggingface import (
    model_config,
    model_folder,
    require_text_extra,
    weights_sha256,
)
from omnimat.modalities.text.pooling import Pooling, padded, pooled
from omnimat.modalities.text.tokens import check_tokens

_KEY = "modalities.text.encoder.model"
_NAME_CODE = frozenset({"attn_implementation", "auto_map", "quantization_config"})


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
        return self.model_copy(update={"config": model_config(self.model, _KEY)})

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

    def build(self, embedding_dim: int) -> nn.Module:
        """Build the network, starting from the weights of ``model`` where that is given.

        Raises:
            UserError: the model cannot be found, or it has no safetensors that fit.
        """
        return HuggingFaceText(self, embedding_dim)


class HuggingFaceText(nn.Module):
    """Maps token ids to embeddings."""

    def __init__(self, settings: HuggingFaceTextSettings, embedding_dim: int) -> None:
        super().__init__()
        self.frozen, self.pooling = settings.frozen, settings.pooling
        # Typed as Any, because it has attributes of transformers that nn.Module lacks.
        self.language_model: Any = (
            _random_model(settings.config or {})
            if settings.model is None
            else pretrained_model(settings.model, _KEY)
        )
        self.language_model.requires_grad_(not settings.frozen)
        self.head = nn.Linear(self.language_model.config.hidden_size, embedding_dim)
        self.train()

    def train(self, mode: bool = True) -> Self:
        """Set the mode; a frozen language model stays in evaluation mode."""
        super().train(mode)
        self.language_model.train(mode and not self.frozen)
        return self

    def forward(self, arrays: Mapping[str, Tensor]) -> Tensor:
        """Embed n descriptions.

        Args:
            arrays: ``token_ids`` (total,) of all texts one after another, and ``num_tokens`` (n,).

        Returns:
            The embeddings, shape (n, embedding_dim).
        """
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            states = language_states(
                self.language_model, arrays["token_ids"], arrays["num_tokens"], self.pooling
            )
        embeddings: Tensor = self.head(states.to(self.head.weight.dtype))
        return embeddings


def language_states(model: Any, token_ids: Tensor, num_tokens: Tensor, pooling: Pooling) -> Tensor:
    """Run a language model on n texts and pool its last layer, shape (n, hidden_size)."""
    ids, is_token = padded(token_ids, num_tokens, model.config.pad_token_id or 0)
    states = model(input_ids=ids, attention_mask=is_token.long()).last_hidden_state
    return pooled(states, is_token, pooling, len(num_tokens))


def pretrained_model(model: str, key: str) -> Any:
    """Load a language model in float32, only from safetensors and without running its own code.

    Raises:
        UserError: the model cannot be found or loaded, or some of its weights are missing.
    """
    require_text_extra()
    weights_sha256(model, key)  # refuses pickled weights with a clear message
    from transformers import AutoModel

    folder = model_folder(model, key)
    try:
        loaded, report = AutoModel.from_pretrained(
            folder,
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            dtype=torch.float32,
            output_loading_info=True,
        )
    except (OSError, ValueError) as error:
        raise UserError(f"{key}: {folder} holds no model that can be loaded: {error}") from error
    if missing := sorted(k for k in report["missing_keys"] if not k.startswith("pooler.")):
        raise UserError(
            f"{key}: the weights of {folder} lack {missing[0]} and {len(missing)} in all"
        )
    return _without_pooler(loaded)


def _random_model(config: Mapping[str, Any]) -> Any:
    from transformers import AutoConfig, AutoModel  # part of the extra ``text``

    architecture = AutoConfig.for_model(**_architecture(config))
    return _without_pooler(
        AutoModel.from_config(architecture, trust_remote_code=False, dtype=torch.float32)
    )


def _architecture(config: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out what names code or a model on the hub, from which transformers would load."""
    kept = {k: v for k, v in config.items() if not k.startswith("_") and k not in _NAME_CODE}
    return {k: _architecture(v) if isinstance(v, Mapping) else v for k, v in kept.items()}


def _without_pooler(model: Any) -> Any:
    """Remove BERT's pooling layer: its output is not used, so it would get no gradient."""
    if getattr(model, "pooler", None) is not None:
        model.pooler = None
    return model
