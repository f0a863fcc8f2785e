"""The records of a training split, one after another, for what is measured or fitted on them."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from upath import UPath

from omnimat.materials.record import Record
from omnimat.modalities.registry import parts
from omnimat.shards.codec import PROPERTIES, decode
from omnimat.shards.manifest import Manifest
from omnimat.shards.reader import read_records


def training_records(dataset: UPath, wanted: Collection[str]) -> Iterator[Record]:
    """Read the training split in the order of the shards; damaged records are left out.

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
    for _, rows in chosen.groupby("shard"):
        for raw in read_records(dataset, rows):
            members = {key: data for key, data in raw.members.items() if key in extensions}
            try:
                yield decode(raw.material_id, members)
            except ValueError:  # the stream quarantines it, with its reason
                continue
