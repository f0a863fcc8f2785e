"""Energies, stresses and forces of CHGNet, a force field whose weights come with its wheel.

Deng et al., "CHGNet as a pretrained universal neural network potential for charge-informed
atomistic modelling", Nature Machine Intelligence 5 (2023). It was trained on MPtrj: energies,
forces, stresses and magnetic moments along relaxations of the Materials Project. It has seen no
modulus, but most crystals of the Materials Project.

The wheel belongs to the extra ``forcefield``, so it is imported where it is used.
"""

from __future__ import annotations

import copy
import functools
import hashlib
import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import replace
from importlib import metadata, resources
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from omnimat.base.errors import UserError
from omnimat.materials.crystals import to_pymatgen
from omnimat.materials.record import Structure

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

Float = NDArray[np.float64]

_WEIGHTS = ("pretrained", "0.3.0", "chgnet_0.3.0_e29f68s314m37.pth.tar")
_LAST_ELEMENT = 94
_ATOMS_AT_A_TIME = 128  # some 10 MB each
_GPA_PER_EV_PER_ANGSTROM3 = 160.21766208  # as CHGNet has it


class Answers(NamedTuple):
    """What CHGNet tells of a crystal of n atoms under m strains.

    Attributes:
        energies_ev_per_atom: energies as those of the Materials Project, (m,).
        stresses_gpa: derivative of the energy by strain over the volume, so that it is positive
            under tension, (m, 3, 3).
        forces_ev_per_angstrom: forces on the atoms, (m, n, 3).
    """

    energies_ev_per_atom: Float
    stresses_gpa: Float
    forces_ev_per_angstrom: Float


def require_forcefield_extra() -> None:
    """Check that CHGNet is installed.

    Raises:
        UserError: it is not.
    """
    if find_spec("chgnet") is None:
        raise UserError("chgnet is not installed; run: pip install 'omnimat[forcefield]'")


def chgnet_version() -> str:
    """Return the version of the wheel."""
    return metadata.version("chgnet")


def weights_sha256() -> str:
    """Return the SHA-256 hash of the weights, a file of some MB."""
    return hashlib.sha256(_weights().read_bytes()).hexdigest()


def answers(structure: Structure, strains: Float, sha256: str | None = None) -> Answers:
    """Strain a crystal, whose atoms go along with the cell, and ask for energies and derivatives.

    Args:
        structure: the crystal.
        strains: symmetric strains, (m, 3, 3) with m > 1.
        sha256: the hash that its weights must have; None for any.

    Raises:
        ValueError: CHGNet does not know an element, or an atom is alone within its 6 angstrom.
        UserError: it is not installed, or has other weights.
    """
    if (beyond := structure.atomic_numbers.max()) > _LAST_ELEMENT:
        raise ValueError(f"CHGNet knows no element beyond number {_LAST_ELEMENT}; one is {beyond}")
    model = _loaded(sha256)
    graph = _graph(model, structure, largest=float(np.linalg.norm(strains, axis=(1, 2)).max()))
    strained = [_strained(graph, strain) for strain in strains]
    at_a_time = max(1, _ATOMS_AT_A_TIME // len(structure.atomic_numbers))
    with warnings.catch_warnings(), _without_denormals():
        warnings.simplefilter("ignore")  # of how it takes volumes
        told = [
            _told(model, strained[first : first + at_a_time])
            for first in range(0, len(strained), at_a_time)
        ]
    return Answers(*(np.concatenate(parts, dtype=np.float64) for parts in zip(*told, strict=True)))


def _told(model: Any, graphs: list[Any]) -> Answers:
    """Ask for several graphs at once.

    CHGNet's own function takes forces and stresses in two passes back, and keeps what a third would
    need. One pass without that costs half.
    """
    import torch
    from chgnet.model.model import BatchedGraph

    batch = BatchedGraph.from_graphs(
        graphs, model.bond_basis_expansion, model.angle_basis_expansion, compute_stress=True
    )
    per_atom = model._compute(batch)["e"]
    total = (per_atom * torch.bincount(batch.atom_owners)).sum()
    found = torch.autograd.grad(total, [*batch.atom_positions, *batch.strains])
    forces, by_strain = torch.stack(found[: len(graphs)]), torch.stack(found[len(graphs) :])
    volumes = batch.volumes[:, None, None]
    reference = model.composition_model(graphs)
    return Answers(
        (per_atom + reference).detach().numpy(),
        (_GPA_PER_EV_PER_ANGSTROM3 * by_strain / volumes).numpy(),
        -forces.numpy(),
    )


@contextmanager
def _without_denormals() -> Iterator[None]:
    """Take float32 numbers below 1e-38 as zero, which a processor multiplies far more slowly."""
    import torch

    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


def _graph(model: Any, structure: Structure, largest: float) -> Any:
    """Find all neighbours that a strain up to the largest brings within the cutoffs.

    Beyond its cutoff, a bond counts nothing.
    """
    from chgnet.graph import CrystalGraphConverter

    atoms, bonds = model.graph_converter.atom_graph_cutoff, model.graph_converter.bond_graph_cutoff
    reach = 1 / (1 - largest)
    converter = CrystalGraphConverter(
        atom_graph_cutoff=reach * atoms, bond_graph_cutoff=reach * bonds
    )
    if np.linalg.det(structure.lattice_angstrom) < 0:
        # CHGNet takes the volume of a left-handed cell as negative. The inverted crystal has the
        # same energies and stresses.
        structure = replace(structure, lattice_angstrom=-structure.lattice_angstrom)
    try:
        return converter(to_pymatgen(structure))
    except RuntimeError as error:
        raise ValueError(f"CHGNet finds no bonds: {error}") from error


def _strained(graph: Any, strain: Float) -> Any:
    import torch

    deformed = torch.from_numpy(np.eye(3) + strain).to(graph.lattice.dtype)
    other = copy.copy(graph)
    other.lattice = graph.lattice.detach() @ deformed
    return other


def _weights() -> Traversable:
    require_forcefield_extra()
    return resources.files("chgnet").joinpath(*_WEIGHTS)


@functools.lru_cache(maxsize=1)
def _loaded(sha256: str | None) -> Any:
    """Load the model once per process."""
    if sha256 not in {None, weights_sha256()}:
        raise UserError(
            f"the weights of chgnet {chgnet_version()} on this machine are not those of the job; "
            "install the version that it names"
        )
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of old packages that it imports
        from chgnet.model.model import CHGNet
    # CHGNet's own function would unpickle the file.
    with resources.as_file(_weights()) as path:
        told = torch.load(path, map_location="cpu", weights_only=True)["model"]
    with redirect_stdout(io.StringIO()):  # it says how many parameters it has
        model = CHGNet.from_dict(told)
    return model.eval().requires_grad_(False)
