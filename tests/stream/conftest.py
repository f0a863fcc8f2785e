import shutil

import numpy as np
import pytest
from upath import UPath

from omnimat.base.workspace import Workspace
from omnimat.modalities.charge_density.augment import ChargeDensityAugmentation
from omnimat.modalities.charge_density.features import ChargeDensityGrid
from omnimat.modalities.dos.features import DosCurve
from omnimat.modalities.structure.augment import StructureAugmentation
from omnimat.modalities.structure.features import CrystalGraph
from omnimat.modalities.views import RandomViews
from omnimat.shards.manifest import Manifest, shard_name
from omnimat.sources.prototypes import Prototypes
from omnimat.sources.settings import IngestSettings
from omnimat.stream.order import BatchPlan
from omnimat.stream.source import Source
from omnimat.stream.worker import WorkerStream

SETTINGS = IngestSettings(source=Prototypes(num_materials=34, max_atoms=6), records_per_shard=8)


@pytest.fixture(scope="session")
def dataset(tmp_path_factory, write_dataset) -> UPath:
    """34 prototypes in five shards."""
    workspace = Workspace(UPath(tmp_path_factory.mktemp("storage")))
    write_dataset(workspace, "prototypes", SETTINGS)
    return workspace.dataset("prototypes")


@pytest.fixture(scope="module")
def dataset_on_s3(s3, write_dataset) -> UPath:
    """The same data set, ingested again to S3."""
    workspace = Workspace(UPath("s3://bucket"))
    write_dataset(workspace, "prototypes", SETTINGS)
    return workspace.dataset("prototypes")


@pytest.fixture(scope="session")
def records(dataset):
    return Manifest.load(dataset).records(dataset)


@pytest.fixture(scope="session")
def featurizers():
    return {
        "structure": CrystalGraph(lattice_sums="none"),
        "dos": DosCurve(),
        "charge_density": ChargeDensityGrid(),
    }


@pytest.fixture(scope="session")
def new_stream(dataset, records, featurizers):
    """Make a worker's stream of batches of four, two or more of which make a read unit."""

    def new_stream(
        rank=0,
        world_size=1,
        dataset=dataset,
        store=None,
        featurizers=featurizers,
        views=None,
        records_per_worker=4,
        global_batch_size=None,
        num_micro_batches=1,
        read_unit_bytes=None,
        **kwargs,
    ) -> WorkerStream:
        shards = records["shard"].to_numpy()
        return WorkerStream(
            source=Source(dataset, store, featurizers, views or RandomViews()),
            records=records,
            plan=BatchPlan(
                shards,
                global_batch_size or records_per_worker * world_size,
                2,
                seed=3,
                window_shards=2,
                num_micro_batches=num_micro_batches,
            ),
            read_unit_bytes=read_unit_bytes or int(records["size_bytes"].max()) * 4 * 2,
            rank=rank,
            world_size=world_size,
            **kwargs,
        )

    return new_stream


@pytest.fixture(scope="session")
def augmentations():
    """Of two modalities; the third stays as it is."""
    return {
        "structure": StructureAugmentation(masked_atoms=0.3, masked_edges=0.1),
        "charge_density": ChargeDensityAugmentation(),
    }


@pytest.fixture(scope="session")
def planned_ids(records):
    """Say which ids a stream must deliver, batch by batch."""
    ids = records["material_id"].to_numpy()

    def planned_ids(stream: WorkerStream) -> list[list[str]]:
        place = {"rank": stream.rank, "world_size": stream.world_size}
        epochs = range(stream.plan.num_epochs)
        return [ids[b].tolist() for e in epochs for b in stream.plan.worker_batches(e, **place)]

    return planned_ids


@pytest.fixture(scope="session")
def assert_equal():
    """Insist on the same batches, bit for bit."""

    def assert_equal(batches, others):
        for one, other in zip(batches, others, strict=True):
            assert one.material_ids.equals(other.material_ids)
            for modality, arrays in one.modalities.items():
                np.testing.assert_array_equal(arrays.rows, other.modalities[modality].rows)
                assert arrays.arrays.keys() == other.modalities[modality].arrays.keys()
                for name, array in arrays.arrays.items():
                    np.testing.assert_array_equal(array, other.modalities[modality].arrays[name])

    return assert_equal


@pytest.fixture
def say(capsys):
    """Print a figure that a test has measured."""

    def say(text):
        with capsys.disabled():
            print(f"\n{text}", end=" ")

    return say


@pytest.fixture
def damaged(dataset, records, tmp_path):
    """The data set with one record's structure overwritten, and the id of that record."""
    folder = UPath(tmp_path) / "damaged"
    shutil.copytree(str(dataset), str(folder))
    victim = records.iloc[10]
    shard = folder / shard_name(victim["shard"])
    data = bytearray(shard.read_bytes())
    content = victim["offset_bytes"] + 512
    data[content : content + 20] = b"\xff" * 20
    shard.write_bytes(bytes(data))
    return folder, victim["material_id"]
