"""The card of an index: by what it was made, of what, and what its files must be."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, Self

from pydantic import Field, model_validator

from omnimat.base.settings import Settings
from omnimat.base.stored_file import StoredFile
from omnimat.modalities.registry import ModalityName

CARD, EMBEDDINGS, MATERIALS, LEFT_OUT = (
    "index.json",
    "embeddings.npy",
    "materials.parquet",
    "left_out.parquet",
)


class Origin(Settings):
    """By which encoder the embeddings of an index were made, and of what.

    Attributes:
        model: name of the model or the pretraining run.
        encoder: fingerprint of the encoder (``Encoders.fingerprint_of``).
        modality: the modality that it encodes.
        source: what was indexed, for people: the name of a data set or of the index.
    """

    model: str
    encoder: str
    modality: ModalityName
    source: str


class IndexCard(Settings):
    """``index.json``, which is written last.

    Attributes:
        format: tells the file from others.
        version: layout of the index.
        omnimat: version of omnimat that wrote it.
        origin: by what it was made, and of what.
        num_materials: how many materials it holds.
        embedding_dim: width of their embeddings.
        num_left_out: how many materials could not be embedded.
        files: every other file, by its name.
    """

    format: Literal["omnimat index"] = "omnimat index"
    version: Literal[1] = 1
    omnimat: str
    origin: Origin
    num_materials: int = Field(ge=0)
    embedding_dim: int = Field(ge=1)
    num_left_out: int = Field(ge=0)
    files: Mapping[str, StoredFile]

    @model_validator(mode="after")
    def _has_the_files(self) -> Self:
        if sorted(self.files) != sorted((EMBEDDINGS, MATERIALS, LEFT_OUT)):
            raise ValueError("files: these are not the files of an index")
        return self
