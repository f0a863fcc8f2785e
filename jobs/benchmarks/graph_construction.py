#!/usr/bin/env python
"""The speed of building crystal graphs, against what others use to find the same neighbours.

They find every periodic neighbour within the cutoff, or across the faces of Voronoi cells, and give
indices and vectors; they take turns. torch_geometric is not among them, since its radius_graph
knows no periodic cells.
"""

import math
from collections.abc import Callable
from importlib.util import find_spec

import click
import numpy as np
from measure import interleaved, report
from pymatgen.core import Structure as PymatgenStructure

from omnimat.materials.crystals import to_pymatgen
from omnimat.materials.record import Record
from omnimat.modalities.structure.features import CrystalGraph
from omnimat.testing.materials import example_records

Edges = tuple[np.ndarray, np.ndarray, np.ndarray]
Build = Callable[[PymatgenStructure, float], Edges]

FACES = CrystalGraph(neighbors="voronoi", max_neighbors=None, lattice_sums="none")


def of_neighbor_list(crystal: PymatgenStructure, cutoff_angstrom: float) -> Edges:
    """Use pymatgen's arrays of neighbours."""
    sources, targets, images, _ = crystal.get_neighbor_list(cutoff_angstrom)
    steps = crystal.frac_coords[targets] + images - crystal.frac_coords[sources]
    return sources, targets, steps @ crystal.lattice.matrix


def of_all_neighbors(crystal: PymatgenStructure, cutoff_angstrom: float) -> Edges:
    """Use pymatgen's lists of neighbour objects, like most published code."""
    found = crystal.get_all_neighbors(cutoff_angstrom)
    rows = [
        (i, n.index, *(n.coords - crystal[i].coords)) for i, near in enumerate(found) for n in near
    ]
    table = np.array(rows).reshape(-1, 5)
    return table[:, 0].astype(int), table[:, 1].astype(int), table[:, 2:]


def of_ase(crystal: PymatgenStructure, cutoff_angstrom: float) -> Edges:
    """Use ASE's neighbour list."""
    from ase import Atoms
    from ase.neighborlist import neighbor_list

    atoms = Atoms(
        crystal.atomic_numbers, cell=crystal.lattice.matrix, pbc=True, positions=crystal.cart_coords
    )
    sources, targets, vectors = neighbor_list("ijD", atoms, cutoff_angstrom)
    return sources, targets, vectors


def of_voronoi_nn(crystal: PymatgenStructure, cutoff_angstrom: float) -> Edges:
    """Use pymatgen's Voronoi cells, of the atoms within 10 angstrom."""
    from pymatgen.analysis.local_env import VoronoiNN

    del cutoff_angstrom
    finder = VoronoiNN(tol=0, cutoff=10, compute_adj_neighbors=False)
    smallest = 4 * math.pi * FACES.min_solid_angle_fraction
    found = [
        (i, face["site_index"], *face["image"])
        for i, faces in enumerate(finder.get_all_nn_info(crystal))
        for face in faces
        if face["poly_info"]["solid_angle"] >= smallest
    ]
    table = np.array(found, dtype=int).reshape(-1, 5)
    sources, targets, images = table[:, 0], table[:, 1], table[:, 2:]
    steps = crystal.frac_coords[targets] + images - crystal.frac_coords[sources]
    return sources, targets, steps @ crystal.lattice.matrix


@click.command()
@click.option("--materials", default=30, show_default=True)
@click.option("--max-atoms", default=20, show_default=True)
@click.option("--cutoff", "cutoff_angstrom", default=5.0, show_default=True)
@click.option("--repeats", default=5, show_default=True)
def main(materials: int, max_atoms: int, cutoff_angstrom: float, repeats: int) -> None:
    """Build the graphs of the embedded crystals in every way that is installed."""
    records = example_records(materials, max_atoms)
    crystals = [to_pymatgen(record.structure) for record in records]
    graph = CrystalGraph(
        neighbors="within_cutoff",
        cutoff_angstrom=cutoff_angstrom,
        max_neighbors=None,
        lattice_sums="none",
    )
    within = "omnimat within_cutoff"
    ours = {within: (graph, cutoff_angstrom), "omnimat voronoi": (FACES, math.inf)}
    peers: dict[str, tuple[str, Build]] = {
        "pymatgen get_neighbor_list": (within, of_neighbor_list),
        "pymatgen get_all_neighbors": (within, of_all_neighbors),
        "pymatgen VoronoiNN": ("omnimat voronoi", of_voronoi_nn),
    }
    if find_spec("ase"):
        peers["ase neighbor_list"] = (within, of_ase)
    functions: dict[str, Callable[[], object]] = {
        name: lambda graph=graph: [graph(r) for r in records] for name, (graph, _) in ours.items()
    }
    for name, (like, build) in peers.items():
        check(records, crystals, ours[like][0], build, ours[like][1])
        functions[name] = lambda build=build: [build(c, cutoff_angstrom) for c in crystals]
    seconds = interleaved(functions, repeats)
    rows = [
        {
            "by": name,
            "ms_per_crystal": round(1000 * value / len(records), 3),
            "crystals_per_s": round(len(records) / value, 1),
            "time_over_ours": round(value / seconds[peers[name][0] if name in peers else name], 2),
        }
        for name, value in seconds.items()
    ]
    atoms = sum(len(crystal) for crystal in crystals)
    edges = [sum(len(one(r)["edge_sources"]) for r in records) for one, _ in ours.values()]
    report(
        "crystal graphs",
        rows,
        crystals=len(records),
        atoms=atoms,
        edges=edges,
        cutoff=cutoff_angstrom,
    )


def check(
    records: tuple[Record, ...],
    crystals: list[PymatgenStructure],
    graph: CrystalGraph,
    build: Build,
    cutoff_angstrom: float,
) -> None:
    """Make sure that both find the same lengths, or the times could not be compared."""
    for record, crystal in zip(records, crystals, strict=True):
        ours = np.linalg.norm(graph(record)["edge_vectors_angstrom"], axis=1)
        theirs = np.linalg.norm(build(crystal, cutoff_angstrom)[2], axis=1)
        clear = [np.sort(d[d < cutoff_angstrom - 0.01]) for d in (ours, theirs)]
        np.testing.assert_allclose(*clear, atol=1e-4, err_msg=record.material_id)


if __name__ == "__main__":
    main()
