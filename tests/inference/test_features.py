"""A batch is bounded by what its materials hold, so that large ones do not burst the memory."""

import itertools

import numpy as np
import pytest

from omnimat.inference import features
from omnimat.inference.features import batches, featurized
from omnimat.inference.package import Package
from omnimat.inference.unpacked import Unpacked
from omnimat.modalities.batch import Quarantined


@pytest.fixture(scope="module")
def unpacked(packed):
    import torch

    return Unpacked(Package(packed), torch.device("cpu"))


@pytest.fixture(scope="module")
def table(unpacked, records):
    given = [*records[:7], Quarantined("broken", "no lattice"), *records[7:40]]
    return featurized(
        [one.material_id for one in given], given, unpacked.featurizers(("structure",))
    )


def num_edges(table, rows):
    return sum(len(one or ()) for one in table.take(rows)["structure.edge_sources"].to_pylist())


@pytest.mark.parametrize(("max_rows", "max_items"), [(64, 10**9), (5, 10**9), (64, 200), (5, 200)])
def test_batches_are_all_rows_in_order_within_both_limits(
    unpacked, table, monkeypatch, max_rows, max_items
):
    monkeypatch.setattr(features, "MAX_ROWS", max_rows)
    monkeypatch.setattr(features, "MAX_ITEMS", max_items)
    cut = list(batches(table, unpacked.featurizers(("structure",))))
    assert np.concatenate(cut).tolist() == list(range(len(table)))
    assert all(0 < len(rows) <= max_rows for rows in cut)
    assert all(len(rows) == 1 or num_edges(table, rows) <= max_items for rows in cut)
    for rows, after in itertools.pairwise(cut):  # no batch could have taken one more
        both = np.append(rows, after[0])
        assert len(both) > max_rows or num_edges(table, both) > max_items


def test_how_batches_are_cut_changes_no_value(unpacked, table, monkeypatch):
    """But for the last digits of float32 sums."""
    wanted = unpacked.predict(table), unpacked.embed(table, "structure")
    monkeypatch.setattr(features, "MAX_ITEMS", 200)
    found = unpacked.predict(table), unpacked.embed(table, "structure")
    assert found[0].reasons == wanted[0].reasons
    assert [bool(one) for one in found[0].reasons] == [row == 7 for row in range(41)]
    # Float32 sums of a few hundred terms; an interval adds and subtracts in float64.
    numbers = wanted[0].table.select_dtypes("number")
    np.testing.assert_allclose(found[0].table[numbers.columns], numbers, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found[1].vectors, wanted[1].vectors, atol=1e-6)
    assert found[1].notes == wanted[1].notes


def test_no_rows_make_no_batch(unpacked, table):
    assert list(batches(table.slice(0, 0), unpacked.featurizers(("structure",)))) == []
