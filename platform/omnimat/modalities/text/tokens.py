"""Descriptions as token ids, for language models that are trained."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, ClassVar, Literal, Self

import numpy as np
from pydantic import PositiveInt, model_validator

from omnimat.base.errors import UserError
from omnimat.base.paths import expanded_path
from omnimat.base.workspace import Workspace
from omnimat.materials.record import Record
from omnimat.modalities.layout import (
    Arrays,
    Featurizer,
    FeaturizerSettings,
    Field,
    TrainingRecords,
)
from omnimat.modalities.text.huggingface import require_text_extra, tokenizer_json
from omnimat.modalities.text.tokenizer import read_fitted

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_KEY = "modalities.text.featurizer.tokenizer"
_MASK_TOKENS = ("[MASK]", "<mask>")  # those of BERT and RoBERTa


class TextTokens(FeaturizerSettings):
    """Token ids of a description, without padding.

    Attributes:
        tokenizer: name of a fitted tokenizer (kind: tokenizer), path of a ``tokenizers`` JSON file
            or of a Hugging Face model's folder, or that model's name on the hub. ``located``
            replaces it by the JSON itself.
        max_tokens: largest number of tokens, including the special ones. Longer descriptions are
            truncated, but keep their special tokens.
    """

    modality: ClassVar[str] = "text"
    index_columns: ClassVar[tuple[str, ...]] = ("has_text",)

    type: Literal["text_tokens"] = "text_tokens"
    tokenizer: str
    max_tokens: PositiveInt = 512

    @model_validator(mode="after")
    def _extra_is_there(self) -> Self:
        require_text_extra()
        return self

    @property
    def fields(self) -> tuple[Field, ...]:
        """Field of the ids, which begin with the tokenizer's first special token ([CLS])."""
        return (Field("token_ids", "int32", axis="token", is_padded=True),)

    @property
    def vocabulary_size(self) -> int | None:
        """Number of different ids; None before the settings are ``located``."""
        if not _is_json(self.tokenizer):
            return None
        return int(_loaded(self.tokenizer, self.max_tokens).get_vocab_size())

    @property
    def special_ids(self) -> frozenset[int]:
        """Ids of tokens that are not part of the text, such as [CLS] and [PAD]."""
        return frozenset(_special_tokens(self.tokenizer, self.max_tokens).values())

    @property
    def mask_id(self) -> int:
        """Id of the mask token.

        Raises:
            UserError: the tokenizer has no mask token.
        """
        special = _special_tokens(self.tokenizer, self.max_tokens)
        for name in _MASK_TOKENS:
            if name in special:
                return special[name]
        raise UserError(f"{_KEY}: it has no mask token ({' or '.join(_MASK_TOKENS)})")

    @property
    def outside(self) -> str | None:
        """The tokenizer, before the settings are ``located``."""
        return None if _is_json(self.tokenizer) else self.tokenizer

    def located(self, workspace: Workspace, training: TrainingRecords) -> Self:
        """Return the same settings with the tokenizer itself, so that no file is needed any more.

        Raises:
            UserError: there is no such tokenizer.
        """
        del training  # only the job that fits a tokenizer reads the records
        if _is_json(self.tokenizer):
            return self
        content = _content(self.tokenizer, workspace)
        _loaded(content, self.max_tokens)
        return self.model_copy(update={"tokenizer": content})

    def __call__(self, record: Record) -> Arrays | None:
        """Return the ids, or None where the record has no text, or one without tokens.

        Raises:
            UserError: ``tokenizer`` is not a tokenizer itself, as it is once ``located``.
        """
        text: str | None = record.parts.get("text")
        if text is None:
            return None
        encoding = _loaded(self.tokenizer, self.max_tokens).encode(text)
        ids = np.array(encoding.ids, dtype=np.int32)
        return {"token_ids": ids} if ids.size else None


def check_tokens(
    featurizer: Featurizer, encoder: str, vocabulary_size: int | None, max_tokens: int | None
) -> None:
    """Refuse a featurizer whose output an encoder of tokens cannot read.

    Args:
        featurizer: featurizer that provides the encoder's inputs.
        encoder: name of the encoder.
        vocabulary_size: how many different tokens the encoder knows; None where that is not known
            yet.
        max_tokens: largest number of tokens per text that the encoder takes; None without a limit.

    Raises:
        ValueError: the encoder cannot read it; the message says what to change.
    """
    if not isinstance(featurizer, TextTokens):
        raise ValueError(
            f"the encoder {encoder} cannot read what {featurizer.type} gives: set featurizer.type "
            "to text_tokens"
        )
    for given, taken, what, remedy in (
        (
            featurizer.vocabulary_size,
            vocabulary_size,
            "different tokens",
            f"raise encoder.vocabulary_size to {featurizer.vocabulary_size}",
        ),
        (
            featurizer.max_tokens,
            max_tokens,
            "tokens per text",
            f"set featurizer.max_tokens to {max_tokens}",
        ),
    ):
        if given is not None and taken is not None and given > taken:
            raise ValueError(
                f"the featurizer gives {given} {what}, the encoder takes {taken}: {remedy}"
            )


def _is_json(tokenizer: str) -> bool:
    return tokenizer.startswith("{")


def _content(tokenizer: str, workspace: Workspace) -> str:
    fitted = workspace.tokenizer(tokenizer)
    if fitted.exists():
        return read_fitted(fitted)
    path = expanded_path(tokenizer, _KEY)
    if path.is_file():
        return path.read_text()
    return tokenizer_json(tokenizer, _KEY)


@functools.lru_cache(maxsize=4)
def _special_tokens(tokenizer: str, max_tokens: int) -> dict[str, int]:
    added = _loaded(tokenizer, max_tokens).get_added_tokens_decoder()
    return {token.content: number for number, token in added.items() if token.special}


@functools.lru_cache(maxsize=4)
def _loaded(tokenizer: str, max_tokens: int) -> Tokenizer:
    """Load a tokenizer once per process."""
    from tokenizers import Tokenizer  # part of the extra ``text``

    if not _is_json(tokenizer):
        raise UserError(f"{_KEY}: {tokenizer!r} is not a tokenizer itself, and is not opened here")
    try:
        loaded = Tokenizer.from_str(tokenizer)
    except Exception as error:  # the package raises nothing more specific
        raise UserError(f"{_KEY}: not a tokenizer of the tokenizers package: {error}") from error
    loaded.no_padding()
    loaded.enable_truncation(max_tokens)
    return loaded
