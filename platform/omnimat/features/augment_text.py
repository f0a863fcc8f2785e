"""Other views of a description for contrastive training, drawn at random.

CLaC keeps a random half of the sentences in random order (revised code of arXiv 2502.16451) and
masks tokens. Each function is pure: the same text and a generator of the same state give the same
result, and the input is left alone.
"""

from __future__ import annotations

import re
from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

# "2.05 Å. There" and "(of Na.) There" hold an end, "2.05" and "e.g. cubic" do not.
_SENTENCE_END = re.compile(r"(?:(?<=[.!?])|(?<=[.!?][)\]\"']))\s+(?=[A-Z(\[\"'])")


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
