"""Any Hugging Face language model as a text encoder, frozen or trained, with a linear head.

MultiMat (Moro et al., 2025) uses the CLS state of a frozen MatBERT, CLaC (Park et al., 2025) that
of a trained MatSciBERT.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import torch
from torch import Tensor, nn

from omnimat.base.errors import UserError
from omnimat.modalities.text.huggingface import (
    model_folder,
    require_text_extra,
    weights_sha256,
)
from omnimat.modalities.text.huggingface_encoder import MODEL_KEY, HuggingFaceTextSettings
from omnimat.modalities.text.pooling import Pooling, padded, pooled

_NAME_CODE = frozenset({"attn_implementation", "auto_map", "quantization_config"})


class HuggingFaceText(nn.Module):
    """Maps token ids to embeddings."""

    def __init__(self, settings: HuggingFaceTextSettings, embedding_dim: int) -> None:
        super().__init__()
        self.frozen, self.pooling = settings.frozen, settings.pooling
        # Typed as Any, because it has attributes of transformers that nn.Module lacks.
        self.language_model: Any = (
            _random_model(settings.config or {})
            if settings.model is None
            else pretrained_model(settings.model, MODEL_KEY)
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
            arrays: ``token_ids`` (n, longest), a text a row, and ``num_tokens`` (n,).

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
