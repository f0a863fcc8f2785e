"""Pair densities against crystals whose neighbours are known, however these are written."""

import numpy as np
import pytest
from pydantic import ValidationError

from omnimat.materials.record import Record, Structure
from omnimat.modalities.choices import ModalityChoices
from omnimat.modalities.geometry.features import PairDensity
from omnimat.modalities.views import RandomViews
from omnimat.testing.materials import example_records, permuted, repeated, rotated, translated

SIMPLE_CUBIC = Structure(3.0 * np.eye(3), np.array([84]), np.zeros((1, 3)))
ROCKSALT = Structure(
    2.82 * (np.ones((3, 3)) - np.eye(3)), np.array([11, 17]), np.array([[0.0] * 3, [0.5] * 3])
)


def num_atoms_between(featurizer, curve, first, last):
    """Integrate 4 pi r^2 n(r)."""
    radii = featurizer.distances_angstrom
    inside = (radii >= first) & (radii <= last)
    return np.sum((4 * np.pi * radii**2 * curve)[inside]) * featurizer.step_angstrom


def test_shells_hold_the_atoms_that_are_there():
    fine = PairDensity(step_angstrom=0.05)
    of_all, of_same = fine.curves(SIMPLE_CUBIC)
    np.testing.assert_array_equal(of_all, of_same)
    # 6 at 3 angstrom, 12 at 3 sqrt 2; the sum over a smooth curve is its integral to 1e-6.
    assert num_atoms_between(fine, of_all, 2.5, 3.5) == pytest.approx(6, rel=1e-4)
    assert num_atoms_between(fine, of_all, 3.8, 4.6) == pytest.approx(12, rel=1e-4)
    of_all, of_same = fine.curves(ROCKSALT)
    assert num_atoms_between(fine, of_all, 2.4, 3.2) == pytest.approx(6, rel=1e-4)
    assert num_atoms_between(fine, of_same, 2.4, 3.2) == pytest.approx(0, abs=1e-4)
    assert num_atoms_between(fine, of_same, 3.6, 4.3) == pytest.approx(12, rel=1e-4)


def test_it_tends_to_the_number_density():
    far = PairDensity(first_angstrom=14.0, last_angstrom=18.0, step_angstrom=1.0)
    # Smearing over an angstrom leaves ripples of some percent.
    np.testing.assert_allclose(far.curves(SIMPLE_CUBIC)[0], 1 / 27, rtol=0.05)


@pytest.mark.parametrize("rewrite", [permuted, rotated, translated, repeated])
def test_however_a_crystal_is_written_it_is_the_same(rewrite):
    for record in example_records()[:4]:
        ours = PairDensity().curves(record.structure)
        # Edge vectors are float32.
        np.testing.assert_allclose(
            PairDensity().curves(rewrite(record.structure)), ours, rtol=1e-4, atol=1e-7
        )


def test_the_geometry_of_a_distorted_view_is_that_of_the_record():
    choices = ModalityChoices(
        structure={"featurizer": {"lattice_sums": "none"}, "augmentation": {}, "encoder": None},
        geometry={},
    )
    views = RandomViews(seed=3, augmentations=choices.augmentations())
    extractors = views.extractors(choices.featurizers(), epoch=0, view=0)
    record = Record("a", parts={"structure": ROCKSALT})
    shown, as_it_is = extractors["structure"](record), choices.structure.featurizer(record)
    moved = [arrays["edge_vectors_angstrom"] for arrays in (shown, as_it_is)]
    assert moved[0].shape != moved[1].shape or np.abs(moved[0] - moved[1]).max() > 0.01
    np.testing.assert_array_equal(
        extractors["geometry"](record)["atoms_per_angstrom3"],
        PairDensity()(record)["atoms_per_angstrom3"],
    )


def test_nothing_embeds_it():
    assert ModalityChoices(structure={}, geometry={}).encoders().keys() == {"structure"}
    with pytest.raises(ValidationError, match=r"geometry\.encoder"):
        ModalityChoices(geometry={"encoder": {"type": "property_mlp"}})


def test_distances_must_rise():
    with pytest.raises(ValidationError, match="first_angstrom must be less"):
        PairDensity(first_angstrom=8.0)
