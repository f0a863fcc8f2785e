import numpy as np

from omnimat.stream.unit import take


def test_a_unit_is_rows_of_the_index_in_the_order_asked_for(records):
    positions = np.random.default_rng(0).permutation(len(records))[:20]
    unit = take(records, positions, epoch=7)
    assert set(unit["epoch"]) == {7}
    for name in unit.columns.drop("epoch"):
        assert unit[name].tolist() == records[name][positions].tolist()
