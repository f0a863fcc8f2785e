"""Rows of strangers name files of the machine, of other machines, pipes and devices."""

import hashlib
import os
from pathlib import Path

import pytest

from omnimat.base.errors import UserError
from omnimat.cli.recomputation import recomputation, rerun
from omnimat.leaderboard.comparison import compare
from omnimat.testing.opened import watched
from omnimat.verification.rerun import Sample
from omnimat.verification.verify import verify
from omnimat_dashboard.artifacts import Artifacts

FIELDS = ("predictions_uri", "checkpoint_uri", "dataset_uri", "dataset")
NAMES = (
    "/etc/shadow",
    "/etc/passwd",
    "/proc/self/environ",
    "/dev/zero",
    "http://127.0.0.1:9/a.parquet",
    "https://127.0.0.1:9/a.parquet",
    "file:///etc/passwd",
    "file://elsewhere/etc/passwd",
    "s3://elsewhere/a.parquet",
    "memory://elsewhere/a.parquet",
    "zip://a.parquet::/etc/archive.zip",
    "../outside/secret.parquet",
    "runs/../../outside/secret.parquet",
    "runs/link.parquet",
    "runs/folder/secret.parquet",
    "runs/pipe.parquet",
    "runs/zero.parquet",
    "runs/sparse.parquet",
    "runs/circle.parquet",
    "runs/a\0b.parquet",
    "runs/" + "a/" * 5000 + "b.parquet",
    "runs/" + "a" * 900 + ".parquet",
    "",
)


def _nowhere(field):
    """A row whose data set has no place is looked for by its name."""
    return {"dataset_uri": ""} if field == "dataset" else {}


@pytest.fixture
def hostile(bench, tmp_path):
    """Rows under new names, each with one hostile name in one field."""
    root, outside = bench.workspace.root, tmp_path / "outside"
    outside.mkdir()
    (outside / "secret.parquet").write_bytes(b"secret")
    (root / "runs" / "link.parquet").symlink_to(outside / "secret.parquet")
    (root / "runs" / "folder").symlink_to(outside)
    (root / "runs" / "zero.parquet").symlink_to("/dev/zero")
    (root / "runs" / "circle.parquet").symlink_to("circle.parquet")
    os.mkfifo(root / "runs" / "pipe.parquet")
    with (root / "runs" / "sparse.parquet").open("wb") as file:
        file.truncate(1 << 42)
    honest = {"fit": bench.rows["structure"][0], "retrieval": bench.rows["retrieval"][0]}
    return [
        row.model_copy(update=_nowhere(field) | {field: name, "model": f"{key} {field} {place}"})
        for key, row in honest.items()
        for field in FIELDS
        for place, name in enumerate(NAMES)
        if name or field == "predictions_uri"
    ]


def foreign(opened, root):
    """Give what was opened of the hostile names."""
    bad = ("/etc/shadow", "/etc/passwd", "/proc/self/environ", "/dev/zero", "outside", "socket")
    ours = (f"{root}/runs/{name}" for name in ("link", "folder", "pipe", "zero", "sparse"))
    return [one for one in opened if one.startswith((*bad, *ours)) or "/outside/" in one]


@pytest.mark.timeout(120)
def test_none_of_them_is_opened(bench, hostile):
    assert len(hostile) == 2 * (len(FIELDS) * len(NAMES) - 3) == 178
    bench.store.upsert(hostile)
    with watched() as opened:
        outcomes = verify(
            bench.store,
            bench.workspace.files,
            recomputation,
            reruns=lambda section: rerun(section, Sample(2)),
        )
    assert len(opened) > 10
    assert foreign(opened, bench.workspace.root) == []
    assert {one.verdict for one in outcomes} <= {"unverifiable", "failed"}
    passwords = Path("/etc/passwd").read_bytes()
    secrets = [hashlib.sha256(one).hexdigest() for one in (b"secret", passwords)]
    for one in outcomes:
        assert one.sentences
        text = "\n".join(one.sentences)
        assert not any(secret[:16] in text for secret in secrets)
        assert "\0" not in text
        assert len(text) < 3000


@pytest.mark.timeout(60)
def test_compare_and_the_pages_open_none_of_them(bench, hostile):
    rows = [row for row in hostile if row.section == "finetune"]
    artifacts, honest = Artifacts(bench.workspace), bench.rows["structure"][1]
    with watched() as opened:
        for row in rows:
            if row.predictions_uri != honest.predictions_uri and "predictions_uri" in row.model:
                with pytest.raises(UserError):
                    compare([row], [honest], bench.workspace.files)
                assert artifacts.predictions(row).value is None
            if "checkpoint_uri" in row.model:
                assert artifacts.trial(row).value is None
    assert foreign(opened, bench.workspace.root) == []


def test_a_folder_of_the_storage_that_is_made_up_of_links_is_no_data_set(bench, tmp_path):
    """Its manifest and index are in order, but its shards are elsewhere."""
    row, *_ = bench.rows["structure"]
    shard = bench.dataset / "shard-00001.tar"
    outside = tmp_path / "shard.tar"
    outside.write_bytes(shard.read_bytes())
    shard.unlink()
    shard.symlink_to(outside)
    bench.store.upsert([row])
    [outcome] = bench.verify()
    assert outcome.verdict == "unverifiable"
    assert "is a link that leads out of the storage" in "\n".join(outcome.sentences)


def test_a_shard_that_only_the_index_names_is_not_followed_out(bench, tmp_path):
    row, *_ = bench.rows["structure"]

    def move(index):
        index.loc[4, "shard"] = 7
        return index

    bench.rewrite_index(move)
    (bench.dataset / "shard-00007.tar").symlink_to(tmp_path / "outside.tar")
    (tmp_path / "outside.tar").write_bytes((bench.dataset / "shard-00000.tar").read_bytes())
    bench.store.upsert([row])
    with watched() as opened:
        [outcome] = bench.verify()
    assert outcome.verdict == "unverifiable"
    assert not [one for one in opened if one.endswith("outside.tar")]
