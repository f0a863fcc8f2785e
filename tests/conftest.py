import os
import secrets
import signal
import sys
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

import pytest

from omnimat.testing.ray_head import RayHead

REPOSITORY = Path(__file__).parents[1]
RAY_VARIABLES = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
# Read where torch and ray are imported, which is later. Two processes of tests share the cores.
os.environ |= {"OMP_NUM_THREADS": "1"} | RAY_VARIABLES


def files_on_ray():
    """Find the test files that need Ray, by the mark that they put on themselves."""
    files = (REPOSITORY / "tests").rglob("test_*.py")
    return {
        file.relative_to(REPOSITORY).as_posix()
        for file in files
        if "pytest.mark.ray" in file.read_text()
    }


ON_RAY = files_on_ray()


def pytest_collection_modifyitems(items):
    """Begin with the tests on Ray, since one process runs them all."""
    items.sort(key=lambda item: item.location[0] not in ON_RAY)


# pytest-xdist 3.8 has groups of tests for this, which pytest 9.2 takes no notice of.
def pytest_xdist_make_scheduler(config, log):
    """Of two processes of pytest-xdist, one runs all files on Ray, and so on one head.

    The others stay together by file, so that fixtures of a module are made once.
    """
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            file = nodeid.partition("::")[0]
            return "ray" if file in ON_RAY else file

    return ByFile(config, log)


@pytest.fixture(autouse=True)
def _seeded():
    """Draw the same random numbers in every test, in whatever order they run."""
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(0)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    folder = REPOSITORY.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the real data sets (../shared/data) are not here")
    return folder


@pytest.fixture(scope="session")
def shared_cases() -> Path:
    """Folder of inputs that failed once; a test that needs it is skipped where it is absent."""
    folder = REPOSITORY.parent / "shared" / "cases"
    if not folder.is_dir():
        pytest.skip("the inputs that failed once (../shared/cases) are not here")
    return folder


@pytest.fixture(scope="session")
def ray_head(tmp_path_factory):
    """A Ray head started in the repository, as `make demo` does; ended with all it started."""
    storage = tmp_path_factory.mktemp("head-storage")
    head = RayHead.start(REPOSITORY, storage, "--labels=zone=a", **RAY_VARIABLES)
    yield head
    head.stop()


@pytest.fixture(scope="module")
def on_ray(ray_head):
    """Connect this process to the Ray head while the tests of a module run."""
    with ray_head.connected():
        yield


@pytest.fixture
def run_here(ray_head, monkeypatch):
    """Run ``omnimat`` in this process, as a driver on the head; give its exit code and output."""
    from click.testing import CliRunner

    from omnimat.cli.main import main

    for name in ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS", "OMNIMAT_STORAGE"):
        monkeypatch.setenv(name, ray_head.environment[name])
    on_signal = signal.getsignal(signal.SIGTERM)

    def run_here(folder: Path, *arguments: str) -> tuple[int, str]:
        monkeypatch.chdir(folder)
        result = CliRunner().invoke(main, arguments)
        return result.exit_code, result.output

    yield run_here
    signal.signal(signal.SIGTERM, on_signal)


@pytest.fixture(scope="module")
def s3(tmp_path_factory):
    """A server that every S3 client of this module and of its children talks to."""
    fsspec = pytest.importorskip("fsspec")
    pytest.importorskip("s3fs")
    pytest.importorskip("moto")
    from omnimat.testing.flaky_s3 import flaky_s3

    folder = tmp_path_factory.mktemp("s3")
    with flaky_s3(folder) as server, pytest.MonkeyPatch.context() as patch:
        for name, value in (server.environment | {"OMNIMAT_CACHE": str(folder / "cache")}).items():
            patch.setenv(name, value)
        # Clients are remembered by their arguments, and a server's address is none of them.
        fsspec.get_filesystem_class("s3").clear_instance_cache()
        fsspec.filesystem("s3").mkdir("bucket")
        yield server
        # Its connections end before its server does.
        fsspec.get_filesystem_class("s3").clear_instance_cache()


@pytest.fixture(scope="session")
def serving():
    """Serve a leaderboard on a free port: ``with serving(url, storage) as address``."""
    import uvicorn

    from omnimat_dashboard.app import create_app

    @contextmanager
    def serve(url, storage):
        app = create_app(url, str(storage))
        server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning"))
        thread = Thread(target=server.run)
        thread.start()
        while not server.started:
            thread.join(0.05)
        try:
            yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()

    return serve


@pytest.fixture
def tiny_jobs(tmp_path) -> Path:
    """A folder of one's own with jobs/data.yaml and jobs/pretrain.yaml, which take seconds."""
    return write_tiny_jobs(tmp_path)


@pytest.fixture(scope="session")
def tiny_jobs_folder(tmp_path_factory) -> Path:
    """The same, shared; not to be edited."""
    return write_tiny_jobs(tmp_path_factory.mktemp("tiny-jobs"))


@pytest.fixture(scope="session")
def write_dataset():
    """Ingest into a workspace, in this process."""
    from omnimat.sources.ingest import write_slice
    from omnimat.sources.merge import merge

    def write_dataset(workspace, name, settings):
        folder = workspace.dataset(name)
        num_shards = -(-settings.source.num_items() // settings.records_per_shard)
        merge(
            name=name,
            source={},
            settings_fingerprint=settings.fingerprint(),
            reports=[write_slice(settings, folder, shard, ()) for shard in range(num_shards)],
            destination=folder,
        )

    return write_dataset


@pytest.fixture(scope="session")
def write_records():
    """Write records, a list for each shard, and the manifest that an ingest would write."""
    from omnimat.materials.crystals import reduced_formula
    from omnimat.shards.manifest import shard_name
    from omnimat.shards.writer import write_shard
    from omnimat.sources.merge import ShardReport, merge

    def write_records(folder, shards, split_of):
        reports = []
        for number, records in enumerate(shards):
            written = write_shard(folder / shard_name(number), records)
            formulas = [reduced_formula(one.structure.atomic_numbers) for one in records]
            rows = [
                row | {"split": split_of(row["material_id"]), "reduced_formula": formula}
                for row, formula in zip(written.rows, formulas, strict=True)
            ]
            report = {"entry": written.entry, "rows": rows, "excluded_ids": (), "failures": ()}
            reports.append(ShardReport(**report, licences=(), database_versions=()))
        merge(
            name=folder.name,
            source={},
            settings_fingerprint="0",
            reports=reports,
            destination=folder,
        )

    return write_records


@pytest.fixture(scope="session")
def write_features():
    """Write a whole feature store, in this process."""
    from omnimat.base.lease import unleased
    from omnimat.stream.featurize import WriteShard, complete
    from omnimat.stream.location import StoreLocation
    from omnimat.stream.source import Source

    def write_features(workspace, dataset, featurizers):
        store = StoreLocation.of(workspace, dataset, featurizers)
        store.folder.mkdir(parents=True)
        write = WriteShard(Source(store.dataset, None, featurizers), store.folder, unleased)
        complete(store, [write.write(shard) for shard in range(len(store.manifest.shards))])

    return write_features


@pytest.fixture(scope="session")
def write_run():
    """Leave what a pretraining run leaves, but of encoders that have taken no step."""
    import torch

    from omnimat.base.checked_json import write_checked_json
    from omnimat.base.workspace import RESULT
    from omnimat.models.export import save
    from omnimat.models.inputs import export_folder
    from omnimat.training.plan import make_plan

    def write_run(workspace, name, settings):
        torch.manual_seed(0)
        run = workspace.run(name)
        for modality, card in make_plan(name, settings, workspace).cards(step=0).items():
            save(export_folder(run, modality), card.build(), card)
        write_checked_json(run / RESULT, {"settings": settings.model_dump(mode="json")})

    return write_run


def write_tiny_jobs(folder: Path) -> Path:
    (folder / "jobs").mkdir()
    for name, text in TINY_JOBS.items():
        (folder / "jobs" / name).write_text(text)
        (folder / "jobs" / name).chmod(0o755)
    return folder


TINY_JOBS = {
    "data.yaml": """\
#!/usr/bin/env -S omnimat run
kind: ingest
name: tiny-data
source: {type: prototypes, num_materials: 40, max_atoms: 8}
records_per_shard: 20
num_cpus_per_task: 0.5
""",
    "pretrain.yaml": """\
#!/usr/bin/env -S omnimat run
kind: pretrain
name: tiny
needs: [jobs/data.yaml]
dataset: tiny-data
modalities:
  dos: {encoder: {preset: tiny}}
  text: {featurizer: {source: hashed}, encoder: {preset: tiny}}
embedding_dim: 8
objective: {type: clip}
training:
  global_batch_size: 8
  num_epochs: 5
  lr: 1.0e-3
  report_interval_steps: 1
  checkpoint_interval_epochs: 2
""",
}
