"""Other views of a description for contrastive training, drawn at random.

CLaC keeps a random half of the sentences in random order (revised code of arXiv 2502.16451) and
masks tokens. Each function is pure: the same text and a generator of the same state give the same
result, and the input is left alone.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import cast

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from omnimat.materials.record import Record
from omnimat.modalities.layout import Arrays, Featurizer
from omnimat.modalities.text.embedding import TextEmbedding
from omnimat.modalities.text.tokens import TextTokens
from omnimat.modalities.views import AugmentationSettings

# "2.05 Å. There" and "(of Na.) There" hold an end, "2.05" and "e.g. cubic" do not.
_SENTENCE_END = re.compile(r"(?:(?<=[.!?])|(?<=[.!?][)\]\"']))\s+(?=[A-Z(\[\"'])")


class TextAugmentation(AugmentationSettings):
    """How strongly a description is changed before it is featurized, and its tokens after.

    Attributes:
        keep_probability: of each sentence; those kept are shuffled. CLaC: 0.5; 0 keeps one random
            sentence, as CLaC's first version does; None leaves the text alone.
        masked_tokens: part of the tokens that are replaced by the mask; needs the featurizer
            ``text_tokens``. CLaC: 0.15.
    """

    keep_probability: float | None = Field(default=0.5, ge=0, le=1)
    masked_tokens: float = Field(default=0.0, ge=0, lt=1)

    def check(self, featurizer: Featurizer) -> None:
        """Refuse stored embeddings, and masks without a mask token.

        Raises:
            ValueError: with what to change.
        """
        if isinstance(featurizer, TextEmbedding) and featurizer.source != "hashed":
            raise ValueError(
                "augmentation: a stored embedding cannot be varied; set featurizer.source to "
                "hashed, or featurizer.type to text_tokens"
            )
        if self.masked_tokens:
            if not isinstance(featurizer, TextTokens):
                raise ValueError(
                    "augmentation.masked_tokens: the featurizer gives no tokens; set it to 0, or "
                    "featurizer.type to text_tokens"
                )
            if featurizer.vocabulary_size is not None:
                _ = featurizer.mask_id  # raises where the tokenizer has none

    def view(
        self, record: Record, featurizer: Featurizer, generator: np.random.Generator
    ) -> Arrays | None:
        """Give what the featurizer makes of the changed text, or None where there is no text."""
        text = record.parts.get("text")
        if self.keep_probability is not None and text is not None:
            drawn = sample_sentences(text, generator, self.keep_probability)
            record = record.with_part("text", drawn)
        arrays = featurizer(record)
        if arrays is None or not self.masked_tokens or not isinstance(featurizer, TextTokens):
            return arrays
        ids = cast(NDArray[np.integer], arrays["token_ids"])
        mask, special = featurizer.mask_id, featurizer.special_ids
        return {"token_ids": mask_tokens(ids, generator, mask, special, self.masked_tokens)[0]}


def sentences(text: str) -> list[str]:
    """Cut a text after each full stop that a capital follows."""
    return [sentence for sentence in _SENTENCE_END.split(text.strip()) if sentence]


def sample_sentences(
    text: str, generator: np.random.Generator, keep_probability: float = 0.5
) -> str:
    """Keep each sentence with a probability, at least one of them, and shuffle those.

    A probability of 0 keeps one random sentence, as CLaC's first version does.
    """
    found = sentences(text)
    order = generator.permutation(len(found))
    kept = order[generator.random(len(found)) < keep_probability]
    return " ".join(found[place] for place in (kept if kept.size else order[:1]))


def mask_tokens(
    token_ids: NDArray[np.integer],
    generator: np.random.Generator,
    mask_id: int,
    special_ids: Collection[int] = (),
    fraction: float = 0.15,
) -> tuple[NDArray[np.integer], NDArray[np.bool_]]:
    """Replace ``round(fraction * ordinary tokens)`` random tokens by the mask.

    Args:
        token_ids: (n,).
        generator: advanced.
        mask_id: of the mask token.
        special_ids: tokens that are never masked ([CLS], [SEP], [PAD]).
        fraction: of the tokens that are not special.

    Returns:
        A new (n,), and where it was masked, (n,): the targets of a masked language model are
        ``token_ids`` there.
    """
    ordinary = np.flatnonzero(~np.isin(token_ids, [mask_id, *special_ids]))
    masked = np.zeros(len(token_ids), dtype=np.bool_)
    masked[generator.permutation(ordinary)[: round(fraction * len(ordinary))]] = True
    return np.where(masked, mask_id, token_ids).astype(token_ids.dtype), masked
