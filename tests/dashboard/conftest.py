"""A storage with a data set, runs and a leaderboard, small but whole, and pages on top of it."""

import functools
import http.server
import json
import os
import shutil
import threading
from contextlib import contextmanager
from datetime import UTC, datetime
from types import SimpleNamespace
from urllib.parse import urlsplit

import numpy as np
import pandas as pd
import pytest
from fastapi.testclient import TestClient
from playwright.sync_api import expect, sync_playwright
from upath import UPath

from omnimat.base.confined import Confined
from omnimat.base.provenance import sha256_of
from omnimat.base.settings import fingerprint
from omnimat.finetune.fit import validation_key
from omnimat.finetune.tasks import TaskSettings
from omnimat.leaderboard.folds import fold_means
from omnimat.leaderboard.metrics import METRICS
from omnimat.leaderboard.row import Row
from omnimat.leaderboard.store import LeaderboardStore
from omnimat.shards.manifest import Manifest
from omnimat.sources.ingest import write_slice
from omnimat.sources.merge import merge
from omnimat.sources.prototypes import Prototypes
from omnimat.sources.settings import IngestSettings
from omnimat.training.history import History
from omnimat_dashboard import write_site
from omnimat_dashboard.app import create_app

DATASET = "mp20-mini"  # its name makes UniMat's numbers comparable
HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'&{{ 7 * 7 }}<!--"
MARKUP = "<img src=x onerror=alert(1)>"  # the name of a folder may be anything but a path
TOKEN = "a token of these tests"
SYSTEMS = ["cubic", "hexagonal", "monoclinic", "orthorhombic", "tetragonal", "triclinic"]
# No sandbox and no GPU: it has to run in a container; WebGL is drawn by the CPU.
ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--enable-unsafe-swiftshader",
]
HARDWARE = {"cpu": "a cpu", "cores": 2, "memory_gib": 8.0, "gpus": []}
TASKS = {
    "formation energy": ("mae", "eV/atom"),
    "lattice lengths, scaled": ("mae", "angstrom"),
    "crystal system": ("accuracy", ""),
}
# Model, variant, and how far its predictions are off; both first ones predict alike by one seed.
MODELS = {
    "aligned": ("xrd + composition, fused, aligned first", "finetuned", 0.8),
    "scratch": ("xrd + composition, fused", "from_scratch", 1.0),
    "hostile": (HOSTILE, "frozen", 2.0),
}
# What pretraining has seen of the tested materials; nothing is recorded of the hostile model.
SEEN = {
    "aligned": {
        "pretraining_overlap": {
            "run": "mini-anchored",
            "dataset": DATASET,
            "parts": {"test": {"num_materials": 1809, "same_formula": 12, "same_structure": 3}},
        }
    }
}


# Models that are judged by two folds: how far they are off, and how many folds are done.
FOLDED = {"near": (0.05, 2), "middle": (0.06, 2), "far": (0.9, 2), "part": (0.05, 1)}


def write_dataset(folder: UPath, num_materials: int) -> Manifest:
    settings = IngestSettings(
        source=Prototypes(num_materials=num_materials, max_atoms=6), records_per_shard=num_materials
    )
    report = write_slice(settings, folder, 0, ())
    refused = (("broken-1", "atoms 0 and 1 are 0.31 angstrom apart"), ("broken-2", HOSTILE))
    return merge(
        name=DATASET,
        source={"type": "prototypes"},
        settings_fingerprint=settings.fingerprint(),
        reports=[report.model_copy(update={"failures": refused})],
        destination=folder,
    )


def predictions(task: str, ids: list[str], off: float, seed: int) -> pd.DataFrame:
    """Targets that all models share, and predictions that are off by so much."""
    truth, noise = np.random.default_rng(0), np.random.default_rng([seed, int(10 * off)])
    number = len(ids)
    if task == "crystal system":
        target = truth.choice(SYSTEMS, number)
        wrong = noise.random(number) < 0.2 * off
        guess = np.where(wrong, noise.choice(SYSTEMS, number), target)
    else:
        shape = (number, 3) if task.startswith("lattice") else (number,)
        target = truth.normal(2.0, 0.7, shape)
        guess = target + noise.normal(0, 0.1 * off, shape)
    columns = {"material_id": ids, "target": list(target), "prediction": list(guess)}
    if task == "crystal system":
        columns["probability"] = noise.uniform(0.5, 1, number)
    return pd.DataFrame(columns | {"split": "test"})


def write_trial(folder: UPath, task: str, seed: int, off: float) -> UPath:
    """What the pages read of a trial, and bytes in place of its weights."""
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(bytes([seed]))
    scored = validation_key(TaskSettings(name=task, target="any"))
    history = [
        {
            "epoch": e,
            "train_loss": off / e,
            "lr": 1e-3,
            "validation_error": 0.1 + off / e,
            scored: off / e**0.5,
        }
        for e in range(1, 13)
    ]
    content = {"best_epoch": 10, "history": history}
    (folder / "trial.json").write_text(json.dumps(content))
    return folder / "model.safetensors"


def finetune_rows(root: UPath, manifest: Manifest, ids: list[str], seeds: int) -> list[Row]:
    rows = []
    for task, (metric, unit) in TASKS.items():
        run = root / "runs" / f"mini-{task.replace(', ', '-').replace(' ', '-')}"
        for key, (model, variant, off) in MODELS.items():
            trial = {"lr": 1e-3, "layers": [1, 2], "parts": [{"splits": ["test"]}, {"name": "b"}]}
            config = {"task": task, "trial": trial, "start": key}
            for seed in range(seeds):
                table = predictions(task, ids, off, seed)
                path = run / "predictions" / f"{key}-seed{seed}.parquet"
                path.parent.mkdir(parents=True, exist_ok=True)
                table.to_parquet(path)
                weights = write_trial(run / "trials" / f"{key}-seed{seed}", task, seed, off)
                value = METRICS[metric].function(
                    table["target"].tolist(), table["prediction"].tolist()
                )
                rows.append(
                    Row(
                        task=task,
                        metric=metric,
                        unit=unit,
                        higher_is_better=metric == "accuracy",
                        model=model,
                        variant=variant,
                        seed=seed,
                        value=value,
                        num_test=len(ids),
                        dataset=DATASET,
                        dataset_fingerprint=manifest.dataset_fingerprint,
                        split_sha256=manifest.split_sha256,
                        config=config,
                        config_hash=fingerprint(config),
                        code_commit="c" * 40,
                        code_dirty=seed == 1,
                        checkpoint_uri=Confined(root).name_of(weights),
                        checkpoint_sha256=sha256_of(weights),
                        predictions_uri=Confined(root).name_of(path),
                        predictions_sha256=sha256_of(path),
                        parent_run="" if key == "scratch" else "mini-anchored",
                        run_name=run.name,
                        hyperparameters={"lr": 1e-3, "best_epoch": 10},
                        hardware=HARDWARE,
                        wall_time_s=75.0,
                        samples_seen=26_251 * 12,
                        details=SEEN.get(key, {}),
                        created_at=datetime(2026, 11, 20, 12, seed, tzinfo=UTC),
                    )
                )
    return rows


def write_embeddings(path: UPath, ids: list[str]) -> None:
    """What an evaluation leaves: three modalities that are alike, and texts of two in three."""
    numbers, number = np.random.default_rng(0), len(ids)
    common = numbers.standard_normal((number, 8)).astype(np.float32)
    arrays = {"material_id": np.array(ids), "duplicate_group": np.arange(number) // 2}
    for modality in ("structure", "xrd", "text"):
        noise = numbers.standard_normal((number, 8)).astype(np.float32)
        arrays[modality] = common + noise
        arrays[f"{modality}_present"] = np.arange(number) % 3 < (2 if modality == "text" else 3)
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path.path, **arrays)


def retrieval_rows(root: UPath, manifest: Manifest, ids: list[str]) -> list[Row]:
    path = root / "runs" / "mini-retrieval" / "embeddings.npz"
    write_embeddings(path, ids)
    config = {"pretrain": {"objective": {"type": "clip"}}, "split": "test"}
    common = {
        "model": "mini-anchored",
        "variant": "pretrained",
        "seed": 0,
        "num_test": 40,
        "dataset": DATASET,
        "dataset_fingerprint": manifest.dataset_fingerprint,
        "split_sha256": manifest.split_sha256,
        "config": config,
        "config_hash": fingerprint(config),
        "code_commit": "c" * 40,
        "code_dirty": False,
        "predictions_uri": Confined(root).name_of(path),
        "predictions_sha256": sha256_of(path),
        "parent_run": "mini-anchored",
        "run_name": "mini-retrieval",
        "hardware": HARDWARE,
        "created_at": datetime(2026, 11, 19, tzinfo=UTC),
    }
    return [
        Row(
            **common,
            task=f"retrieval {query} -> {key}",
            metric=metric,
            value=value,
            higher_is_better=metric.startswith("top"),
            details={"chance": 0.25},
        )
        for query, key in (("structure", "xrd"), ("xrd", "structure"), ("text", "structure"))
        for metric, value in (("top-10", 0.7234), ("top-1", 0.3512), ("median rank", 3.0))
    ]


def write_history(run: UPath) -> None:
    run.mkdir(parents=True)
    steps = np.arange(10, 81, 10)
    columns = {"step": steps, "lr": 1e-3 / steps, "loss": 4 - steps / 50}
    table = pd.DataFrame(columns | {"loss/structure|xrd": 4 - steps / 40})
    table.to_parquet(run / "metrics.parquet")


def report(step: int) -> dict[str, float]:
    """A line of a run's history."""
    return {
        "step": step,
        "lr": 1e-3,
        "epoch": step / 40,
        "loss": 4 - step / 100,
        "loss/structure|xrd": 4 - step / 90,
        "samples_per_s": 200.0 + step % 7,
        "step_s": 0.5,
        "data_wait_s": 0.06,
        "forward_s": 0.2,
        "backward_s": 0.24,
        "data_wait_share": 0.12,
        "read_rows_per_s": 900.0,
        "featurize_rows_per_s": 150.0,
        "collate_rows_per_s": 8000.0,
        "queued_rows": 512.0,
        "quarantined_records": 2,
    }


def claim(run: UPath, settings: dict) -> None:
    """Begin a run."""
    run.mkdir(parents=True, exist_ok=True)
    (run / "job.json").write_text(json.dumps({"config_hash": "0", "settings": settings}))


def write_runs(runs: UPath) -> None:
    """One run of each kind and state."""
    for name in ("going", "silent", MARKUP):
        claim(runs / name, {"training": {"num_epochs": 5}})
        history = History.begin(runs / name)
        for step in range(10, 130, 10):
            history.add(report(step))
    for path in (runs / "silent").rglob("*.json*"):
        os.utime(path.path, (10**9, 10**9))
    claim(runs / "begun", {"training": {"num_epochs": 5}})
    claim(runs / "mini-anchored", {"training": {"num_epochs": 2}})
    (runs / "mini-anchored" / "result.json").write_text("{}")
    claim(runs / "mini-retrieval", {"retrieval": {}})
    grid = {"variants": [0, 1], "train_fractions": [1], "learning_rates": [1], "seeds": [0, 1]}
    claim(runs / "mini-sweep", grid | {"grid": {"weight_decay": [0, 1]}})
    for name, error in (("worse", 0.5), ("better", 0.25)):
        found = {"best_epoch": 3, "validation_error": error, "wall_time_s": 75.0}
        (runs / "mini-sweep" / "trials" / name).mkdir(parents=True)
        (runs / "mini-sweep" / "trials" / name / "trial.json").write_text(json.dumps(found))
    (runs / "mini-sweep" / "trials" / "early").mkdir()
    reached = {"epoch": 1, "validation_error": 0.9}
    (runs / "mini-sweep" / "trials" / "early" / "stopped.json").write_text(json.dumps(reached))
    (runs / "broken").mkdir()
    (runs / "broken" / "job.json").write_text("{")


def write_map(run: UPath, records: pd.DataFrame) -> None:
    (run / "maps").mkdir(parents=True)
    number = len(records)
    numbers = np.random.default_rng(0)
    for name in ("structure-umap", "xrd-tsne"):
        energies = numbers.normal(-1, 0.5, number)
        energies[0] = np.nan
        table = pd.DataFrame(
            {
                "material_id": records["material_id"],
                "reduced_formula": records["reduced_formula"],
                "x": numbers.normal(0, 3, number).astype(np.float32),
                "y": numbers.normal(0, 3, number).astype(np.float32),
                "crystal_system": [*numbers.choice(SYSTEMS, number - 1), None],
                "formation_energy_ev_per_atom": energies,
                "is_metal": [*(numbers.random(number - 1) < 0.4), None],
            }
        )
        table.to_parquet(run / "maps" / f"{name}.parquet")
    trust = {"value": 0.931, "num_neighbors": 15, "num_materials": number}
    entry = {"file": "structure-umap.parquet", "num_materials": number, "num_embedded": 2 * number}
    (run / "maps" / "summary.json").write_text(json.dumps([entry | {"trustworthiness": trust}]))


def write_storage(
    folder, *, num_materials: int = 60, num_test: int | None = None, seeds: int = 3
) -> SimpleNamespace:
    """Write all of it, and give what tests ask for."""
    root = UPath(folder)
    manifest = write_dataset(root / "datasets" / DATASET, num_materials)
    records = manifest.records(root / "datasets" / DATASET)
    ids = records["material_id"].tolist()
    tested = ids if num_test is None else [f"mp-{number}" for number in range(num_test)]
    rows = finetune_rows(root, manifest, tested, seeds) + retrieval_rows(root, manifest, ids)
    write_history(root / "runs" / "mini-anchored")
    write_map(root / "runs" / "mini-retrieval", records)
    write_runs(root / "runs")
    url = f"sqlite:///{root / 'leaderboard.sqlite'}"
    store = LeaderboardStore(url)
    store.upsert(rows)
    proven = [row for row in rows if row.model == MODELS["aligned"][0]]
    store.mark(proven, "recomputed", "omnimat 0.1.0, test")
    groups = {
        (row.task, key): row.group_id
        for row in rows
        for key, (model, _, _) in MODELS.items()
        if row.model == model
    }
    return SimpleNamespace(
        root=root,
        url=url,
        store=store,
        rows=rows,
        groups=groups,
        records=records,
        manifest=manifest,
    )


@pytest.fixture(scope="session")
def begin_run():
    """Begin a run that has reported some steps, and give its history."""

    def begin_run(run: UPath, *steps: int) -> History:
        claim(run, {"training": {"num_epochs": 5}})
        history = History.begin(run)
        for step in steps:
            history.add(report(step))
        return history

    return begin_run


@pytest.fixture(scope="session")
def new_report():
    return report


@pytest.fixture(scope="session")
def storage(tmp_path_factory):
    """Not to be written to."""
    return write_storage(tmp_path_factory.mktemp("storage"))


@pytest.fixture(scope="session")
def folds(storage, tmp_path_factory):
    """Two folds of 30 materials; the last model has predicted one of them."""
    root = UPath(tmp_path_factory.mktemp("folds"))
    first = next(row for row in storage.rows if row.task == "formation energy")
    table = pd.read_parquet(storage.root / first.predictions_uri)
    rows = []
    for model, (error, num_done) in FOLDED.items():
        for fold in range(num_done):
            part = table.iloc[fold::2].copy()
            signs = [1 if place % 3 else -0.5 for place in range(len(part))]
            part["prediction"] = part["target"] + [error * sign for sign in signs]
            path = root / f"{model}-{fold}.parquet"
            part.to_parquet(path.path)
            of_fold = {"property": "fold", "test": str(fold), "num_folds": 2}
            config = {"start": model, "fold": of_fold}
            update = {
                "task": f"formation energy, fold {fold} of {2}",
                "model": model,
                "variant": "finetuned",
                "value": float((part["prediction"] - part["target"]).abs().mean()),
                "num_test": len(part),
                "config": config,
                "config_hash": fingerprint(config),
                "predictions_uri": path.name,
                "predictions_sha256": sha256_of(path),
                "status": "self_reported",
            }
            rows.append(first.model_copy(update=update))
    store = LeaderboardStore(f"sqlite:///{root / 'leaderboard.sqlite'}")
    store.upsert(rows)
    summaries = store.summaries()
    means = fold_means(summaries, store.configs(one.config_hash for one in summaries))
    return root, store, {mean.members[0].model: mean for mean in means}


@pytest.fixture(scope="session")
def client(storage):
    with TestClient(create_app(storage.url, str(storage.root)), "http://127.0.0.1") as client:
        yield client


@pytest.fixture
def serve(tmp_path):
    """Serve these rows, beside the files of this test or of another storage, and give a client."""

    @contextmanager
    def serve(*rows, database="leaderboard.sqlite", root=tmp_path, token=None, **options):
        url = f"sqlite:///{tmp_path / database}"
        LeaderboardStore(url).upsert(rows)
        app = create_app(url, str(root), token)
        with TestClient(app, "http://127.0.0.1", **options) as client:
            yield client

    return serve


@pytest.fixture
def empty_client(serve):
    with serve(token=TOKEN) as client:
        yield client


@pytest.fixture(scope="session")
def hostile():
    """A name that would like to be markup, a script and a template."""
    return HOSTILE


@pytest.fixture(scope="module")
def chromium():
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        pytest.skip("no chromium on the PATH: apt install chromium")
    expect.set_options(timeout=30_000)  # a busy machine is slow, not wrong
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def address(storage, serving):
    with serving(storage.url, storage.root) as address:
        yield address


@pytest.fixture(scope="module")
def site(storage, tmp_path_factory):
    """The same pages in a folder behind a web server that knows nothing, in a folder of its own."""
    root = tmp_path_factory.mktemp("www")
    write_site(storage.url, str(storage.root), root / "lab" / "leaderboard")
    handler = functools.partial(QuietHandler, directory=str(root))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/lab/leaderboard"
    server.shutdown()
    thread.join()
    server.server_close()


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture
def open_page(chromium):
    """Open pages that may complain of nothing and ask nobody else; say so at the end."""
    contexts, complaints = [], []

    def open_page(url, **options):
        context = chromium.new_context(**options)
        contexts.append(context)
        page = context.new_page()
        origin = urlsplit(url).netloc
        page.on("pageerror", lambda error: complaints.append(str(error)))
        # A map reads pixels back to find what is under the mouse; a CPU says that this is slow.
        page.on(
            "console",
            lambda message: (
                complaints.append(message.text)
                if message.type != "log" and "GPU stall due to ReadPixels" not in message.text
                else None
            ),
        )
        page.on(
            "request",
            lambda request: (
                complaints.append(request.url)
                if urlsplit(request.url).netloc not in {origin, ""}
                else None
            ),
        )
        page.goto(url)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []
