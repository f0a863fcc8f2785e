"""The metrics against scikit-learn's."""

import numpy as np
import pytest
from sklearn import metrics as reference

from omnimat.leaderboard.metrics import METRICS, accuracy, mean_absolute_error

GENERATOR_SEED = 11


@pytest.mark.parametrize("shape", [(40,), (40, 15)])
def test_regression(shape):
    generator = np.random.default_rng(GENERATOR_SEED)
    targets, predictions = generator.normal(size=(2, *shape))
    expected = reference.mean_absolute_error(targets, predictions)
    assert METRICS["mae"].function(targets, predictions) == pytest.approx(expected, rel=1e-12)
    assert not METRICS["mae"].higher_is_better


@pytest.mark.parametrize("name", ["mae", "accuracy"])
@pytest.mark.parametrize("shape", [(40,), (40, 15)])
def test_the_score_is_the_mean_of_those_of_the_materials(name, shape):
    if name == "accuracy":
        shape = shape[:1]
    targets, predictions = np.random.default_rng(GENERATOR_SEED).integers(3, size=(2, *shape))
    metric = METRICS[name]
    each = metric.of_each(targets, predictions)
    assert each.shape == (40,)
    assert each.mean() == pytest.approx(metric.function(targets, predictions), rel=1e-12)


@pytest.mark.parametrize("labels", [np.arange(4), np.array(["cubic", "hexagonal", "triclinic"])])
def test_classification(labels):
    generator = np.random.default_rng(GENERATOR_SEED)
    targets = np.append(generator.choice(labels[:-1], size=60), labels[-1])
    predictions = np.where(generator.random(61) < 0.6, targets, labels[0])
    assert METRICS["accuracy"].function(targets, predictions) == pytest.approx(
        reference.accuracy_score(targets, predictions), rel=1e-12
    )
    assert METRICS["accuracy"].higher_is_better


def test_refuses_what_cannot_be_compared():
    with pytest.raises(ValueError, match="compared"):
        mean_absolute_error([1.0, 2.0], [[1.0], [2.0]])
    with pytest.raises(ValueError, match="compared"):
        accuracy([], [])
    with pytest.raises(ValueError, match="finite"):
        mean_absolute_error([1.0, np.nan], [1.0, 2.0])
