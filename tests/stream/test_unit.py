import numpy as np
import pandas as pd

from omnimat.stream.unit import ReadUnit, take


def test_a_unit_travels_as_a_table(records):
    positions = np.random.default_rng(0).permutation(len(records))[:20]
    unit = take(records, positions, epoch=7)
    assert unit.records["material_id"].tolist() == records["material_id"][positions].tolist()
    assert unit.size_bytes == records["size_bytes"][positions].sum()
    arrived = ReadUnit.from_table(unit.to_table())
    assert arrived.epoch == 7
    pd.testing.assert_frame_equal(arrived.records, unit.records)
    # Of a data set of before checksums.
    unchecked = take(records.assign(crc32=np.nan), positions)
    assert ReadUnit.from_table(unchecked.to_table()).records["crc32"].isna().all()
