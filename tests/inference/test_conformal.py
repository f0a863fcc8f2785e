import numpy as np
import pytest

from omnimat.inference.conformal import LEVELS, Calibration, covered
from omnimat.inference.domain import Reference


@pytest.mark.parametrize("members", [1, 5])
@pytest.mark.parametrize("num_materials", [20, 100, 1000])
def test_intervals_hold_the_stated_share_of_new_materials(members, num_materials):
    """On average over calibrations it is at least 90 %, and at most 1 / (N + 1) more."""
    generator = np.random.default_rng(num_materials + members)
    shares = []
    for _ in range(300):
        scale = generator.lognormal(0, 1, 2 * num_materials)  # some materials are harder
        truth = generator.standard_t(3, 2 * num_materials) * scale
        guesses = generator.standard_normal((members, 2 * num_materials)) * scale
        mean, spread = guesses.mean(axis=0), guesses.std(axis=0)
        seen, new = slice(num_materials), slice(num_materials, None)
        calibration = Calibration.fit(truth[seen], mean[seen], spread[seen])
        shares.append(covered(truth[new], mean[new], calibration.half_widths(spread[new])))
    error = 4 * np.std(shares) / np.sqrt(len(shares))
    assert 0.9 - error < np.mean(shares) < 0.9 + 1 / (num_materials + 1) + error


def test_intervals_of_every_level_hold_their_share_of_new_materials():
    generator = np.random.default_rng(0)
    truth, mean, spread = generator.standard_normal((3, 20_000))
    seen, new = slice(10_000), slice(10_000, None)
    calibration = Calibration.fit(truth[seen], mean[seen], np.abs(spread[seen]))
    held = calibration.held(truth[new], mean[new], np.abs(spread[new]))
    assert tuple(held) == LEVELS
    # Each share is known to 0.005 on either split; four standard errors of their difference.
    assert max(abs(share - wanted) for wanted, share in held.items()) < 0.03
    widths = calibration.half_widths(np.abs(spread[new]))
    assert held[0.9] == pytest.approx(covered(truth[new], mean[new], widths), abs=1e-3)


def test_few_materials_give_few_levels_and_an_old_card_gives_its_own():
    nine = Calibration.fit(np.arange(9.0), np.zeros(9), np.zeros(9))
    assert [one.coverage for one in nine.levels] == [*LEVELS[:-1]]
    old = nine.model_copy(update={"levels": ()})
    assert old.held(np.arange(18.0), np.zeros(18), np.zeros(18)) == {0.9: 0.5}


def test_too_few_materials_give_no_interval():
    numbers = np.arange(8.0)
    assert Calibration.fit(numbers, numbers + 1, np.zeros(8)) is None
    assert Calibration.fit(np.arange(9.0), np.zeros(9), np.zeros(9)).half_widths(np.zeros(1)) == 8


def test_errors_of_zero_give_an_interval_of_no_width():
    numbers = np.arange(20.0)
    calibration = Calibration.fit(numbers, numbers, np.zeros(20))
    assert calibration.half_widths(np.zeros(1)) == 0


def test_distance_does_not_depend_on_how_embeddings_are_turned_or_scaled():
    generator = np.random.default_rng(0)
    points = generator.standard_normal((500, 4)) * [1, 2, 3, 4]
    turned = points @ np.linalg.qr(generator.standard_normal((4, 4)))[0]
    distances = Reference.fit(points).distances(points)
    # Ledoit and Wolf shrink by the mean variance, which turning leaves as it is.
    np.testing.assert_allclose(Reference.fit(turned).distances(turned), distances, rtol=1e-6)
    assert distances.mean() == pytest.approx(1, abs=0.1)
    assert Reference.fit(points).distances(points[:1] + 100)[0] > 10


@pytest.mark.parametrize(
    "points",
    [np.ones((1, 3)), np.ones((5, 3)), np.eye(3)[:2], np.arange(8.0)[:, None] * [1, 0, 0]],
    ids=["one", "equal", "two", "on a line"],
)
def test_distance_is_finite_however_few_or_equal_the_training_materials_are(points):
    reference = Reference.fit(points)
    near, far = reference.distances(np.stack([points[0], points[0] + 1e3]))
    assert np.isfinite([near, far]).all()
    assert near < 2 < far
