"""Reads sentences that users give."""

from __future__ import annotations

from omnimat.modalities.modality import Query


def parse_sentence(text: str) -> str | None:
    """Return several words as a sentence, and None for a single word."""
    return text if len(text.split()) > 1 else None


QUERY = Query(
    "text",
    from_words=parse_sentence,
    remedy=(
        "an encoder of stored sentence embeddings can only read those that came with the data: "
        "pretrain with modalities.text.featurizer.type text_tokens or huggingface_embedding, or "
        "with source hashed"
    ),
)
