#!/usr/bin/env python
"""The speed of networks on the same crystals: ours, their published form, and two of PyG."""

import itertools
from collections.abc import Callable, Mapping

import click
import torch
from measure import interleaved, report
from torch import Tensor, nn
from torch_geometric.nn import CGConv, SchNet, global_mean_pool
from upath import UPath

from omnimat.materials.record import Record
from omnimat.modalities.structure.cgcnn import CgcnnSettings
from omnimat.modalities.structure.crystal_network import AtomEmbedding, crystal_of_atom, edge_index
from omnimat.modalities.structure.features import CrystalGraph
from omnimat.modalities.structure.gated import GatedGraphSettings
from omnimat.modalities.structure.potnet import PotNetSettings
from omnimat.nn.precision import fast_products
from omnimat.stream.training_records import training_records
from omnimat.testing.materials import encoder_arrays, example_records
from omnimat.testing.published_graphs import in_published_form

EMBEDDING_DIM = 128
CUTOFF_ANGSTROM = 8.0
MAX_NEIGHBORS = 12
Arrays = Mapping[str, Tensor]


class CgConvNetwork(nn.Module):
    """Three of torch_geometric's CGConv with the widths of CGCNN as MultiMat trains it."""

    def __init__(self, width: int = 64, num_gaussians: int = 41) -> None:
        super().__init__()
        self.atoms = AtomEmbedding(width)
        self.num_gaussians = num_gaussians
        self.convolutions = nn.ModuleList(
            CGConv(width, num_gaussians, batch_norm=True) for _ in range(3)
        )
        self.head = nn.Sequential(
            nn.Softplus(), nn.Linear(width, 128), nn.Softplus(), nn.Linear(128, EMBEDDING_DIM)
        )

    def forward(self, arrays: Arrays) -> Tensor:
        """Embed n crystals, shape (n, EMBEDDING_DIM)."""
        lengths = arrays["edge_vectors_angstrom"].norm(dim=-1, keepdim=True)
        steps = torch.arange(self.num_gaussians)
        edges = torch.exp(-(lengths * (self.num_gaussians - 1) / CUTOFF_ANGSTROM - steps).square())
        nodes = self.atoms(arrays["atomic_numbers"])
        for convolution in self.convolutions:
            nodes = convolution(nodes, edge_index(arrays).flip(0), edges)
        pooled: Tensor = self.head(global_mean_pool(nodes, crystal_of_atom(arrays)))
        return pooled


class SchNetNetwork(nn.Module):
    """torch_geometric's SchNet with its own widths on our graph."""

    def __init__(self) -> None:
        super().__init__()
        self.given: tuple[Tensor, Tensor] | None = None
        self.network = SchNet(cutoff=CUTOFF_ANGSTROM, interaction_graph=lambda *_: self.given)

    def forward(self, arrays: Arrays) -> Tensor:
        """Predict a number for each of n crystals, shape (n, 1)."""
        self.given = edge_index(arrays).flip(0), arrays["edge_vectors_angstrom"].norm(dim=-1)
        numbers = arrays["atomic_numbers"].long()
        nowhere = torch.zeros(len(numbers), 3)
        predicted: Tensor = self.network(numbers, nowhere, crystal_of_atom(arrays))
        return predicted


WITHIN = CrystalGraph(
    neighbors="within_cutoff",
    cutoff_angstrom=CUTOFF_ANGSTROM,
    max_neighbors=MAX_NEIGHBORS,
    lattice_sums="none",
)
WITH_SUMS = CrystalGraph()
NETWORKS: Mapping[str, tuple[CrystalGraph, Callable[[], nn.Module]]] = {
    "cgcnn paper": (WITHIN, lambda: CgcnnSettings().build(EMBEDDING_DIM)),
    "cgcnn paper, published form": (
        WITHIN,
        lambda: in_published_form(CgcnnSettings().build(EMBEDDING_DIM)),
    ),
    "torch_geometric CGConv": (WITHIN, CgConvNetwork),
    "torch_geometric SchNet": (WITHIN, SchNetNetwork),
    "potnet paper": (WITH_SUMS, lambda: PotNetSettings().build(EMBEDDING_DIM)),
    "potnet paper, published form": (
        WITH_SUMS,
        lambda: in_published_form(PotNetSettings().build(EMBEDDING_DIM)),
    ),
    "gated_graph tiny": (WITHIN, lambda: GatedGraphSettings(preset="tiny").build(EMBEDDING_DIM)),
    "gated_graph small": (WITHIN, lambda: GatedGraphSettings().build(EMBEDDING_DIM)),
    "gated_graph base": (WITHIN, lambda: GatedGraphSettings(preset="base").build(EMBEDDING_DIM)),
}
PUBLISHED = ", published form"


def crystals(count: int, folder: str | None) -> tuple[Record, ...]:
    """Read the first crystals of a data set, or take built-in ones."""
    if folder is None:
        return example_records(count, max_atoms=20)
    return tuple(itertools.islice(training_records(UPath(folder), ["structure"]), count))


def step_of(network: nn.Module, arrays: Arrays, *, is_fast: bool) -> Callable[[], None]:
    """Return a step of training towards zero."""
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4)

    def step() -> None:
        with fast_products(is_fast):
            optimizer.zero_grad()
            network(arrays).square().mean().backward()
            optimizer.step()

    return step


@click.command()
@click.option("--batch", default=64, show_default=True, help="Number of crystals in a batch.")
@click.option("--threads", default=1, show_default=True, help="Number of threads of torch.")
@click.option("--repeats", default=5, show_default=True)
@click.option("--dataset", "folder", help="Folder of a data set; default: built-in prototypes.")
@click.option("--network", "chosen", multiple=True, help="Start of names to measure; default: all.")
@click.option("--fast/--exact", "is_fast", help="Multiply float32 in bfloat16 or TF32, or not.")
def main(
    batch: int,
    threads: int,
    repeats: int,
    folder: str | None,
    chosen: tuple[str, ...],
    is_fast: bool,
) -> None:
    """Time forward, backward and AdamW of networks in turn.

    Graphs hold 12 neighbours within 8 angstrom, and PotNet's the nearest 16 and the lattice sums.
    """
    if not any(name.startswith(chosen or ("",)) for name in NETWORKS):
        raise click.BadParameter(f"none begins so; choose among {', '.join(NETWORKS)}")
    torch.set_num_threads(threads)
    records = crystals(batch, folder)
    arrays = {graph: encoder_arrays(records, graph) for graph in (WITHIN, WITH_SUMS)}
    steps = {}
    for name, (graph, build) in NETWORKS.items():
        if name.startswith(chosen or ("",)):
            torch.manual_seed(0)
            steps[name] = step_of(build(), arrays[graph], is_fast=is_fast)
    seconds = interleaved(steps, repeats)
    rows = [
        {
            "network": name,
            "crystals_per_s": round(batch / one, 1),
            "ms": round(1000 * one, 1),
            "time / published form": _ratio(one, seconds.get(name + PUBLISHED)),
            "time / CGCNN's": _ratio(one, seconds.get("cgcnn paper")),
        }
        for name, one in seconds.items()
    ]
    shape = {"atoms": len(arrays[WITHIN]["atomic_numbers"])}
    shape["edges"] = len(arrays[WITHIN]["edge_sources"])
    conditions = {"batch": batch, "threads": threads, "is_fast": is_fast, **shape}
    report("networks on the same crystals", rows, **conditions)


def _ratio(seconds: float, other: float | None) -> float | None:
    return None if other is None else round(seconds / other, 2)


if __name__ == "__main__":
    main()
