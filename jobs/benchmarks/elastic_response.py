#!/usr/bin/env python
r"""CHGNet's energy, forces and stress of strained crystals on one core: ours, and its own function.

    pip install 'omnimat[forcefield]'
    OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1 \
        python jobs/benchmarks/elastic_response.py

Ours finds the neighbours once for all twelve strains, takes one pass back and rounds numbers below
1e-38 to zero. CHGNet's own function is given the twelve strained crystals. Both come to the same
(tests/modalities/elastic_response). Crystals are the embedded prototypes.
"""

import os

import click
import numpy as np
import torch
from measure import THREAD_VARIABLES, interleaved, report
from pymatgen.core import Structure

from omnimat.materials.crystals import to_pymatgen
from omnimat.modalities.elastic_response import chgnet, elasticity
from omnimat.testing.materials import example_records

STRAIN = 0.02  # as the featurizer's


@click.command()
@click.option("--count", default=16, show_default=True, help="How many prototypes.")
@click.option("--max-atoms", default=24, show_default=True, help="Their largest number of atoms.")
@click.option("--repeats", default=3, show_default=True)
def main(count: int, max_atoms: int, repeats: int) -> None:
    """Strain prototypes by both in turn."""
    if any(os.environ.get(name) != "1" for name in THREAD_VARIABLES):
        raise click.UsageError(f"set {', '.join(THREAD_VARIABLES)} to 1, for the figures of a core")
    torch.set_num_threads(1)
    chgnet.require_forcefield_extra()
    from chgnet.model import CHGNet

    crystals = [one.structure for one in example_records(count, max_atoms=max_atoms)]
    strains = elasticity.strains(STRAIN)
    model = CHGNet.load(use_device="cpu", verbose=False)

    def ours() -> None:
        for crystal in crystals:
            chgnet.answers(crystal, strains)

    def its_own() -> None:
        for given in map(to_pymatgen, crystals):
            cells = [given.lattice.matrix @ (np.eye(3) + strain) for strain in strains]
            strained = [Structure(cell, given.species, given.frac_coords) for cell in cells]
            model.predict_structure(strained, task="efs")

    seconds = interleaved({"omnimat": ours, "CHGNet's predict_structure": its_own}, repeats)
    rows = [{"": name, "s_per_crystal": round(one / count, 3)} for name, one in seconds.items()]
    ours_s, its_own_s = seconds.values()
    title = f"{len(strains)} strains of a crystal, one core"
    mean_atoms = round(float(np.mean([len(one.atomic_numbers) for one in crystals])), 1)
    ratio = round(its_own_s / ours_s, 2)
    report(title, rows, crystals=count, mean_atoms=mean_atoms, times_as_long=ratio)
    print(f"CHGNet's own function takes {ratio} times as long")


if __name__ == "__main__":
    main()
