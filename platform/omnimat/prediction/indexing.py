"""Makes an index of many materials on Ray, through the parts of a prediction."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from upath import UPath

from omnimat.base.errors import RunError
from omnimat.base.lease import Fence
from omnimat.base.workspace import Workspace
from omnimat.inference.parts import chunk_of, predicted_columns
from omnimat.inference.unpacked import Unpacked
from omnimat.prediction.parts import PARTS
from omnimat.prediction.plan import Plan
from omnimat.prediction.progress import Progress
from omnimat.prediction.rows import DatasetRows
from omnimat.prediction.run import predict
from omnimat.prediction.settings import IndexSettings
from omnimat.search.index import write_index
from omnimat.search.materials import SPLIT, Chunk, Contents
from omnimat.sources.base import Source

INDEX = "index"
"""Folder of the index within that of the job."""


def index(name: str, settings: IndexSettings, workspace: Workspace, fence: Fence) -> None:
    """Make an index in the folder that is held; killed and run again, this goes on.

    It holds what ``omnimat.index`` would make of the same materials in one process.

    Args:
        name: name of the job.
        settings: what is indexed, and by what.
        workspace: where data sets are.
        fence: the right to the folder.

    Raises:
        UserError: model or input are missing, or not those with which the job was begun.
        RunError: more materials than ``max_quarantined`` allows cannot be embedded, or none can.
        LostError: another process has taken the folder over, and nothing was written since.
    """
    predict(name, settings, workspace, fence, partial(_write, name, settings, fence))


def _write(
    name: str, settings: IndexSettings, fence: Fence, plan: Plan, progress: Progress
) -> None:
    """Put the parts together."""
    networks = Unpacked(plan.package, torch.device("cpu"))
    modality = networks.modality(settings.modality)
    contents = Contents.of(list(_chunks(networks, modality, plan.rows, progress)))
    if not len(contents.embeddings):
        raise RunError(f"{name}: nothing can be embedded: {': '.join(contents.left_out[0])}")
    fence.check()
    place: UPath = progress.folder / INDEX
    made = write_index(place, networks.encoders.origin(modality, name), contents)
    print(f"{name}: {len(made):,} materials indexed under {place}", flush=True)


def _chunks(networks: Unpacked, modality: str, rows: Source, progress: Progress) -> Iterator[Chunk]:
    """Read the parts in their order, and last what is in none of them."""
    width = networks.card.encoders[modality].embedding_dim
    encoder = networks.encoders.fingerprint_of(modality)
    predicted = predicted_columns(networks.card.predictor)
    splits = _splits(rows)
    for part in progress.parts:
        file = progress.folder / PARTS / progress.reports[part.number].file.name
        chunk = chunk_of(file, width, encoder, predicted)
        told = {SPLIT: [splits[one] for one in chunk.names]} if splits else {}
        yield replace(chunk, columns=told | dict(chunk.columns))
    lost = progress.quarantined()
    yield Chunk(
        names=lost["material_id"].to_pylist(),
        vectors=np.full((len(lost), width), np.nan, np.float32),
        reasons=lost["reason"].to_pylist(),
        columns={},
    )


def _splits(rows: Source) -> dict[str, str]:
    """Give the split of each record of a data set; nothing for other sources."""
    if not isinstance(rows, DatasetRows):
        return {}
    return dict(zip(rows.records["material_id"], rows.records[SPLIT], strict=True))
