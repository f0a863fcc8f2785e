"""A byte-level BPE tokenizer fitted on a corpus (Sennrich et al., 2016; Radford et al., 2019).

Among the trainers in the ``tokenizers`` package, this one always gives the same bytes; that of
WordPiece breaks ties by hash order. Since it works on bytes, no character is unknown to it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Literal

from pydantic import Field
from upath import UPath

from omnimat.base.checked_json import read_checked_json
from omnimat.base.errors import UserError
from omnimat.base.files import read_file
from omnimat.base.settings import Settings
from omnimat.modalities.text.huggingface import require_text_extra

SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
_NUM_BYTES = 256


CARD_FILE = "tokenizer-card.json"
"""Lies beside a fitted tokenizer and says what it was fitted on, and its hash."""


def read_fitted(path: UPath) -> str:
    """Read a tokenizer that a job has fitted, and compare it with its card.

    Raises:
        UserError: one of the two was changed after it was written, or is missing.
    """
    remedy = f"delete {path.parent} and fit the tokenizer again"
    try:
        card = read_checked_json(path.with_name(CARD_FILE), remedy)
        data = read_file(path)
    except FileNotFoundError as error:
        raise UserError(f"{path.parent} lacks {path.name} or {CARD_FILE}: {remedy}") from error
    if card.get("sha256") != hashlib.sha256(data).hexdigest():
        raise UserError(f"{path} was changed after it was written (sha256): {remedy}")
    return data.decode()


class TokenizerSettings(Settings):
    """How a tokenizer is fitted.

    Attributes:
        type: kind of tokenizer, byte-level BPE.
        vocabulary_size: largest number of tokens, including the special ones; a small corpus gives
            fewer.
        min_frequency: number of occurrences that a pair needs to be merged.
        lowercase: whether case is ignored; ``Co`` and ``CO`` are then the same.
    """

    type: Literal["byte_level_bpe"] = "byte_level_bpe"
    vocabulary_size: int = Field(default=4096, gt=_NUM_BYTES + len(SPECIAL_TOKENS))
    min_frequency: int = Field(default=2, ge=1)
    lowercase: bool = False


def fit_tokenizer(texts: Iterable[str], settings: TokenizerSettings) -> str:
    """Fit a tokenizer; the same texts and settings always give the same string.

    Returns:
        The tokenizer in the JSON format of ``tokenizers``. It puts [CLS] first and [SEP] last.

    Raises:
        UserError: the extra ``text`` is not installed.
    """
    require_text_extra()
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

    tokenizer = Tokenizer(models.BPE())
    # NFKC turns the superscripts and subscripts of formulas into plain digits.
    steps = [normalizers.NFKC()] + [normalizers.Lowercase()] * settings.lowercase
    tokenizer.normalizer = normalizers.Sequence(steps)
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    trainer = trainers.BpeTrainer(
        vocab_size=settings.vocabulary_size,
        min_frequency=settings.min_frequency,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        special_tokens=[(token, tokenizer.token_to_id(token)) for token in ("[CLS]", "[SEP]")],
    )
    text: str = tokenizer.to_str()
    return text
