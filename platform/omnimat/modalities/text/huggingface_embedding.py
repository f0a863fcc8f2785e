"""Embeds descriptions once with a frozen Hugging Face model, on the featurizer actors."""

from __future__ import annotations

import functools
from typing import Any, ClassVar, Literal, Self

import numpy as np
from pydantic import PositiveInt, model_validator

from omnimat.base.errors import UserError
from omnimat.base.workspace import Workspace
from omnimat.materials.record import Record
from omnimat.modalities.layout import Arrays, FeaturizerSettings, Field, TrainingRecords
from omnimat.modalities.text.huggingface import (
    model_config,
    require_text_extra,
    tokenizer_json,
    weights_sha256,
)
from omnimat.modalities.text.tokens import TextTokens

_KEY = "modalities.text.featurizer.model"


class HuggingFaceEmbedding(FeaturizerSettings):
    """One vector per description, pooled from the last layer of a frozen language model.

    With a feature store (``stream.read_from: store``) each text goes through the model only once.

    Attributes:
        model: path of a model's folder, or its name on the hub.
        weights_sha256: hash of the model's safetensors files, which ``located`` fills in, so that
            features of other weights are never mistaken for these.
        pooling: ``cls`` takes the state of the first token, as MultiMat does; ``mean`` averages
            over tokens.
        max_tokens: largest number of tokens; longer descriptions are truncated.
        width: width of the model's states.
    """

    modality: ClassVar[str] = "text"
    index_columns: ClassVar[tuple[str, ...]] = ("has_text",)

    type: Literal["huggingface_embedding"] = "huggingface_embedding"
    model: str
    weights_sha256: str | None = None
    pooling: Literal["cls", "mean"] = "cls"
    max_tokens: PositiveInt = 512
    width: PositiveInt = 768

    @model_validator(mode="after")
    def _extra_is_there(self) -> Self:
        require_text_extra()
        return self

    @property
    def fields(self) -> tuple[Field, ...]:
        """Field of the vector."""
        return (Field("embedding", "float32", (self.width,)),)

    @property
    def outside(self) -> str | None:
        """The model."""
        return self.model

    def located(self, workspace: Workspace, training: TrainingRecords) -> Self:
        """Return the same settings with the hash of the weights filled in.

        Raises:
            UserError: there is no such model, its width differs, or its weights do not have the
                hash that is already given.
        """
        del workspace, training  # models do not lie in the workspace
        width = model_config(self.model, _KEY).get("hidden_size")
        if width != self.width:
            raise UserError(f"{_KEY}: {self.model} gives {width} numbers; write width: {width}")
        return self.model_copy(update={"weights_sha256": _checked_sha256(self)})

    def __call__(self, record: Record) -> Arrays | None:
        """Return the vector, or None where the record has no text, or one without tokens."""
        if "text" not in record.parts:
            return None
        # Featurizers do not import torch, since every actor would pay for it. This one computes its
        # features with torch, so it is imported here, only in the actors that run it.
        import torch

        from omnimat.modalities.text.huggingface_encoder_network import language_states

        tokens, model = _loaded(self.model, self.weights_sha256, self.max_tokens)
        arrays = tokens(record)
        if arrays is None:
            return None
        ids = torch.from_numpy(arrays["token_ids"])
        with torch.inference_mode():
            states = language_states(model, ids, torch.tensor([len(ids)]), self.pooling)
        return {"embedding": states[0].numpy().astype(np.float32)}


def _checked_sha256(settings: HuggingFaceEmbedding) -> str:
    found = weights_sha256(settings.model, _KEY)
    if settings.weights_sha256 not in {None, found}:
        raise UserError(f"{_KEY}: the weights of {settings.model} are not those used before")
    return found


@functools.lru_cache(maxsize=1)
def _loaded(model: str, sha256: str | None, max_tokens: int) -> tuple[TextTokens, Any]:
    """Load tokenizer and model once per process."""
    from omnimat.modalities.text.huggingface_encoder_network import pretrained_model

    if sha256 is not None and weights_sha256(model, _KEY) != sha256:
        raise UserError(f"{_KEY}: the weights of {model} on this machine are not those of the job")
    tokens = TextTokens(tokenizer=tokenizer_json(model, _KEY), max_tokens=max_tokens)
    return tokens, pretrained_model(model, _KEY).eval()
