"""Descriptions of a material in English, or embeddings of such descriptions."""

from __future__ import annotations

from omnimat.modalities.modality import Modality
from omnimat.modalities.storage import Array, Stored, checked, decode_npy, encode_npy

_HERE = "omnimat.modalities.text"


def encode_embedding(embedding: Array) -> bytes:
    """Write the sentence embedding of a description, shape (width,).

    Raises:
        ValueError: it is empty, not a vector, or holds a number that is not finite.
    """
    return encode_npy(checked(embedding, 1))


def decode_embedding(data: bytes) -> Array:
    """Read and check what ``encode_embedding`` writes."""
    return checked(decode_npy(data), 1)


MODALITY = Modality(
    name="text",
    label="a text",
    stored=(
        Stored("text.txt", str.encode, bytes.decode),
        Stored("text_embedding.npy", encode_embedding, decode_embedding),
    ),
    featurizers={
        "text_embedding": f"{_HERE}.embedding:TextEmbedding",
        "text_tokens": f"{_HERE}.tokens:TextTokens",
        "huggingface_embedding": f"{_HERE}.huggingface_embedding:HuggingFaceEmbedding",
    },
    encoders={
        "text_mlp": f"{_HERE}.mlp:TextMlpSettings",
        "text_transformer": f"{_HERE}.transformer:TextTransformerSettings",
        "huggingface_text": f"{_HERE}.huggingface_encoder:HuggingFaceTextSettings",
    },
    augmentation=f"{_HERE}.augment:TextAugmentation",
    query=f"{_HERE}.query:QUERY",
)
