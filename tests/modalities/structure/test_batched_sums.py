from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from omnimat.materials.record import Record
from omnimat.modalities.structure import batched_sums as module
from omnimat.modalities.structure import lattice_sums as numpy_module
from omnimat.modalities.structure.batched_sums import lattice_sums
from omnimat.modalities.structure.ewald import SummationPlan, pauli_decay
from omnimat.sources.tables.source import Table

# Both series are cut off for an error below 1e-8. They differ by less (1.3e-10 on 2,263 real
# crystals), because some more terms are summed for a padded crystal.
EQUAL = {"rtol": 0, "atol": 1e-9}
TRICLINIC = np.array([[4.1, 0.3, -0.2], [-1.2, 5.0, 0.4], [0.7, 1.1, 6.2]])
SHAPES = {
    "one atom": (TRICLINIC * 0.7, 1),
    "plain": (TRICLINIC, 4),
    "skew": (np.array([[1, 0, 0], [9, 1, 0], [-70, 11, 1]]) @ TRICLINIC, 5),
    "left-handed": (TRICLINIC[[1, 0, 2]], 4),
    "needle": (TRICLINIC * np.array([[0.8], [0.8], [9]]), 12),
    "slab": (TRICLINIC * np.array([[3], [3], [0.6]]), 16),
    "dilute": (TRICLINIC * 5, 2),
    "large": (TRICLINIC * 2.8, 120),
}
Crystal = tuple[np.ndarray, np.ndarray]


def crystal(lattice: np.ndarray, num_atoms: int) -> Crystal:
    """Return a cell with atoms at random positions, some of them outside the cell."""
    return lattice, np.random.default_rng(num_atoms).uniform(-1, 2, (num_atoms, 3))


AWKWARD = [crystal(*shape) for shape in SHAPES.values()]


def batch(crystals: list[Crystal], decay: float = 3.0) -> tuple[Tensor, ...]:
    lattices, fractional = zip(*crystals, strict=True)
    return (
        torch.from_numpy(np.stack(lattices)),
        torch.from_numpy(np.concatenate(fractional)),
        torch.tensor([len(f) for f in fractional]),
        torch.full((len(crystals),), decay, dtype=torch.float64),
    )


def in_numpy(crystals: list[Crystal], **settings: Any) -> Tensor:
    sums = [numpy_module.lattice_sums(*crystal, **settings) for crystal in crystals]
    return torch.from_numpy(np.concatenate(sums))


def test_equals_numpy_on_awkward_cells() -> None:
    """All cells are in one batch, not in the order of their size."""
    torch.testing.assert_close(lattice_sums(*batch(AWKWARD)), in_numpy(AWKWARD), **EQUAL)


@pytest.mark.parametrize("tolerance", [1e-4, 1e-12])
def test_keeps_another_tolerance(tolerance: float) -> None:
    converged = in_numpy(AWKWARD, tolerance=1e-14)
    error = (lattice_sums(*batch(AWKWARD), tolerance=tolerance) - converged).abs().max()
    assert error < tolerance


def test_equals_numpy_for_the_reference_scaling() -> None:
    """With this scaling, every crystal has its own decay."""
    volumes = [abs(np.linalg.det(lattice)) for lattice, _ in AWKWARD]
    decays = torch.tensor(
        [pauli_decay(3.0, "reference", volume) for volume in volumes], dtype=torch.float64
    )
    sums = lattice_sums(*batch(AWKWARD)[:3], decays)
    torch.testing.assert_close(sums, in_numpy(AWKWARD, pauli_scaling="reference"), **EQUAL)


@pytest.mark.parametrize(
    ("source", "start", "stop"),
    [
        (lambda data: Table(path=f"{data}/mp408/mp408.parquet", mapping="multimodal"), 0, 64),
        (lambda data: Table(path=f"{data}/mp20/val.csv.gz", mapping="mp20", max_records=32), 0, 32),
        (lambda data: Table(path=f"{data}/mp118k/structures.parquet", mapping="cells"), 0, 64),
    ],
    ids=["mp408", "mp20", "mp118k"],
)
def test_equals_numpy_on_real_crystals(shared_data, source, start: int, stop: int) -> None:
    records = [r for r in source(shared_data).located().read(start, stop) if isinstance(r, Record)]
    assert len(records) > 0.9 * (stop - start)
    crystals = [(r.structure.lattice_angstrom, r.structure.frac_coords) for r in records]
    torch.testing.assert_close(lattice_sums(*batch(crystals)), in_numpy(crystals), **EQUAL)


def test_a_batch_equals_its_crystals_one_by_one() -> None:
    alone = [lattice_sums(*batch([crystal])) for crystal in AWKWARD]
    torch.testing.assert_close(lattice_sums(*batch(AWKWARD)), torch.cat(alone), **EQUAL)


def test_blocks_and_groups_do_not_change_the_sums(monkeypatch) -> None:
    whole = lattice_sums(*batch(AWKWARD))
    monkeypatch.setattr(module, "_NUMBERS_PER_BLOCK", 1000)
    torch.testing.assert_close(lattice_sums(*batch(AWKWARD)), whole, **EQUAL)


def test_groups_cover_all_and_hold_no_more_than_they_may() -> None:
    sizes = np.sort(np.random.default_rng(0).integers(1, 80, 500))
    lattices = TRICLINIC * np.cbrt(sizes / 8)[:, None, None]
    plan = SummationPlan.of(lattices, sizes, 1e-8)
    groups = list(module._groups(plan, sizes))
    assert [i for group in groups for i in range(group.start, group.stop)] == list(range(500))
    assert len(groups) < 100
    for group in groups:
        num_crystals, largest = group.stop - group.start, sizes[group.stop - 1]
        assert largest <= 1.25 * sizes[group.start]
        num_waves = (2 * plan.reciprocal_extents[group].max(axis=0) + 1).prod()
        assert num_crystals == 1 or num_crystals * largest * num_waves <= 1.01 * 2**22


def test_the_work_of_the_host_does_not_grow_with_the_crystals() -> None:
    """20 crystals take as many operations as 2, and so as many waits for a device."""

    class Counted(TorchDispatchMode):
        calls = 0

        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            self.calls += 1
            return function(*args, **(kwargs or {}))

    calls = []
    for num_crystals in (2, 20):
        with Counted() as counted:
            lattice_sums(*batch([crystal(TRICLINIC, 4)] * num_crystals))
        calls.append(counted.calls)
    assert calls[0] == calls[1] > 0


def test_an_empty_batch_has_no_sums() -> None:
    empty = (torch.zeros(0, 3, 3), torch.zeros(0, 3), torch.zeros(0, dtype=torch.int64))
    assert lattice_sums(*empty, torch.zeros(0)).shape == (0, 3)


def test_neither_autocast_nor_gradients_reach_it() -> None:
    arguments = batch(AWKWARD[:3])
    expected = lattice_sums(*arguments)
    arguments[1].requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        sums = lattice_sums(*arguments)
    assert not sums.requires_grad
    torch.testing.assert_close(sums, expected, rtol=0, atol=0)


def test_coincident_atoms_spoil_no_other_crystal() -> None:
    twice = (TRICLINIC, np.array([[0.1, 0.2, 0.3], [0.1, 0.2, 0.3], [0.6, 0.5, 0.4]]))
    sums = lattice_sums(*batch([twice, AWKWARD[1]]))
    torch.testing.assert_close(sums[6:], in_numpy(AWKWARD[1:2]), **EQUAL)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_the_gpu_equals_the_cpu() -> None:
    arguments = batch(AWKWARD * 4)
    sums = lattice_sums(*(argument.cuda() for argument in arguments))
    assert sums.is_cuda
    # The same terms are summed in another order.
    torch.testing.assert_close(sums.cpu(), lattice_sums(*arguments), rtol=1e-10, atol=1e-11)
