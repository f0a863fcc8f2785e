from collections.abc import Callable

import pytest
import torch
from torch import Tensor

MakeArrays = Callable[..., dict[str, Tensor]]


def _crystals(num_atoms: list[int], generator: torch.Generator) -> dict[str, Tensor]:
    """Random crystals: a ring and some chords for edges, both directions of each."""
    numbers, sources, targets, vectors, pairs = [], [], [], [], []
    first = 0
    for n in num_atoms:
        numbers.append(torch.randint(1, 95, (n,), generator=generator))
        one = torch.randint(0, n, (6 * n,), generator=generator) + first
        other = torch.randint(0, n, (6 * n,), generator=generator) + first
        directions = torch.randn(6 * n, 3, generator=generator)
        lengths = 1.5 + 3 * torch.rand(6 * n, 1, generator=generator)
        vector = lengths * directions / directions.norm(dim=1, keepdim=True)
        sources += [one, other]
        targets += [other, one]
        vectors += [vector, -vector]
        pairs.append(torch.randn(n * (n + 1) // 2, 3, generator=generator))
        first += n
    none = torch.zeros(0)
    return {
        "atomic_numbers": torch.cat([none, *numbers]).int(),
        "edge_sources": torch.cat([none, *sources]).int(),
        "edge_targets": torch.cat([none, *targets]).int(),
        "edge_vectors_angstrom": torch.cat([torch.zeros(0, 3), *vectors]),
        "pair_potentials": torch.cat([torch.zeros(0, 3), *pairs]),
        "num_atoms": torch.tensor(num_atoms, dtype=torch.int64),
        "num_edges": torch.tensor([12 * n for n in num_atoms], dtype=torch.int64),
        "num_pairs": torch.tensor([n * (n + 1) // 2 for n in num_atoms], dtype=torch.int64),
    }


def _blobs(centres: Tensor, widths: Tensor) -> Tensor:
    """One Gaussian a cell: (n, 3, 1) centres and (n, 1) widths to (n, 32, 32, 32)."""
    offsets = torch.arange(32) / 32 - centres
    x, y, z = torch.exp(-offsets.square() / (0.05 + 0.1 * widths[..., None])).unbind(1)
    return 300 * x[:, :, None, None] * y[:, None, :, None] * z[:, None, None, :]


def _arrays(modality: str, sizes: list[int], seed: int = 0) -> dict[str, Tensor]:
    """Random arrays of ``len(sizes)`` materials; ``sizes`` are the numbers of atoms."""
    generator = torch.Generator().manual_seed(seed)
    n = len(sizes)

    def uniform(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator)

    if modality == "structure":
        return _crystals(sizes, generator)
    if modality == "dos":
        energies = 20 * uniform(n, 61) - 15
        return {"energies_ev": energies, "dos_per_ev": 30 * uniform(n, 61)}
    if modality == "charge_density":
        return {"density": _blobs(uniform(n, 3, 1), uniform(n, 1))}
    if modality == "text":
        return {"embedding": uniform(n, 768) - 0.5}
    if modality == "xrd":
        return {"intensity": 100 * uniform(n, 301)}
    return {"magpie": uniform(n, 132) * torch.logspace(-2, 3, 132)}


@pytest.fixture(scope="session")
def make_arrays() -> MakeArrays:
    return _arrays


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)
