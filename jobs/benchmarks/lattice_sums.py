#!/usr/bin/env python
"""Time and error of the lattice sums by size of the cell, on one thread.

The error is that of cutting the series: against the same sums cut at a tolerance of 1e-14. The
published implementation takes about 0.5 ms a pair of atoms: 55 ms at 10 atoms, 460 ms at 30. Those
are figures we cite and do not measure here.
"""

import os

from measure import THREAD_VARIABLES, interleaved, report

os.environ |= dict.fromkeys(THREAD_VARIABLES, "1")

import click  # NumPy reads the variables when it is loaded
import numpy as np

from omnimat.features.lattice_sums import lattice_sums

CITED_MS = {10: 55.0, 30: 460.0}
VOLUME_ANGSTROM3_PER_ATOM = 18.0  # of a typical oxide
CONVERGED_TOLERANCE = 1e-14
PAULI_DECAY_PER_ANGSTROM = 3.0
COLUMNS = ("coulomb", "london", "pauli")


@click.command()
@click.option("--sizes", default="2,5,10,20,30,50,100,200", show_default=True)
@click.option("--repeats", default=3, show_default=True)
@click.option("--tolerance", default=1e-8, show_default=True)
def main(sizes: str, repeats: int, tolerance: float) -> None:
    """Sum over random triclinic cells, no two atoms of which come near."""
    rows = []
    for num_atoms in map(int, sizes.split(",")):
        lattice, fractional = cell(num_atoms)
        arguments = (lattice, fractional, PAULI_DECAY_PER_ANGSTROM, "exact")
        exact = lattice_sums(*arguments, tolerance=CONVERGED_TOLERANCE)
        found = lattice_sums(*arguments, tolerance=tolerance)
        errors = np.abs(found - exact).max(axis=0)
        seconds = interleaved(
            {"ours": lambda a=arguments: lattice_sums(*a, tolerance=tolerance)}, repeats
        )
        ours_ms = 1000 * seconds["ours"]
        num_pairs = num_atoms * (num_atoms + 1) // 2
        rows.append(
            {
                "atoms": num_atoms,
                "ms": round(ours_ms, 3),
                "us_per_pair": round(1000 * ours_ms / num_pairs, 2),
                **{f"{name}_error": float(e) for name, e in zip(COLUMNS, errors, strict=True)},
                "published_ms_cited": CITED_MS.get(num_atoms),
            }
        )
    report("lattice sums, one thread", rows, tolerance=tolerance)


def cell(num_atoms: int) -> tuple[np.ndarray, np.ndarray]:
    """Displace the points of a grid in a skew cell of a typical density."""
    generator = np.random.default_rng(num_atoms)
    per_edge = int(np.ceil(num_atoms ** (1 / 3)))
    grid = np.indices((per_edge,) * 3).reshape(3, -1).T / per_edge
    chosen = generator.permutation(grid)[:num_atoms]
    fractional = chosen + generator.uniform(-0.15, 0.15, chosen.shape) / per_edge
    lattice = np.eye(3) + generator.uniform(-0.2, 0.2, (3, 3))
    volume = num_atoms * VOLUME_ANGSTROM3_PER_ATOM
    return lattice * (volume / abs(np.linalg.det(lattice))) ** (1 / 3), fractional


if __name__ == "__main__":
    main()
