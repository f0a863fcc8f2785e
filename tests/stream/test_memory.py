"""Ten times the shards, the same peak of memory."""

import json
import os
import subprocess
import sys

import numpy as np
import pandas as pd

FEW, MANY = 20, 200
# An allocator gives back late, and the index of the records grows: 180 shards x 8 records x 0.3 kB.
TOLERANCE_MB = 8.0

STREAM = """
import json, sys
from pathlib import Path
import pandas as pd
from upath import UPath
from omnimat.modalities.dos.features import DosCurve
from omnimat.stream.order import BatchPlan
from omnimat.stream.source import Source
from omnimat.stream.worker import WorkerStream

folder = UPath(sys.argv[1])
records = pd.read_parquet(folder / "records.parquet")
stream = WorkerStream(
    source=Source(folder, None, {"dos": DosCurve()}),
    records=records,
    plan=BatchPlan(records["shard"].to_numpy(), 16, 1, seed=0, window_shards=4),
    read_unit_bytes=2**21,
    rank=0,
    world_size=1,
)
for batch in stream.batches():
    pass
# Not getrusage's: that one may be of the process this one was started by.
status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
peak_mb = int(status["VmHWM"].split()[0]) / 1024
print(json.dumps([stream.audit.delivered, len(stream.audit.quarantined), peak_mb]))
"""


def repeated(dataset, records, num_shards, folder):
    """A data set of so many shards, each a link to one of a few."""
    folder.mkdir()
    parts = []
    num_originals = records["shard"].nunique()
    for shard in range(num_shards):
        original = shard % (num_originals - 1)  # the last one is not full
        os.link(dataset / f"shard-{original:05d}.tar", folder / f"shard-{shard:05d}.tar")
        parts.append(records[records["shard"] == original].assign(shard=shard))
    pd.concat(parts, ignore_index=True).to_parquet(folder / "records.parquet")
    return sum(part["size_bytes"].sum() for part in parts) / 2**20


def test_memory_is_flat_in_the_number_of_shards(dataset, records, tmp_path, capsys):
    peaks_mb, sizes_mb = [], []
    for num_shards in (FEW, MANY):
        folder = tmp_path / str(num_shards)
        sizes_mb.append(repeated(dataset, records, num_shards, folder))
        program = [sys.executable, "-c", STREAM, str(folder)]
        result = subprocess.run(program, capture_output=True, text=True, check=True)
        delivered, quarantined, peak_mb = json.loads(result.stdout)
        assert (delivered, quarantined) == (num_shards * 8 // 16 * 16, 0)
        peaks_mb.append(peak_mb)
    with capsys.disabled():
        print(
            f"\n{FEW} shards of {sizes_mb[0]:.0f} MB: peak {peaks_mb[0]:.1f} MB; "
            f"{MANY} shards of {sizes_mb[1]:.0f} MB: peak {peaks_mb[1]:.1f} MB",
            end=" ",
        )
    # The test can fail: what went through is far more than the tolerance.
    assert sizes_mb[1] - sizes_mb[0] > 10 * TOLERANCE_MB
    assert np.diff(peaks_mb)[0] < TOLERANCE_MB
