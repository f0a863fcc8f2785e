"""The index of a data set by an encoder of a run, which the first search makes.

It lies in the folder ``search/<data set>/<modality>-<key>`` of the run. The key is the fingerprint
of the data set and of the encoder. So an index of another state of either is never found, and it is
removed when its successor is written. One that was damaged is made again.
"""

from __future__ import annotations

import json
import sys

import numpy as np
from upath import UPath

from omnimat.base.errors import UserError
from omnimat.base.settings import fingerprint
from omnimat.base.workspace import Workspace
from omnimat.modalities.layout import PROPERTIES_COLUMN, QUARANTINE_COLUMN
from omnimat.search.card import CARD
from omnimat.search.encoders import Encoders
from omnimat.search.index import Index, write_index
from omnimat.search.materials import FORMULA, KNOWN, SPLIT, Chunk, Contents, rows_as_columns, under
from omnimat.stream.location import StoreLocation
from omnimat.stream.source import Source
from omnimat.stream.store import FeatureStore
from omnimat.stream.unit import take

_SEARCH = "search"
# Largest data set that this process featurizes if there is no feature store; it takes a minute.
_MAX_FEATURIZED_HERE = 2_000


def open_index(
    workspace: Workspace, run: UPath, dataset: str, modality: str, encoders: Encoders
) -> Index:
    """Open the index of a data set by one encoder of a run, or make it if it is missing.

    Args:
        workspace: workspace that holds the data set.
        run: folder of the pretraining run.
        dataset: name of the data set.
        modality: modality to compare, of which the run has an encoder.
        encoders: the run's encoders.

    Raises:
        UserError: the data set is missing, or it is large and its features are missing.
        RunError: an embedding is not finite.
    """
    location = StoreLocation.of(workspace, dataset, encoders.featurizers)
    origin = encoders.origin(modality, dataset)
    key = fingerprint([location.manifest.dataset_fingerprint, origin.encoder])
    folder = run / _SEARCH / dataset
    place = folder / f"{modality}-{key}"
    if (index := _found(place)) is not None:
        return index
    print(f"indexing {modality} of {location.manifest.num_records} materials", file=sys.stderr)
    index = write_index(place, origin, _contents(location, encoders, modality))
    for stale in folder.glob(f"{modality}-*"):
        if stale.name != place.name:
            _remove(stale)
    return index


def _found(place: UPath) -> Index | None:
    """Open an index if it is there as it was written."""
    if not (place / CARD).exists():
        return None
    try:
        return Index.open(place)
    except UserError as error:
        print(f"{error} (this is done now)", file=sys.stderr)
        return None


def _contents(location: StoreLocation, encoders: Encoders, modality: str) -> Contents:
    store = location.open() if location.is_complete else _featurized_here(location, modality)
    column = encoders.load(modality).embed_stored(store, np.arange(len(store.records)))
    present = column.present.numpy()
    told = store.columns([PROPERTIES_COLUMN, QUARANTINE_COLUMN])
    properties = [json.loads(one) for one in told[PROPERTIES_COLUMN].to_pylist()]
    records = {name: store.records[name].to_list() for name in ("material_id", FORMULA, SPLIT)}
    chunk = Chunk(
        names=records.pop("material_id"),
        vectors=np.where(present[:, None], column.values.numpy(), np.float32(np.nan)),
        reasons=[why or f"it has no {modality}" for why in told[QUARANTINE_COLUMN].to_pylist()],
        columns=records | rows_as_columns([under(KNOWN, one) for one in properties]),
    )
    return Contents.of([chunk])


def _featurized_here(location: StoreLocation, modality: str) -> FeatureStore:
    """Featurize one modality of a small data set.

    Raises:
        UserError: the data set is not small.
    """
    manifest = location.manifest
    if manifest.num_records > _MAX_FEATURIZED_HERE:
        raise UserError(
            f"dataset: {location.folder} is not a complete feature store, and "
            f"{location.dataset.name!r} has {manifest.num_records} materials, more than the "
            f"{_MAX_FEATURIZED_HERE} that are featurized on the spot: run an evaluate job of this "
            "run on it first"
        )
    records = manifest.records(location.dataset)
    source = Source(location.dataset, None, {modality: location.featurizers[modality]})
    return FeatureStore(records, source.features(take(records, np.arange(len(records)))))


def _remove(path: UPath) -> None:
    if path.is_dir():
        path.rmdir(recursive=True)
    else:
        path.unlink()
