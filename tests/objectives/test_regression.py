"""The loss of a regression against a loop over its numbers, and what it refuses."""

import dataclasses

import numpy as np
import pytest
import torch

from omnimat.base.errors import UserError
from omnimat.base.workspace import Workspace
from omnimat.modalities.layout import Vector
from omnimat.modalities.properties.features import PropertyValues
from omnimat.modalities.structure.features import CrystalGraph
from omnimat.modalities.tensors import ModalityTensors
from omnimat.modalities.xrd.features import XrdPattern
from omnimat.objectives.regression import RegressionSettings, vector_of
from omnimat.objectives.targets import Targets
from omnimat.testing.materials import example_records

NUM_ROWS = 9

VECTOR = Vector("values", 6, mask="is_known", widths=(1, 1, 3, 1), is_standard=True)
# float64 sums in another order.
EXACT = {"rtol": 1e-12, "atol": 1e-14}


def term(**keys) -> RegressionSettings:
    return RegressionSettings.model_validate({"from": "structure", "to": "properties"} | keys)


def batch() -> dict[str, ModalityTensors]:
    """Rows 1, 3, 5 and 7 have properties, in another order, and row 5 has no structure."""
    generator = torch.Generator().manual_seed(3)
    rows = torch.tensor([3, 1, 7, 5])
    values = torch.randn(4, VECTOR.size, generator=generator, dtype=torch.float64)
    is_known = torch.tensor([[1, 0, 1, 0], [0, 1, 1, 1], [1, 1, 0, 0], [1, 1, 1, 1]]).float()
    return {
        "structure": ModalityTensors(torch.tensor([0, 1, 2, 3, 4, 6, 7, 8]), {}),
        "properties": ModalityTensors(rows, {"values": values, "is_known": is_known}),
    }


def naive_loss(settings: RegressionSettings, predicted: torch.Tensor) -> torch.Tensor:
    """Go through the numbers one by one."""
    given = batch()
    total, count = torch.zeros(()), 0
    for place, row in enumerate(given["properties"].rows.tolist()):
        first = 0
        for known, width in zip(
            given["properties"].arrays["is_known"][place], VECTOR.widths, strict=True
        ):
            if known and row in given["structure"].rows:
                count += 1
                for column in range(first, first + width):
                    error = (
                        predicted[row, column] - given["properties"].arrays["values"][place, column]
                    )
                    total = total + (error.abs() if settings.loss == "absolute" else error**2)
            first += width
    return total / count


def predictions() -> torch.Tensor:
    generator = torch.Generator().manual_seed(5)
    drawn = torch.randn(NUM_ROWS, VECTOR.size, generator=generator, dtype=torch.float64)
    return drawn.requires_grad_()


@pytest.mark.parametrize("loss", ["absolute", "squared"])
def test_equals_a_loop_in_value_and_gradient(loss):
    settings, predicted = term(loss=loss), predictions()
    expected = naive_loss(settings, predicted)
    targets = settings.targets(VECTOR, batch(), NUM_ROWS)
    ours = settings.share(predicted, targets, targets.num_known)
    torch.testing.assert_close(ours, expected, **EXACT)
    (slope,) = torch.autograd.grad(ours, predicted)
    torch.testing.assert_close(slope, torch.autograd.grad(expected, predicted)[0], **EXACT)
    assert not slope[~targets.is_known].any()
    assert targets.is_known.any(1).nonzero().flatten().tolist() == [1, 3, 7]


def test_shares_of_workers_that_know_more_or_less_add_up():
    settings, predicted = term(), predictions()
    whole = settings.targets(VECTOR, batch(), NUM_ROWS)
    expected = settings.share(predicted, whole, whole.num_known)
    cuts = [slice(0, 1), slice(1, 4), slice(4, NUM_ROWS)]  # the first knows nothing
    shares = [
        settings.share(
            predicted[rows],
            Targets(whole.values[rows], whole.is_known[rows], whole.num_known),
            whole.num_known,
        )
        for rows in cuts
    ]
    assert float(shares[0].detach()) == 0
    torch.testing.assert_close(torch.stack(shares).sum(), expected, **EXACT)


@pytest.mark.parametrize("missing", ["structure", "properties"])
def test_a_batch_that_knows_nothing_is_zero_and_connected(missing):
    given, predicted, nowhere = batch(), predictions(), torch.tensor([], dtype=torch.int64)
    arrays = {name: array[:0] for name, array in given[missing].arrays.items()}
    given[missing] = ModalityTensors(nowhere, arrays)
    targets = term().targets(VECTOR, given, NUM_ROWS)
    loss = term().share(predicted, targets, targets.num_known)
    (slope,) = torch.autograd.grad(loss, predicted)
    assert float(loss.detach()) == 0
    assert not slope.any()


def test_a_curve_is_standardised_by_what_training_records_show():
    pattern = XrdPattern(step_degree=2.0, smearing_sigma_degree=1.0)
    records = example_records()
    settings = term(to="xrd").located(pattern, lambda parts: iter(records))
    rows = torch.arange(len(records))
    curves = torch.from_numpy(np.stack([pattern(one)["intensity"] for one in records]))
    given = {name: ModalityTensors(rows, {"intensity": curves}) for name in ("structure", "xrd")}
    targets = settings.targets(vector_of(pattern), given, len(records))
    assert targets.values.shape == (len(records), 45)
    assert targets.is_known.all()
    assert int(targets.num_known) == targets.values.numel()
    # In float32, of numbers up to 100.
    np.testing.assert_allclose(targets.values.mean(), 0, atol=1e-5)
    np.testing.assert_allclose(targets.values.std(correction=0), 1, rtol=1e-5)
    again = settings.located(pattern, lambda parts: pytest.fail("measured again"))
    assert again == settings


def test_properties_are_standard_by_themselves():
    chosen = PropertyValues(numbers=("density_g_per_cm3",), classes=("crystal_system",))
    assert vector_of(chosen).is_standard  # before anything is measured
    located = chosen.located(Workspace.open(), lambda parts: iter(example_records()))
    num_labels = len(located.statistics.classes["crystal_system"])
    assert located.vector == Vector(
        "values", 1 + num_labels, "is_known", (1, num_labels), is_standard=True
    )
    assert term().located(located, lambda parts: pytest.fail("measured")) == term()


def test_what_no_training_record_has_is_refused():
    bare = [dataclasses.replace(one, parts={}) for one in example_records()]
    with pytest.raises(UserError, match=r"first 256 training records gives xrd.*featurizer"):
        term(to="xrd").located(XrdPattern(), lambda parts: iter(bare))


def test_a_ragged_modality_is_refused():
    with pytest.raises(UserError, match=r"structure cannot be predicted.*'crystal_graph'"):
        vector_of(CrystalGraph())


def test_survives_json():
    settings = term(weight=0.3, hidden_widths=[8], scale={"mean": 1.0, "standard_deviation": 2.0})
    again = RegressionSettings.model_validate(settings.model_dump(mode="json"))
    assert again == settings
    assert again.fingerprint() == settings.fingerprint()
