"""A Materials Project of real records: its REST routes and its buckets, served locally."""

import collections
import contextlib
import gzip
import json
import subprocess
import sys
import threading
import urllib.request
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlparse

import numpy as np
import pyarrow as pa
import pytest
from monty.json import MontyEncoder
from pymatgen.core import Structure
from pymatgen.io.vasp import Chgcar, Poscar
from scipy.signal import resample

from omnimat.materials.crystals import to_pymatgen
from omnimat.sources.tables.source import Table

KEY = "k3y" * 10 + "ok"
DATABASE_VERSION = "2026.11.01"
EFERMI_EV = 1.5
PARSED, BUILD = "materialsproject-parsed", "materialsproject-build"


@dataclass(frozen=True)
class Material:
    """A real record, and the documents the Materials Project would serve of it."""

    record: object
    crystal: Structure
    number: int  # its place among the materials

    @property
    def id(self):
        return self.record.material_id

    @property
    def dos_task(self):
        return f"mp-{9_000_000 - self.number}"  # not in the order of materials

    @property
    def static_tasks(self):
        """Every third material has an older calculation, whose id is higher."""
        newest = f"mp-{2_000_000 + self.number}"
        return [newest, f"mp-{2_500_000 + self.number}"] if self.number % 3 == 0 else [newest]

    @property
    def density_key(self):
        return f"chgcars/{self.static_tasks[0]}.json.gz"

    def summary(self):
        properties = self.record.properties
        composition = self.crystal.composition
        return {
            "material_id": self.id,
            "structure": self.crystal.as_dict(),
            "builder_meta": {"license": [None, "BY-C"][self.number % 2], "batch_id": "x"},
            "symmetry": {"number": properties["space_group_number"], "symprec": 0.1},
            "formation_energy_per_atom": properties.get("formation_energy_ev_per_atom"),
            "band_gap": properties.get("band_gap_ev"),
            "nsites": len(self.crystal),
            "nelements": len(composition),
            "elements": sorted(e.symbol for e in composition),
            "chemsys": composition.chemical_system,
            "deprecated": False,
            "is_stable": self.number % 2 == 0,
            "theoretical": False,
            "has_props": {
                "dos": "dos" in self.record.parts,
                "charge_density": "charge_density" in self.record.parts,
            },
        }

    def text(self):
        return {
            "material_id": self.id,
            "description": self.record.parts["text"],
            "robocrys_version": "0.2.12",
            "condensed_structure": {"formula": "not asked for"},
        }

    def elasticity(self):
        lower = self.record.properties["elastic_lower_5x5_gpa"]
        tensor = np.zeros((6, 6))  # the sixth row is not in the data: zero but for C66
        tensor[np.tril_indices(5)] = lower
        tensor[5, 5] = 77.0
        return {
            "material_id": self.id,
            "elastic_tensor": {"ieee_format": np.tril(tensor, -1).T.__add__(tensor).tolist()},
            "bulk_modulus": {"vrh": self.record.properties["bulk_modulus_gpa"], "voigt": -1.0},
            "shear_modulus": {"vrh": self.record.properties["shear_modulus_gpa"]},
            "warnings": [],
        }

    def electronic_structure(self):
        dos = {"task_id": self.dos_task} if "dos" in self.record.parts else None
        return {"material_id": self.id, "dos": dos}

    def core(self):
        kinds = {f"mp-{3_000_000 + self.number}": "GGA Structure Optimization"}
        kinds |= dict.fromkeys(self.static_tasks, "GGA Static")
        return {"material_id": self.id, "calc_types": kinds, "deprecated": False}

    def tasks(self):
        return [
            {"task_id": task, "last_updated": f"20{20 - age}-01-01T00:00:00"}
            for age, task in enumerate(self.static_tasks)
        ]

    def dos_row(self):
        from emmet.core.mpid import AlphaID

        dos = self.record.parts["dos"]
        up = dos.spin_up_per_ev.astype(float)
        down = None if self.number % 4 == 0 else (up / 2).tolist()
        return {
            "identifier": str(AlphaID(self.dos_task.split("-")[1], padlen=8)),
            "run_type": "GGA",
            "energies": (dos.energies_ev.astype(float) + EFERMI_EV).tolist(),
            "efermi": EFERMI_EV,
            "spin_up_densities": up.tolist(),
            "spin_down_densities": down,
        }

    def chgcar(self):
        """Gzipped JSON; every fourth on a finer, uneven grid that coarsens to the same."""
        grid = self.record.parts["charge_density"].astype(np.float64)
        if self.number % 4 == 1:
            for axis, size in enumerate((40, 36, 45)):
                grid = resample(grid, size, axis=axis)
        chgcar = Chgcar(Poscar(self.crystal), {"total": grid})
        text = json.dumps({"data": chgcar.as_dict(), "task_id": "x"}, cls=MontyEncoder)
        return gzip.compress(text.encode(), compresslevel=1)


@pytest.fixture(scope="session")
def materials(shared_data):
    """Eighteen small real records: some without DOS, some without density, some with elasticity."""
    path = str(shared_data / "mp408" / "mp408.parquet")
    source = Table(path=path, mapping="multimodal")
    found = [r for r in source.read(0, 408) if getattr(r, "structure", None)]
    small = [r for r in found if r.structure.atomic_numbers.size <= 12]
    wanted = (
        [r for r in small if "elastic_lower_5x5_gpa" in r.properties and "dos" in r.parts][:6]
        + [r for r in small if "dos" not in r.parts][:4]
        + [r for r in small if "charge_density" not in r.parts and "dos" in r.parts][:3]
        + [r for r in small if "dos" in r.parts and "charge_density" in r.parts][-7:]
    )
    records = sorted(
        {r.material_id: r for r in wanted}.values(), key=lambda r: int(r.material_id[3:])
    )
    return [Material(r, to_pymatgen(r.structure), n) for n, r in enumerate(records)]


@dataclass
class Api:
    """The REST routes; ``faults`` are used up one a request."""

    routes: dict
    port: int = 0
    requests: list = field(default_factory=list)
    faults: dict = field(default_factory=lambda: collections.defaultdict(list))
    poison: dict = field(default_factory=dict)
    dies_at: str = ""
    is_dead: bool = False
    injected: collections.Counter = field(default_factory=collections.Counter)
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}/"

    def count(self, route):
        return sum(path == route for path, _ in self.requests)

    def fail(self, route, *kinds):
        self.faults[route] += kinds

    def fault(self, route, query):
        with self.lock:
            self.requests.append((route, query))
            self.is_dead |= route == self.dies_at
            kind = self.faults[route].pop(0) if self.faults[route] else None
            kind = 503 if self.is_dead else kind
            if kind is None and self.poison.get(route, "no id") in query.get("material_ids", ""):
                kind = 500
            if kind is not None:
                self.injected[kind] += 1
            return kind

    def answer(self, route, query):
        if route == "heartbeat":
            return {
                "db_version": DATABASE_VERSION,
                "access_controlled_batch_ids": ["gnome_r2scan_statics"],
                "version": "0.90.0",
            }
        documents = [d for d in self.routes[route] if _meets(d, query)]
        fields = query.get("_fields", "").split(",")
        size = int(query.get("_limit", 100))
        start = int(query.get("_skip", 0)) + (int(query.get("_page", 1)) - 1) * size
        page = [
            {k: v for k, v in d.items() if k in fields} for d in documents[start : start + size]
        ]
        return {"data": page, "meta": {"total_doc": len(documents)}}


def _meets(document, query):
    summary = document
    checks = {
        "material_ids": lambda v: document["material_id"] in v.split(","),
        "task_ids": lambda v: document["task_id"] in v.split(","),
        "nsites_min": lambda v: summary["nsites"] >= int(v),
        "nsites_max": lambda v: summary["nsites"] <= int(v),
        "chemsys": lambda v: summary["chemsys"] in v.split(","),
        "elements": lambda v: set(v.split(",")) <= set(summary["elements"]),
        "exclude_elements": lambda v: not set(v.split(",")) & set(summary["elements"]),
        "is_stable": lambda v: summary["is_stable"] == (v == "True"),
        "has_props": lambda v: all(summary["has_props"][p] for p in v.split(",")),
        "deprecated": lambda v: document["deprecated"] == (v == "True"),
        "batch_id": lambda v: document["builder_meta"]["batch_id"] == v,
        "batch_id_not_eq": lambda v: document["builder_meta"]["batch_id"] != v,
    }
    unknown = {name for name in query if not name.startswith("_")} - set(checks)
    assert not unknown, unknown
    return all(checks[name](value) for name, value in query.items() if name in checks)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        api, parsed = self.server.api, urlparse(self.path)
        route = parsed.path.strip("/")
        query = {name: values[0] for name, values in parse_qs(parsed.query).items()}
        fault = api.fault(route, query)
        if isinstance(fault, int):
            return self._send(fault, b'{"detail": "injected"}')
        if route != "heartbeat" and self.headers.get("x-api-key") != KEY:
            return self._send(401, b'{"message": "Invalid authentication credentials"}')
        return self._send(200, json.dumps(api.answer(route, query)).encode(), fault == "cut")

    def _send(self, status, body, is_cut=False):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if is_cut else body)
        if is_cut:
            self.close_connection = True

    def log_message(self, *_):
        pass


def _server():
    """Listen on a port that mp-api 0.46 does not take for an error code.

    It looks for 414 and 422 anywhere in the text of an error, the URL included, and then sends the
    request once more.
    """
    while True:
        server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        if not {"414", "422"} & {str(server.server_port)[i : i + 3] for i in range(3)}:
            return server
        server.server_close()


@pytest.fixture
def api(materials, monkeypatch):
    """The routes of all materials, and the environment that leads there."""
    with_elasticity = [m for m in materials if "elastic_lower_5x5_gpa" in m.record.properties]
    api = Api(
        {
            "materials/summary": [m.summary() for m in materials],
            "materials/core": [m.core() for m in materials],
            "materials/tasks": [task for m in materials for task in m.tasks()],
            "materials/electronic_structure": [m.electronic_structure() for m in materials],
            "materials/robocrys": [m.text() for m in materials[1:]],
            "materials/elasticity": [m.elasticity() for m in with_elasticity],
        }
    )
    server = _server()
    server.api, api.port = api, server.server_port
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    monkeypatch.setenv("MP_API_KEY", KEY)
    monkeypatch.setenv("MP_API_ENDPOINT", api.url)
    yield api
    server.shutdown()
    server.server_close()
    thread.join()


@dataclass
class S3:
    """The buckets; what a test changes is put back after it."""

    url: str
    client: object
    objects: dict = field(default_factory=dict)
    changed: set = field(default_factory=set)

    def put(self, key):
        self.client.put_object(Bucket=PARSED, Key=key, Body=self.objects[key], ACL="public-read")

    def remove(self, key):
        self.changed.add(key)
        self.client.delete_object(Bucket=PARSED, Key=key)

    def forbid(self, key):
        self.changed.add(key)
        self.client.put_object_acl(Bucket=PARSED, Key=key, ACL="private")

    @contextlib.contextmanager
    def forbidden_table(self, prefix):
        listed = self.client.list_objects_v2(Bucket=PARSED, Prefix=prefix)["Contents"]
        keys = [entry["Key"] for entry in listed if entry["Key"].endswith(".parquet")]
        for acl in ("private", "public-read"):
            for key in keys:
                self.client.put_object_acl(Bucket=PARSED, Key=key, ACL=acl)
            if acl == "private":
                yield

    def restore(self):
        for key in self.changed:
            self.put(key)
        self.changed.clear()
        self._post("_reset", {})

    def write_table(self, bucket, prefix, table, partition_by):
        from deltalake import write_deltalake

        options = {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ALLOW_HTTP": "true",
            "AWS_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "x",
            "AWS_SECRET_ACCESS_KEY": "x",
            "AWS_S3_ALLOW_UNSAFE_RENAME": "true",
        }
        write_deltalake(
            f"s3://{bucket}/{prefix}", table, partition_by=partition_by, storage_options=options
        )
        for entry in self.client.list_objects_v2(Bucket=bucket, Prefix=prefix)["Contents"]:
            self.client.put_object_acl(Bucket=bucket, Key=entry["Key"], ACL="public-read")

    def fail(self, match, kind, times):
        self._post("_faults", {"match": match, "kind": kind, "times": times})

    def log(self):
        return json.loads(urllib.request.urlopen(f"{self.url}/_log").read())

    def _post(self, path, value):
        urllib.request.urlopen(f"{self.url}/{path}", json.dumps(value).encode()).read()


@pytest.fixture(scope="session")
def _s3(materials):
    """The buckets of all materials."""
    import boto3
    from emmet.core.arrow import arrowize
    from emmet.core.band_theory import ElectronicDos

    path = Path(__file__).parent / "s3_server.py"
    process = subprocess.Popen([sys.executable, str(path)], stdout=subprocess.PIPE, text=True)
    try:
        url = f"http://127.0.0.1:{int(process.stdout.readline())}"
        keys = {"aws_access_key_id": "x", "aws_secret_access_key": "x"}
        client = boto3.client("s3", endpoint_url=url, region_name="us-east-1", **keys)
        buckets = S3(url, client)
        for bucket in (PARSED, BUILD):
            client.create_bucket(Bucket=bucket, ACL="public-read")
        for m in materials:
            if "charge_density" in m.record.parts:
                buckets.objects[m.density_key] = m.chgcar()
            for older in m.static_tasks[1:]:
                buckets.objects[f"chgcars/{older}.json.gz"] = b"not to be taken"
        for key in buckets.objects:
            buckets.put(key)
        rows = [m.dos_row() for m in materials if "dos" in m.record.parts]
        schema = pa.schema(arrowize(ElectronicDos))
        table = pa.Table.from_pylist(sorted(rows, key=lambda r: r["identifier"]), schema=schema)
        prefix = "core/electronic-structure/total-dos"
        buckets.write_table(PARSED, prefix, table.drop(["projected_densities"]), ["run_type"])
        _write_collections(materials, buckets)
        yield buckets
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.fixture
def s3(_s3, monkeypatch):
    """The buckets, and the environment that leads there."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", _s3.url)
    yield _s3
    _s3.restore()


def _write_collections(materials, s3):
    """Write whole collections, but elasticity, as Delta tables."""
    from emmet.core.electronic_structure import ElectronicStructureDoc
    from emmet.core.robocrys import RobocrystallogapherDoc
    from emmet.core.summary import SummaryDoc
    from emmet.core.vasp.material import MaterialsDoc

    texts = [m.text() for m in materials[1:]]
    electronic = [m.electronic_structure() for m in materials]
    _write_collection(s3, "summary", SummaryDoc, [m.summary() for m in materials])
    _write_collection(s3, "robocrys", RobocrystallogapherDoc, texts)
    _write_collection(s3, "electronic-structure", ElectronicStructureDoc, electronic)
    _write_collection(s3, "materials", MaterialsDoc, [m.core() for m in materials])


def _write_collection(s3, name, model, rows):
    """Write one, of two versions of the database."""
    from emmet.core.arrow import arrowize

    schema = pa.schema(arrowize(model))
    if name == "materials":  # its other columns are large, and of no use here
        schema = pa.schema([schema.field("material_id"), schema.field("calc_types")])
    if name == "summary":
        rows = [*rows, rows[0] | {"material_id": "mp-5", "builder_meta": {"license": "BY-NC"}}]
        rows.append(rows[0] | {"material_id": "mp-6", "deprecated": True})
    rows = [{k: v for k, v in row.items() if k in schema.names} for row in rows]
    table = pa.Table.from_pylist(rows, schema=schema)
    new = table.append_column("version", pa.array(["2026-11-01"] * len(rows)))
    old = table.slice(0, 3).append_column("version", pa.array(["2025-01-01"] * 3))
    s3.write_table(BUILD, f"collections/{name}", pa.concat_tables([old, new]), ["version"])


def in_turn(function, calls):
    """What Ray does, one after the other."""
    for key, arguments in calls.items():
        yield key, function(*arguments)


@pytest.fixture
def run_in_turn():
    return in_turn
