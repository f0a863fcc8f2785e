"""A data set of features alone, drawn at random in the sizes of real ones: for measuring speed.

No record lies behind them, so nothing has to be featurized, which takes libraries that a machine
lent for an hour may lack.
"""

import functools
import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from upath import UPath

from omnimat.base.files import write_atomically
from omnimat.base.workspace import Workspace
from omnimat.materials.record import Record
from omnimat.modalities.batch import table_of_views
from omnimat.modalities.layout import Arrays, Extractor, Featurizer, Field
from omnimat.modalities.registry import parts
from omnimat.shards.manifest import ShardEntry
from omnimat.sources.merge import ShardReport, merge
from omnimat.stream.feature_file import FileEntry, to_arrow_file
from omnimat.stream.location import StoreLocation
from omnimat.stream.store import StoreCard, features_name, store_fingerprint

DATASET = "synthetic"
TARGET = "mean_atomic_number"

_NEIGHBORS = 16
_SPLITS = ("train",) * 8 + ("validation", "test")


def write_store(
    workspace: Workspace, featurizers: Mapping[str, Featurizer], num_materials: int
) -> StoreLocation:
    """Write a data set of one shard, and the complete store of its features.

    Args:
        workspace: where they are put, under ``DATASET``.
        featurizers: those whose arrays are drawn.
        num_materials: how many materials there are; four in five are of the training split, and
            each knows ``TARGET``.
    """
    _write_index(workspace.dataset(DATASET), num_materials)
    location = StoreLocation.of(workspace, DATASET, featurizers)
    data = to_arrow_file(table_of_views(_views(featurizers, num_materials), featurizers))
    write_atomically(location.folder / features_name(0), data)
    StoreCard(
        dataset_fingerprint=location.manifest.dataset_fingerprint,
        fingerprint=store_fingerprint(location.manifest, featurizers),
        num_records=num_materials,
        quarantined={},
        files=(FileEntry.of(data),),
    ).save(location.folder)
    return location


def _write_index(folder: UPath, num_materials: int) -> None:
    """Write the index of a data set whose shard is empty."""
    rows = [
        {
            "material_id": _id(place),
            "row": place,
            "offset_bytes": 0,
            "size_bytes": 0,
            "crc32": 0,
            "split": _SPLITS[place % len(_SPLITS)],
            "num_atoms": _num_atoms(place),
            **{f"has_{name}": True for name in parts()},
        }
        for place in range(num_materials)
    ]
    entry = ShardEntry(
        name="shard-00000.tar",
        size_bytes=0,
        sha256=hashlib.sha256(b"").hexdigest(),
        num_records=num_materials,
        modality_counts=dict.fromkeys(parts(), num_materials),
    )
    report: dict[str, Any] = {"entry": entry, "rows": rows, "excluded_ids": (), "failures": ()}
    reports = [ShardReport(**report, licences=(), database_versions=())]
    merge(name=DATASET, source={}, settings_fingerprint="0", reports=reports, destination=folder)


def _views(
    featurizers: Mapping[str, Featurizer], num_materials: int
) -> Iterator[tuple[Record, Mapping[str, Extractor]]]:
    """Give records without content, each with what stands in for its featurizers."""
    for place in range(num_materials):
        extractors = {
            modality: functools.partial(_drawn, featurizer, place)
            for modality, featurizer in featurizers.items()
        }
        properties = {TARGET: float(_atomic_numbers(place).mean())}
        yield Record(_id(place), properties=properties), extractors


def _drawn(featurizer: Featurizer, place: int, _: Record) -> Arrays:
    generator = np.random.default_rng([1, place])
    return {one.name: _values(one, place, generator) for one in featurizer.fields}


def _values(field: Field, place: int, generator: np.random.Generator) -> Any:
    """Draw one field of a material; the edges join each atom to some others, at their distances."""
    num_atoms = _num_atoms(place)
    sizes = {
        "atom": num_atoms,
        "edge": num_atoms * _NEIGHBORS,
        "pair": num_atoms * (num_atoms + 1) // 2,
    }
    shape = field.item_shape if field.axis == "material" else (sizes[field.axis], *field.item_shape)
    if field.name == "atomic_numbers":
        return _atomic_numbers(place)
    if field.name == "edge_sources":
        return np.repeat(np.arange(num_atoms, dtype=np.int32), _NEIGHBORS)
    if field.name == "edge_targets":
        return generator.integers(num_atoms, size=shape, dtype=np.int32)
    if field.name == "edge_vectors_angstrom":
        vectors = generator.normal(size=shape)
        lengths = generator.uniform(1.8, 4.0, size=(len(vectors), 1))
        return vectors * (lengths / np.linalg.norm(vectors, axis=1, keepdims=True))
    if field.name == "energies_ev":
        return np.linspace(-15, 15, shape[0])
    return np.abs(generator.normal(size=shape))


def _id(place: int) -> str:
    return f"synthetic-{place:06d}"


def _num_atoms(place: int) -> int:
    """Give a number of atoms; half of the crystals of the Materials Project have 20 or fewer."""
    drawn = np.random.default_rng([0, place]).lognormal(np.log(20), 0.8)
    return int(np.clip(drawn, 2, 120))


def _atomic_numbers(place: int) -> Any:
    drawn = np.random.default_rng([2, place]).integers(1, 84, size=_num_atoms(place))
    return drawn.astype(np.int32)
