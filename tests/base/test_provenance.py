"""Commit, machine and hashes, with and without git."""

import hashlib
import json
import shutil
import subprocess
from pathlib import Path

import pytest
from upath import UPath

from omnimat.base import provenance
from omnimat.base.provenance import code_commit, hardware, sha256_of


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A git repository with one commit in which the module's own file lies."""
    monkeypatch.delenv("OMNIMAT_COMMIT", raising=False)
    copy = tmp_path / "repository" / "provenance.py"
    copy.parent.mkdir()
    shutil.copy(provenance.__file__, copy)
    monkeypatch.setattr(provenance, "__file__", str(copy))
    git(copy.parent, "init", "-q")
    git(copy.parent, "add", ".")
    git(copy.parent, "commit", "-q", "-m", "one")
    return copy.parent


def git(folder: Path, *arguments):
    author = ("-c", "user.name=a", "-c", "user.email=a@example.org")
    return subprocess.run(
        ("git", "-C", folder, *author, *arguments), check=True, capture_output=True, text=True
    ).stdout.strip()


def test_commit_and_dirty_flag(checkout):
    head = git(checkout, "rev-parse", "HEAD")
    assert code_commit() == (head, False)
    (checkout / "new.txt").write_text("uncommitted")
    assert code_commit() == (head, True)


def test_unknown_in_somebody_elses_checkout(checkout):
    git(checkout, "rm", "-q", "--cached", "provenance.py")
    assert code_commit() == ("unknown", False)


def test_unknown_without_git(checkout, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert code_commit() == ("unknown", False)


@pytest.mark.parametrize(
    ("packaged", "expected"), [("abc123", ("abc123", False)), ("abc123-dirty", ("abc123", True))]
)
def test_packaged_copy_says_its_commit(monkeypatch, packaged, expected):
    monkeypatch.setenv("OMNIMAT_COMMIT", packaged)
    assert code_commit() == expected


def test_hardware_is_json_with_real_figures():
    machine = json.loads(json.dumps(hardware()))
    assert set(machine) == {"cpu", "cores", "memory_gib", "gpus"}
    assert machine["cpu"]
    assert machine["cores"] >= 1
    assert machine["memory_gib"] > 0.1


def test_file_hash_is_sha256sums(tmp_path):
    content = b"x" * (1 << 20) + b"end"
    (tmp_path / "file").write_bytes(content)
    assert sha256_of(UPath(tmp_path / "file")) == hashlib.sha256(content).hexdigest()
    with pytest.raises(FileNotFoundError):
        sha256_of(UPath(tmp_path / "missing"))


def test_folder_hash_follows_names_and_content(tmp_path):
    folder = UPath(tmp_path / "checkpoint")
    (folder / "deep").mkdir(parents=True)
    (folder / "b").write_text("1")
    (folder / "deep" / "a").write_text("2")
    before = sha256_of(folder)
    shutil.copytree(tmp_path / "checkpoint", tmp_path / "copy")
    assert sha256_of(UPath(tmp_path / "copy")) == before
    (folder / "b").rename(folder / "c")
    renamed = sha256_of(folder)
    (folder / "c").write_text("3")
    assert len({before, renamed, sha256_of(folder)}) == 3


def test_folder_hash_is_the_same_on_other_storage(tmp_path):
    local, memory = UPath(tmp_path / "run"), UPath("memory:///run")
    for root in (local, memory):
        (root / "deep").mkdir(parents=True)
        (root / "deep" / "a").write_text("2")
        (root / "b").write_text("1")
    assert sha256_of(local) == sha256_of(memory)
