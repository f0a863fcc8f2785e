#!/usr/bin/env python
"""The cost of a record on one core in each stage, from its source to a shard and to features.

    python jobs/benchmarks/stages.py --mp20 DATA/mp20 --multimodal DATA/mp408.parquet

Every stage runs over all records before the next one, so that each figure is of one stage alone.
"""

import io
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import click
import pyarrow as pa
from measure import report
from upath import UPath

from omnimat.materials.record import Record
from omnimat.materials.split import SplitSettings
from omnimat.modalities.batch import collate, feature_table
from omnimat.modalities.layout import Featurizer
from omnimat.modalities.registry import MODALITIES, default_featurizer
from omnimat.modalities.text.embedding import TextEmbedding
from omnimat.shards.codec import decode, encode
from omnimat.shards.writer import write_shard
from omnimat.sources.base import Source
from omnimat.sources.checker import Checker
from omnimat.sources.tables.source import Table
from omnimat.stream.store import features_name


def timed(function: Callable[[], Any]) -> tuple[Any, float]:
    """Give what a call returns, and the CPU seconds that this process spent in it."""
    start_s = time.process_time()
    result = function()
    return result, time.process_time() - start_s


def featurizers_for(records: Iterable[Record]) -> Mapping[str, Featurizer]:
    """Choose the default featurizer of every modality that some record has."""
    names = [name for name in MODALITIES.names if name != "properties"]
    by_modality = {name: default_featurizer(name) for name in names}
    by_modality["text"] = TextEmbedding(source="hashed")
    found = {
        name
        for record in records
        for name, featurizer in by_modality.items()
        if featurizer(record) is not None
    }
    return {name: featurizer for name, featurizer in by_modality.items() if name in found}


def measure(source: Source, num_records: int, folder: UPath) -> dict[str, float]:
    """Return the CPU seconds per record in each stage."""
    checker = Checker(SplitSettings(), ())
    items, read_s = timed(lambda: list(source.read(0, num_records)))
    records, check_s = timed(lambda: list(checker.accepted(items)))
    featurizers = featurizers_for(records[:20])
    for featurizer in featurizers.values():
        featurizer(records[0])  # what is loaded once is no cost of a record
    encoded, encode_s = timed(lambda: [encode(record) for record in records])
    _, write_s = timed(lambda: write_shard(folder / "shard.tar", records))
    ids = [record.material_id for record in records]
    _, decode_s = timed(lambda: list(map(decode, ids, encoded)))
    seconds = {"read the source": read_s, "check and split": check_s, "encode": encode_s}
    seconds |= {"write the tar": write_s - encode_s, "decode": decode_s}
    for name, featurizer in featurizers.items():
        _, spent_s = timed(lambda f=featurizer: [f(record) for record in records])
        seconds[f"featurize: {name}"] = spent_s
    alone_s = sum(spent for stage, spent in seconds.items() if stage.startswith("featurize"))
    table, table_s = timed(lambda: feature_table(records, featurizers))
    seconds["columns of the features"] = max(table_s - alone_s, 0.0)
    seconds["write the store"] = timed(lambda: _write(table, folder))[1]
    seconds["collate"] = timed(lambda: collate(table, featurizers))[1]
    return {stage: spent_s / len(records) for stage, spent_s in seconds.items()}


def _write(table: pa.Table, folder: UPath) -> None:
    sink = io.BytesIO()
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    (folder / features_name(0)).write_bytes(sink.getvalue())


@click.command()
@click.option("--mp20", type=click.Path(exists=True, path_type=Path), required=True)
@click.option("--multimodal", type=click.Path(exists=True, path_type=Path), required=True)
@click.option("--records", "num_records", default=400, show_default=True)
def main(mp20: Path, multimodal: Path, num_records: int) -> None:
    """Print the milliseconds a record and the records a second of both kinds of record."""
    import tempfile

    sources: dict[str, Source] = {
        "MP-20": Table(mapping="mp20", path=str(mp20)),
        "multimodal": Table(mapping="multimodal", path=str(multimodal)),
    }
    with tempfile.TemporaryDirectory() as folder:
        for name, source in sources.items():
            costs = measure(source.located(), num_records, UPath(folder))
            total_s = sum(costs.values())
            rows = [
                {
                    "stage": stage,
                    "ms per record": 1e3 * cost_s,
                    "records/s per core": 1 / cost_s if cost_s else None,
                    "share": cost_s / total_s,
                }
                for stage, cost_s in costs.items()
            ]
            report(f"{name}: from source to batch, CPU time", rows, num_records=num_records)


if __name__ == "__main__":
    main()
