"""``embeddings.npz``, which every evaluation keeps, and the run that made the embeddings.

The file holds ``material_id`` and ``duplicate_group``, both (N,), and for each modality (N, d)
float32 under its name and a boolean (N,) mask under ``<name>_present``.
"""

from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from omnimat.base.confined import beside
from omnimat.base.workspace import RESULT
from omnimat.evaluation.section import EmbeddedSplit
from omnimat.leaderboard.row import Row
from omnimat.materials.split import Split
from omnimat.modalities.layout import Featurizer
from omnimat.modalities.registry import MODALITIES
from omnimat.modalities.storage import decode_npz
from omnimat.models.inputs import cards_in, featurizers_of
from omnimat.objectives.embeddings import Embeddings
from omnimat.verification.evidence import Evidence
from omnimat.verification.left_out import usable
from omnimat.verification.outcome import FaultError, Note, Remark, UnreachableError, named, reached
from omnimat.verification.rerun import checkpoint_of

EMBEDDINGS = "embeddings.npz"


@dataclass(frozen=True, slots=True)
class StoredEmbeddings:
    """What ``embeddings.npz`` holds for N materials.

    Attributes:
        material_ids: their ids.
        groups: (N,) labels, which are equal for materials that count as the same.
        embeddings: the embeddings of each modality.
    """

    material_ids: Sequence[str]
    groups: NDArray[np.int64]
    embeddings: Embeddings


def read_embeddings(row: Row, evidence: Evidence) -> StoredEmbeddings:
    """Read those of a row, once for all rows that share them and follow each other.

    Raises:
        FaultError: if the file holds no embeddings.
        UnreachableError: if it is not there.
    """
    return evidence.latest("embeddings", row.predictions_uri, lambda: _read(row, evidence))


def _read(row: Row, evidence: Evidence) -> StoredEmbeddings:
    import torch

    data = evidence.predictions(row).data
    try:
        found = decode_npz(data, "biufU")
        names: list[str] = [name for name in MODALITIES.names if name in found]
        values = {name: torch.tensor(found[name]) for name in names}
        present = {name: torch.tensor(found[f"{name}_present"]) for name in names}
        ids = found["material_id"].tolist()
        groups = found.get("duplicate_group", np.arange(len(ids)))
    except (KeyError, ValueError, TypeError) as error:
        raise FaultError(f"{row.predictions_uri} holds no embeddings: {error}") from error
    return StoredEmbeddings(ids, groups, Embeddings(values, present))


def to_npz(split: EmbeddedSplit) -> bytes:
    """Write the embeddings of a split."""
    arrays = {"material_id": split.material_ids, "duplicate_group": split.duplicate_groups}
    for modality, values in split.embeddings.values.items():
        arrays[modality] = values.numpy()
        arrays[f"{modality}_present"] = split.embeddings.present[modality].numpy()
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()


def check_embedded(
    row: Row, stored: StoredEmbeddings, split: Split, evidence: Evidence
) -> list[Remark]:
    """Check that the materials are those of the split, and that none lacks what it could have."""
    dataset = evidence.dataset(row)
    files = (row.predictions_uri, row.checkpoint_uri, str(dataset.directory))
    return evidence.remembered(
        ("embedded", *files, split), lambda: list(_check_embedded(row, stored, split, evidence))
    )


def _check_embedded(
    row: Row, stored: StoredEmbeddings, split: Split, evidence: Evidence
) -> Iterator[Remark]:
    dataset = evidence.dataset(row)
    uri, ids = row.predictions_uri, list(stored.material_ids)
    there = {one for one, its in dataset.split_by_id.items() if its == split}
    seen, counts = set(ids), Counter(ids)
    twice = [one for one, count in counts.items() if count > 1]
    for what, wrong in (
        ("is there more than once", twice),
        (f"is not of the {split} split", sorted(seen - there)),
        (f"of the {split} split is left out", sorted(there - seen)),
    ):
        if wrong:
            yield f"{uri}: material {named(wrong)} {what}"
    featurizers = featurizers_of_run(row, evidence)
    for modality, present in stored.embeddings.present.items():
        absent = [one for one, is_there in zip(ids, present.tolist(), strict=True) if not is_there]
        if could := usable(dataset, absent, {modality: featurizers[modality]}, "all"):
            yield f"{uri}: material {named(could)} has {modality}, but no embedding of it"
        elif absent:
            yield Note(f"{len(absent)} materials of the {split} split lack {modality}")


def featurizers_of_run(row: Row, evidence: Evidence) -> dict[str, Featurizer]:
    """Give the featurizers of the encoders in the row's checkpoint.

    Raises:
        UnreachableError: if there are no encoders that can be read.
    """
    uri = checkpoint_of(row)
    export = evidence.folder(uri, "checkpoint_uri")
    if not (cards := reached(uri, lambda: cards_in(export))):
        raise UnreachableError(f"{uri} holds no exported encoder")
    return reached(uri, lambda: featurizers_of(cards))


def check_pretraining_seed(row: Row, evidence: Evidence) -> Iterator[Remark]:
    """Compare the row's seed with that of the pretraining run."""
    path = beside(row.checkpoint_uri, RESULT)
    try:
        result = json.loads(evidence.data(path, "checkpoint_uri"))
        seed = result["settings"]["training"]["seed"]
    except (ValueError, KeyError, TypeError) as error:
        raise UnreachableError(f"{path} is no result of a pretraining run: {error}") from error
    if seed != row.seed:
        yield f"{path}: seed is {seed}, the row says {row.seed}"
