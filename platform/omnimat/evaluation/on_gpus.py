"""Embedding in tasks of Ray that have a GPU, where the cluster has any."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from upath import UPath

from omnimat.base.provenance import hardware
from omnimat.cluster.tasks import in_parallel
from omnimat.cluster.threads import use_threads
from omnimat.evaluation.section import Embedder, positions_in
from omnimat.materials.split import Split
from omnimat.models.embed import ExportedEncoder
from omnimat.models.inputs import export_folder
from omnimat.objectives.embeddings import Column
from omnimat.stream.location import StoreLocation

_CPUS_PER_ENCODER = 1.0

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbedderOnGpus(Embedder):
    """Embeds as ``Embedder`` does, but in tasks of Ray, one for each encoder.

    Attributes:
        features: where the store lies; every task opens it.
        gpus_per_encoder: how many logical GPUs a task has.
        num_threads: how many threads of torch; ``auto`` leaves it to torch.
    """

    features: StoreLocation
    gpus_per_encoder: float
    num_threads: int | Literal["auto"] = "auto"

    def columns(self, modalities: Collection[str], split: Split) -> dict[str, Column]:
        """Embed several modalities, as many at once as there are GPUs."""
        others = (self.features, split, self.batch_size, self.num_threads)
        calls = {name: (export_folder(self.parent, name), *others) for name in modalities}
        found = self._results(embed_split, calls)
        return {name: found[name] for name in modalities}

    def hardware(self) -> dict[str, Any]:
        """Describe a machine that embeds, of which there may be several."""
        return self._results(hardware, {"": ()})[""]

    def _results(
        self, function: Callable[..., T], calls: Mapping[str, tuple[Any, ...]]
    ) -> dict[str, T]:
        """Call a function in tasks, each with its GPU."""
        each = in_parallel(_CPUS_PER_ENCODER, function, calls, num_gpus=self.gpus_per_encoder)
        return dict(each)


def embed_split(
    export: UPath,
    features: StoreLocation,
    split: Split,
    batch_size: int,
    num_threads: int | Literal["auto"],
) -> Column:
    """Embed one modality of a split in a process of its own."""
    use_threads(num_threads)
    store = features.open()
    encoder = ExportedEncoder.load(export)
    return encoder.embed_stored(store, positions_in(store, split), batch_size)
