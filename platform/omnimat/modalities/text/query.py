"""Sentences that people give."""

from __future__ import annotations

from omnimat.modalities.modality import Query


def parse_sentence(text: str) -> str | None:
    """Take several words for a sentence; None of a single one."""
    return text if len(text.split()) > 1 else None


QUERY = Query(
    "text",
    from_words=parse_sentence,
    remedy=(
        "an encoder of stored sentence embeddings reads none but those that came with the data: "
        "pretrain with modalities.text.featurizer.type text_tokens or huggingface_embedding, or "
        "with source hashed"
    ),
)
