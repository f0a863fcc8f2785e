"""Random views of a description for contrastive training.

CLaC keeps a random half of the sentences in random order (revised code of arXiv 2502.16451) and
masks tokens. The functions do not change their input, and the same text and state of the generator
give the same result.
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

# "2.05 Å. There" and "(of Na.) There" hold the end of a sentence; "2.05" and "e.g. cubic" do not.
_SENTENCE_END = re.compile(r"(?:(?<=[.!?])|(?<=[.!?][)\]\"']))\s+(?=[A-Z(\[\"'])")


class TextAugmentation(AugmentationSettings):
    """How strongly a description is changed before it is featurized, and its tokens afterwards.

    Attributes:
        keep_probability: probability that a sentence is kept; the kept ones are shuffled. CLaC uses
            0.5; 0 keeps one random sentence, as in CLaC's first version; None does not change the
            text.
        masked_tokens: fraction of tokens that are replaced by the mask, which needs the featurizer
            ``text_tokens``. CLaC uses 0.15.
    """

    keep_probability: float | None = Field(default=0.5, ge=0, le=1)
    masked_tokens: float = Field(default=0.0, ge=0, lt=1)

    def check(self, featurizer: Featurizer) -> None:
        """Refuse stored embeddings, and masks without a mask token.

        Raises:
            ValueError: the featurizer does not fit; the message says what to change.
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
        """Return the features of the changed text, or None where there is no text."""
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
    """Split a text after the end of each sentence, which a capital or a bracket must follow."""
    return [sentence for sentence in _SENTENCE_END.split(text.strip()) if sentence]


def sample_sentences(
    text: str, generator: np.random.Generator, keep_probability: float = 0.5
) -> str:
    """Keep each sentence with the given probability, but at least one, and shuffle them.

    A probability of 0 keeps one random sentence, as in CLaC's first version.
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
        token_ids: ids of the tokens, shape (n,).
        generator: source of random numbers, which is advanced.
        mask_id: id of the mask token.
        special_ids: ids of tokens that are never masked ([CLS], [SEP], [PAD]).
        fraction: fraction of the other tokens that is masked.

    Returns:
        A new array of ids and a boolean array that is true where they were masked, both of shape
        (n,). The original ids at the masked places are the targets of a masked language model.
    """
    ordinary = np.flatnonzero(~np.isin(token_ids, [mask_id, *special_ids]))
    masked = np.zeros(len(token_ids), dtype=np.bool_)
    masked[generator.permutation(ordinary)[: round(fraction * len(ordinary))]] = True
    return np.where(masked, mask_id, token_ids).astype(token_ids.dtype), masked
