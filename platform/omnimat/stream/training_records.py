"""The records of a training split, one after another, for what is measured or fitted on them."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from upath import UPath

from omnimat.materials.record import Record
from omnimat.modalities.registry import parts
from omnimat.shards.codec import PROPERTIES, decode
from omnimat.shards.manifest import Manifest
from omnimat.shards.reader import RawRecord, read_records


def training_records(dataset: UPath, wanted: Collection[str]) -> Iterator[Record]:
    """Read the training split in the order of the shards.

    Damaged records are left out, and a line says how many. The stream quarantines them with their
    reasons.

    Args:
        dataset: folder of shards and manifest.
        wanted: names of the parts that are decoded, besides the properties; records that have none
            of them are passed over, unless none is wanted.
    """
    manifest = Manifest.load(dataset)
    index = manifest.records(dataset)
    chosen = index[index["split"] == "train"]
    if wanted:
        chosen = chosen[chosen[[f"has_{name}" for name in wanted]].any(axis=1)]
    extensions = {PROPERTIES, *(parts()[name].extension for name in wanted)}
    num_left_out, first = 0, ""
    for _, rows in chosen.groupby("shard"):
        for raw in read_records(dataset, rows):
            try:
                yield _decoded(raw, extensions)
            except ValueError as error:
                first = first or f"{raw.material_id}: {error}"
                num_left_out += 1
    if num_left_out:
        print(
            f"{dataset.name}: {num_left_out} damaged training records were left out, the first "
            f"{first}",
            flush=True,
        )


def _decoded(raw: RawRecord, extensions: Collection[str]) -> Record:
    if raw.quarantine_reason is not None:
        raise ValueError(raw.quarantine_reason)
    return decode(raw.material_id, {e: data for e, data in raw.members.items() if e in extensions})
