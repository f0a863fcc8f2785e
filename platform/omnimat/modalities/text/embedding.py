"""Fixed-width vectors of descriptions: stored sentence embeddings, or hashed word counts."""

from __future__ import annotations

import re
import zlib
from itertools import pairwise
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import PositiveInt

from omnimat.materials.record import Record
from omnimat.modalities.layout import Arrays, FeaturizerSettings, Field

_WORD = re.compile(r"\w+")


class TextEmbedding(FeaturizerSettings):
    """One vector per description.

    Attributes:
        source: ``stored`` takes the embedding that the record holds, which a language model made
            once. ``hashed`` computes one from the text by feature hashing, which needs no model.
            ``stored_or_hashed`` prefers the stored one.
        width: width of the vector; a stored embedding of another width is refused.
    """

    modality: ClassVar[str] = "text"

    type: Literal["text_embedding"] = "text_embedding"
    source: Literal["stored", "hashed", "stored_or_hashed"] = "stored"
    width: PositiveInt = 768

    @property
    def index_columns(self) -> tuple[str, ...]:
        """Columns of the record index that tell which records can have a vector."""
        columns = {"stored": ("has_text_embedding",), "hashed": ("has_text",)}
        return columns.get(self.source, ("has_text_embedding", "has_text"))

    @property
    def fields(self) -> tuple[Field, ...]:
        """Field of the vector."""
        return (Field("embedding", "float32", (self.width,)),)

    def __call__(self, record: Record) -> Arrays | None:
        """Return the vector, or None where the record has no text or embedding that may be used.

        Raises:
            ValueError: the stored embedding has another width.
        """
        parts = {} if self.source == "hashed" else record.parts
        vector: NDArray[np.floating[Any]] | None = parts.get("text_embedding")
        if vector is None:
            return self._hashed(record.parts.get("text"))
        if vector.shape != (self.width,):
            raise ValueError(f"the stored embedding has shape {vector.shape}, not ({self.width},)")
        return {"embedding": vector.astype(np.float32)}

    @property
    def reads_words(self) -> bool:
        """Whether a new sentence can be featurized, or only texts that came with an embedding."""
        return self.source != "stored"

    def _hashed(self, text: str | None) -> Arrays | None:
        """Return the vector of a text, or None if only stored ones count or it has no words."""
        if text is None or not self.reads_words:
            return None
        vector = hashed_ngrams(text, self.width)
        return None if vector is None else {"embedding": vector.astype(np.float32)}


def hashed_ngrams(text: str, width: int) -> NDArray[np.float64] | None:
    """Hash words and pairs of adjacent words into a unit vector with signed buckets.

    Weinberger et al., "Feature hashing for large scale multitask learning", ICML 2009. The result
    is the same in every process.

    Returns:
        The vector, shape (width,), or None for a text without words.
    """
    words = _WORD.findall(text.lower())
    ngrams = words + [f"{first} {second}" for first, second in pairwise(words)]
    hashes = np.array([zlib.crc32(ngram.encode()) for ngram in ngrams], dtype=np.uint32)
    signs = np.where(hashes >> 31, 1.0, -1.0)
    counts = np.bincount(hashes % width, signs, width)
    norm = np.linalg.norm(counts)
    return counts / norm if norm else None
