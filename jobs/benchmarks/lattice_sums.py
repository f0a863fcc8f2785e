#!/usr/bin/env python
"""Time and error of the lattice sums by the size of the cell: NumPy, and torch on batches.

NumPy and torch on the CPU have one thread; where there is a GPU, a column for CUDA is added. The
error is that of cutting the series, found by comparison with the same sums cut at a tolerance of
1e-14. The published implementation takes about 0.5 ms for a pair of atoms: 55 ms for 10 atoms, and
460 ms for 30. These figures are cited and not measured here.
"""

import os
from collections.abc import Callable

from measure import THREAD_VARIABLES, interleaved, report

os.environ |= dict.fromkeys(THREAD_VARIABLES, "1")

import click  # from here on, because NumPy and torch read the variables on import
import numpy as np
import torch

from omnimat.modalities.structure.batched_sums import lattice_sums as batched_lattice_sums
from omnimat.modalities.structure.lattice_sums import lattice_sums

CITED_MS = {10: 55.0, 30: 460.0}
VOLUME_ANGSTROM3_PER_ATOM = 18.0  # that of a typical oxide
CONVERGED_TOLERANCE = 1e-14
PAULI_DECAY_PER_ANGSTROM = 3.0
Crystal = tuple[np.ndarray, np.ndarray]


@click.command()
@click.option("--sizes", default="2,5,10,20,30,50,100,200", show_default=True)
@click.option("--repeats", default=5, show_default=True)
@click.option("--tolerance", default=1e-8, show_default=True)
@click.option("--batch-size", default=64, show_default=True, help="Largest batch, in crystals.")
@click.option("--batch-pairs", default=40_000, show_default=True, help="Largest batch, in pairs.")
def main(sizes: str, repeats: int, tolerance: float, batch_size: int, batch_pairs: int) -> None:
    """Sum over random triclinic cells in which no two atoms come near each other."""
    rows = []
    for num_atoms in map(int, sizes.split(",")):
        num_pairs = num_atoms * (num_atoms + 1) // 2
        num_crystals = max(1, min(batch_size, batch_pairs // num_pairs))
        crystals = [cell(num_atoms, seed) for seed in range(num_crystals)]
        converged = in_numpy(crystals, CONVERGED_TOLERANCE)
        ways = ways_to_sum(crystals, tolerance)
        errors = {name: np.abs(sums() - converged).max() for name, sums in ways.items()}
        seconds = interleaved(ways, repeats)
        rows.append(
            {
                "atoms": num_atoms,
                "crystals": num_crystals,
                **{f"{name}_ms": round(1000 * s / num_crystals, 3) for name, s in seconds.items()},
                **{f"{name}_error": float(error) for name, error in errors.items()},
                "published_ms": CITED_MS.get(num_atoms),
            }
        )
    report("lattice sums, ms per crystal", rows, tolerance=tolerance, threads=1, gpu=gpu_name())


def ways_to_sum(crystals: list[Crystal], tolerance: float) -> dict[str, Callable[[], np.ndarray]]:
    """Give every way that works here to sum these crystals; the results are on the host."""
    ways = {
        "numpy": lambda: in_numpy(crystals, tolerance),
        "torch_cpu": lambda: in_torch(crystals, tolerance, "cpu"),
    }
    if torch.cuda.is_available():
        ways["torch_cuda"] = lambda: in_torch(crystals, tolerance, "cuda")
    return ways


def in_numpy(crystals: list[Crystal], tolerance: float) -> np.ndarray:
    """Sum crystal by crystal, as the featurizer does."""
    decay = PAULI_DECAY_PER_ANGSTROM
    return np.concatenate([lattice_sums(*c, decay, tolerance=tolerance) for c in crystals])


def in_torch(crystals: list[Crystal], tolerance: float, device: str) -> np.ndarray:
    """Sum the batch at once, including the transfers to the device and back."""
    lattices, fractional = zip(*crystals, strict=True)
    sums = batched_lattice_sums(
        torch.from_numpy(np.stack(lattices)).to(device),
        torch.from_numpy(np.concatenate(fractional)).to(device),
        torch.tensor([len(f) for f in fractional], device=device),
        torch.full((len(crystals),), PAULI_DECAY_PER_ANGSTROM, device=device),
        tolerance=tolerance,
    )
    return sums.cpu().numpy()


def gpu_name() -> str | None:
    """Return the name of the GPU, or None if there is none."""
    return torch.cuda.get_device_name() if torch.cuda.is_available() else None


def cell(num_atoms: int, seed: int) -> Crystal:
    """Displace the points of a grid in a skew cell of typical density."""
    generator = np.random.default_rng([num_atoms, seed])
    per_edge = int(np.ceil(num_atoms ** (1 / 3)))
    grid = np.indices((per_edge,) * 3).reshape(3, -1).T / per_edge
    chosen = generator.permutation(grid)[:num_atoms]
    fractional = chosen + generator.uniform(-0.15, 0.15, chosen.shape) / per_edge
    lattice = np.eye(3) + generator.uniform(-0.2, 0.2, (3, 3))
    volume = num_atoms * VOLUME_ANGSTROM3_PER_ATOM
    return lattice * (volume / abs(np.linalg.det(lattice))) ** (1 / 3), fractional


if __name__ == "__main__":
    main()
