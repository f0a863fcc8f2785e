"""Which materials a model could have scored, found by featurizing what it left out."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Literal

import numpy as np

from omnimat.materials.record import Modality
from omnimat.modalities.batch import feature_table
from omnimat.modalities.layout import ID_COLUMN, Featurizer
from omnimat.verification.dataset import CheckedDataset
from omnimat.verification.outcome import Finding, Note, named

Needs = Literal["all", "any"]
_COMBINED = {"all": np.all, "any": np.any}


def usable(
    dataset: CheckedDataset,
    material_ids: Sequence[str],
    featurizers: Mapping[Modality, Featurizer],
    needs: Needs,
) -> list[str]:
    """Give the materials that have what a model takes.

    The index tells most that lack it; the others are read from the shards and featurized.

    Args:
        dataset: they are of.
        material_ids: to look at.
        featurizers: of the model's modalities.
        needs: whether it takes ``all`` of them or ``any``.

    Raises:
        UnreachableError: a record cannot be read.
    """
    likely = _by_index(dataset, material_ids, featurizers, needs)
    if not likely:
        return []
    table = feature_table(dataset.records_of(likely), featurizers)
    firsts = [f"{modality}.{f.fields[0].name}" for modality, f in featurizers.items()]
    has = _COMBINED[needs]([table[first].is_valid().to_numpy() for first in firsts], axis=0)
    ids = table[ID_COLUMN].to_pylist()
    return [one for one, is_there in zip(ids, has, strict=True) if is_there]


def check_left_out(
    uri: str,
    dataset: CheckedDataset,
    left_out: Sequence[str],
    featurizers: Mapping[Modality, Featurizer],
    needs: Needs,
) -> Iterator[Finding]:
    """See that materials with a target were left out for want of a modality alone.

    Args:
        uri: of the predictions.
        dataset: they are of.
        left_out: materials of the split that have a target and no prediction.
        featurizers: of the model's modalities.
        needs: as of ``usable``.

    Raises:
        UnreachableError: a record cannot be read.
    """
    if could := usable(dataset, left_out, featurizers, needs):
        yield (
            f"{uri}: material {named(could)} of the split is left out, but has the target and the "
            "modalities"
        )
    if lacking := len(left_out) - len(could):
        what = (" or " if needs == "all" else " and ").join(featurizers)
        yield Note(f"{lacking} materials of the split have the target and lack {what}")


def _by_index(
    dataset: CheckedDataset,
    material_ids: Collection[str],
    featurizers: Mapping[Modality, Featurizer],
    needs: Needs,
) -> list[str]:
    rows = dataset.index[dataset.index["material_id"].isin(set(material_ids))]
    may_have = [
        rows[list(one.index_columns)].fillna(value=False).any(axis=1).to_numpy(dtype=np.bool_)
        if one.index_columns
        else np.ones(len(rows), dtype=np.bool_)
        for one in featurizers.values()
    ]
    likely = _COMBINED[needs](may_have, axis=0)
    found: list[str] = rows["material_id"][likely].tolist()
    return found
