"""From the services to shards, on Ray: retries, kills, and the same bytes after all."""

import json
import os
import sys

import pytest
from upath import UPath

from omnimat.sources.ingest import ingest
from omnimat.sources.materials_project.patience import Patience
from omnimat.sources.materials_project.settings import Access
from omnimat.sources.materials_project.source import MaterialsProject
from omnimat.sources.settings import IngestSettings
from omnimat.testing.ray_head import start
from omnimat.testing.waiting import wait_for

from .conftest import DATABASE_VERSION, KEY, PARSED

pytestmark = [
    pytest.mark.ray,
    pytest.mark.filterwarnings("ignore:Set OLD_ERROR_HANDLING:DeprecationWarning"),
]
SOURCE = MaterialsProject(
    max_records=16, access=Access(patience=Patience(total_s=0.3, first_wait_s=0.05))
)
# One task at a time, on a cluster of two CPUs.
SETTINGS = IngestSettings(source=SOURCE, records_per_shard=6, num_cpus_per_task=2)
VARIABLES = ("MP_API_KEY", "MP_API_ENDPOINT", "AWS_ENDPOINT_URL_S3")


def shards(directory):
    return {path.name: path.read_bytes() for path in directory.glob("*") if path.is_file()}


def failures(directory):
    lines = (directory / "failures.jsonl").read_text().splitlines()
    return {(f["material_id"], f["reason"].split(":")[0]) for f in map(json.loads, lines)}


@pytest.mark.usefixtures("on_ray")
def test_failures_are_tried_again_on_the_next_run(
    materials, api, s3, tmp_path, monkeypatch, capsys
):
    listed = materials[:16]
    with_density = [m for m in listed if "charge_density" in m.record.parts]
    missing = next(m for m in with_density if len(m.static_tasks) == 1)
    forbidden, poisoned = with_density[-1], listed[9]
    s3.remove(missing.density_key)
    s3.forbid(forbidden.density_key)
    api.poison["materials/robocrys"] = poisoned.id
    destination = UPath(tmp_path) / "one"

    first = ingest(SETTINGS, "mp", destination, report_progress=False)
    assert first.num_records == 16
    expected = {
        (missing.id, "charge_density"),
        (forbidden.id, "charge_density"),
        (poisoned.id, "text"),
    }
    assert failures(destination) == expected
    assert first.num_failures == 3
    written = shards(destination)

    # Nothing more to be had: the same bytes, and only what failed was asked for.
    before = s3.log()["gets"]
    assert ingest(SETTINGS, "mp", destination, report_progress=False) == first
    assert shards(destination) == written
    again = {key for key, n in s3.log()["gets"].items() if n > before.get(key, 0)}
    objects = {key for key in again if "/chgcars/" in key or "total-dos" in key}
    assert objects == {f"/{PARSED}/{m.density_key}" for m in (missing, forbidden)}

    # Not where another job merely needs the data set, and not without a key.
    s3.restore()
    api.poison.clear()
    ingest(SETTINGS, "mp", destination, report_progress=False, retry_failures=False)
    with monkeypatch.context() as without_key:
        without_key.delenv("MP_API_KEY")
        ingest(SETTINGS, "mp", destination, report_progress=False)
    assert "what failed before (3) is not tried: no MP_API_KEY" in capsys.readouterr().out
    assert shards(destination) == written

    # The fault is gone.
    num_core = api.count("materials/core")
    repaired = ingest(SETTINGS, "mp", destination, report_progress=False)
    assert failures(destination) == set()
    assert repaired.num_failures == 0
    assert repaired.dataset_fingerprint != first.dataset_fingerprint
    assert api.count("materials/core") == num_core
    num_requests = len(api.requests)
    assert ingest(SETTINGS, "mp", destination, report_progress=False) == repaired
    assert len(api.requests) == num_requests

    # As if there never had been one.
    clean = UPath(tmp_path) / "two"
    ingest(SETTINGS, "mp", clean, report_progress=False)
    assert shards(clean) == shards(destination)


@pytest.mark.usefixtures("on_ray", "s3")
def test_a_snapshot_is_read_without_asking(api, tmp_path, monkeypatch):
    source = SOURCE.model_copy(update={"max_records": 3, "modalities": ("text",)})
    settings = SETTINGS.model_copy(update={"source": source})
    manifest = ingest(settings, "mp", UPath(tmp_path) / "one", report_progress=False)
    assert manifest.licences == ("CC-BY-4.0", "not stated")
    assert manifest.database_versions == (DATABASE_VERSION,)
    everything = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(everything) > 5
    assert not [path for path in everything if KEY.encode() in path.read_bytes()]

    (index,) = (tmp_path / "one").glob(".snapshot-*/index-*.parquet")
    assert manifest.source["snapshot"] == index.name
    monkeypatch.delenv("MP_API_KEY")
    num_requests = len(api.requests)
    offline = settings.model_copy(update={"source": MaterialsProject(snapshot=str(index))})
    again = ingest(offline, "mp", UPath(tmp_path) / "two", report_progress=False)
    assert again.shards == manifest.shards
    assert len(api.requests) == num_requests


SCRIPT = """
import sys, ray
from upath import UPath
from omnimat.sources.ingest import ingest
from omnimat.sources.settings import IngestSettings
ray.init(log_to_driver=False)
settings = IngestSettings.model_validate_json(sys.argv[2])
ingest(settings, "mp", UPath(sys.argv[1]), report_progress=False)
"""


@pytest.mark.slow
@pytest.mark.usefixtures("on_ray")
def test_a_killed_harvest_goes_on_record_by_record(api, s3, ray_head, tmp_path, capsys):
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    s3.fail("chgcars/", "late", 10)
    command = [sys.executable, "-c", SCRIPT, str(killed), SETTINGS.model_dump_json()]
    of_services = {name: os.environ[name] for name in VARIABLES}
    environment = ray_head.environment | of_services
    process = start(command, environment, tmp_path / "log", tmp_path)
    densities = ".snapshot-*/charge_density/mp-*.parquet"
    wait_for(lambda: len(list(killed.glob(densities))) >= 4, process, tmp_path / "log", poll_s=0.02)
    process.kill()
    process.wait()
    requests_before = len(api.requests)
    resumed = ingest(SETTINGS, "mp", UPath(killed), report_progress=False)
    # Of REST only the heartbeats: of the client, of its version, of its routes.
    asked_again = {route for route, _ in api.requests[requests_before:]}
    assert asked_again <= {"heartbeat"}
    gets = {key: n for key, n in s3.log()["gets"].items() if "/chgcars/" in key}
    with capsys.disabled():
        print(f"\n{len(gets)} densities, {sum(gets.values())} downloads", end=" ")
    assert sum(gets.values()) <= len(gets) + 1  # the one that was under way
    s3.restore()
    assert ingest(SETTINGS, "mp", UPath(whole), report_progress=False) == resumed
    assert shards(killed) == shards(whole)
    assert resumed.num_failures == 0
