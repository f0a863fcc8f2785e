"""A storage with a data set of many materials and an index of them all, written in a minute.

The crystals are a few prototypes over and over, and the embeddings are random; both are as large as
real ones. The index says that ``mp-small`` made it, so that a search embeds with that model.
"""

from dataclasses import replace

import numpy as np
from upath import UPath

from omnimat.inference.model import load
from omnimat.materials.record import Record
from omnimat.search.index import write_index
from omnimat.search.materials import Contents, facts_of, rows_as_columns, table_of
from omnimat.shards.manifest import shard_name
from omnimat.shards.writer import write_shard
from omnimat.sources.merge import ShardReport, merge
from omnimat.sources.prototypes import Prototypes

DATASET, MODEL, MODALITY = "many", "mp-small", "structure"
INDEX = f"indexes/{DATASET}"
RECORDS_PER_SHARD = 5_000
NUM_CRYSTALS = 200


def write_materials(root: UPath, number: int) -> str:
    """Write the data set and the index, and give the id of one material."""
    read = Prototypes(num_materials=NUM_CRYSTALS).read(0, NUM_CRYSTALS)
    crystals = [one for one in read if isinstance(one, Record)]
    facts = [facts_of(one) for one in crystals]
    kinds = [(one, str(told["reduced_formula"])) for one, told in zip(crystals, facts, strict=True)]
    ids = [f"many-{place:07d}" for place in range(number)]
    folder = root / "datasets" / DATASET
    folder.mkdir(parents=True)
    reports = [
        _report(folder, start // RECORDS_PER_SHARD, ids[start : start + RECORDS_PER_SHARD], kinds)
        for start in range(0, number, RECORDS_PER_SHARD)
    ]
    merge(name=DATASET, source={}, settings_fingerprint="0", reports=reports, destination=folder)
    _write_index(root, ids, [facts[place % len(facts)] for place in range(number)])
    return ids[number // 2]


def _report(
    folder: UPath, shard: int, ids: list[str], kinds: list[tuple[Record, str]]
) -> ShardReport:
    """Write a shard of materials, whose kinds take turns."""
    chosen = [kinds[(shard * RECORDS_PER_SHARD + place) % len(kinds)] for place in range(len(ids))]
    records = (replace(kind[0], material_id=one) for kind, one in zip(chosen, ids, strict=True))
    written = write_shard(folder / shard_name(shard), records)
    rows = tuple(
        row | {"split": "train", "reduced_formula": formula}
        for row, (_, formula) in zip(written.rows, chosen, strict=True)
    )
    return ShardReport(
        entry=written.entry,
        excluded_ids=(),
        rows=rows,
        failures=(),
        licences=("CC0-1.0",),
        database_versions=("1",),
    )


def _write_index(root: UPath, ids: list[str], facts: list[dict[str, object]]) -> None:
    encoders = load(MODEL, "cpu").networks.encoders
    width = encoders.cards[MODALITY].embedding_dim
    noise = np.random.default_rng(0)
    vectors = noise.normal(size=(len(ids), width)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    predicted = {"predicted.band_gap_ev": noise.random(len(ids))}
    columns = {"name": ids} | rows_as_columns(facts) | predicted
    origin = encoders.origin(MODALITY, DATASET)
    write_index(root / INDEX, origin, Contents(table_of(columns), vectors, ()))
