"""Materials that a model left out: could it have scored them? They are featurized to find out."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Literal

import numpy as np

from omnimat.modalities.batch import feature_table
from omnimat.modalities.layout import ID_COLUMN, Featurizer, self_contained
from omnimat.verification.dataset import CheckedDataset
from omnimat.verification.outcome import Note, Remark, named, reached

Needs = Literal["all", "any"]
_COMBINED = {"all": np.all, "any": np.any}


def usable(
    dataset: CheckedDataset,
    material_ids: Sequence[str],
    featurizers: Mapping[str, Featurizer],
    needs: Needs,
) -> list[str]:
    """Give those of some materials that have what a model needs.

    The index rules out most of the others; what is left is read from the shards and featurized.

    Args:
        dataset: the data set of the materials.
        material_ids: the materials in question.
        featurizers: those of the model's modalities.
        needs: whether the model needs ``all`` of its modalities, or ``any`` of them is enough.

    Raises:
        UnreachableError: if a record cannot be read, or a featurizer reads anything else.
    """
    in_question = likely(dataset, material_ids, featurizers, needs)
    if not in_question:
        return []
    reached("featurizers", lambda: self_contained(featurizers))
    table = feature_table(dataset.records_of(in_question), featurizers)
    firsts = [f"{modality}.{f.fields[0].name}" for modality, f in featurizers.items()]
    has = _COMBINED[needs]([table[first].is_valid().to_numpy() for first in firsts], axis=0)
    ids = table[ID_COLUMN].to_pylist()
    return [one for one, is_there in zip(ids, has, strict=True) if is_there]


def check_left_out(
    uri: str,
    dataset: CheckedDataset,
    left_out: Sequence[str],
    featurizers: Mapping[str, Featurizer],
    needs: Needs,
) -> Iterator[Remark]:
    """Check that materials with a target were left out only because they lack a modality.

    Args:
        uri: where the predictions lie.
        dataset: the data set of the materials.
        left_out: the materials of the split that have a target but no prediction.
        featurizers: those of the model's modalities.
        needs: see ``usable``.

    Raises:
        UnreachableError: if a record cannot be read, or a featurizer reads anything else.
    """
    if could := usable(dataset, left_out, featurizers, needs):
        yield (
            f"{uri}: material {named(could)} of the split is left out, but has the target and the "
            "modalities"
        )
    if lacking := len(left_out) - len(could):
        what = (" or " if needs == "all" else " and ").join(featurizers)
        yield Note(f"{lacking} materials of the split have the target and lack {what}")


def likely(
    dataset: CheckedDataset,
    material_ids: Collection[str],
    featurizers: Mapping[str, Featurizer],
    needs: Needs,
) -> list[str]:
    """Give those of some materials that, by the index, may have what a model needs.

    Args:
        dataset: the data set of the materials.
        material_ids: the materials in question.
        featurizers: those of the model's modalities.
        needs: see ``usable``.

    Returns:
        Their ids in the order of the index.
    """
    rows = dataset.index[dataset.index["material_id"].isin(set(material_ids))]
    may_have = [
        rows[list(one.index_columns)].fillna(value=False).any(axis=1).to_numpy(dtype=np.bool_)
        if one.index_columns
        else np.ones(len(rows), dtype=np.bool_)
        for one in featurizers.values()
    ]
    is_likely = _COMBINED[needs](may_have, axis=0)
    found: list[str] = rows["material_id"][is_likely].tolist()
    return found
