"""MP-20's test materials among the same materials as another release has them."""

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from upath import UPath

from omnimat.base.workspace import Workspace
from omnimat.evaluation.overlap import find_overlap
from omnimat.materials.split import SPLITS
from omnimat.sources.settings import IngestSettings
from omnimat.training.seen import Materials

NUM_JUDGING = 120


@pytest.fixture(scope="module")
def judging_and_seen(tmp_path_factory, shared_data, write_dataset):
    """The first test materials, and every other of them from the larger release."""
    folder = tmp_path_factory.mktemp("real")
    workspace = Workspace(UPath(folder))

    def ingested(name, **source):
        settings = {"source": {"type": "table", **source}, "records_per_shard": 500}
        write_dataset(workspace, name, IngestSettings.model_validate(settings).located())
        return Materials.of_splits(workspace.dataset(name), SPLITS)

    path = str(shared_data / "mp20" / "test.csv.gz")
    judging = ingested("mp20", mapping="mp20", path=path, max_records=NUM_JUDGING)
    cells = pq.read_table(shared_data / "mp118k" / "structures.parquet")
    ids = sorted(judging.records["material_id"])[::2]
    is_wanted = pc.is_in(cells["material_id"], pc.cast(ids, cells["material_id"].type))
    pq.write_table(cells.filter(is_wanted), folder / "cells.parquet")
    return judging, ingested("cells", mapping="cells", path=str(folder / "cells.parquet"))


def test_the_materials_of_another_release_are_found(judging_and_seen):
    judging, seen = judging_and_seen
    found = find_overlap(judging, seen)
    both = set(seen.records["material_id"])
    assert len(judging.records) == NUM_JUDGING
    assert 50 < len(both) <= NUM_JUDGING // 2
    # The cells are others, relaxed again, and of 120 materials no two are of one structure.
    assert both <= found.same_formula
    assert found.same_structure == both
    assert found.not_compared == set()
