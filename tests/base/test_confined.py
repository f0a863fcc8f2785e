"""Only regular files inside the storage are opened, whoever chose their names."""

import contextlib
import os
import socket
from pathlib import Path

import pytest
from upath import UPath

from omnimat.base import confined
from omnimat.base.confined import Confined
from omnimat.base.errors import UserError
from omnimat.base.provenance import sha256_of

SECRET = b"a secret of the machine"


@pytest.fixture
def root(tmp_path):
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret").write_bytes(SECRET)
    root = tmp_path / "storage"
    (root / "runs" / "a" / "deep").mkdir(parents=True)
    (root / "runs" / "a" / "file").write_bytes(b"ours")
    (root / "runs" / "a" / "deep" / "other").write_bytes(b"also ours")
    return root


@pytest.fixture
def storage(root):
    return Confined(UPath(root))


@pytest.fixture(params=["local", "memory"])
def either(request, storage):
    """The same files on this machine and on a filesystem that is reached by a URI."""
    if request.param == "local":
        return storage
    remote = UPath("memory://bucket") / request.function.__name__  # brackets would be a pattern
    for inner in ("runs/a/file", "runs/a/deep/other"):
        (remote / inner).parent.mkdir(parents=True, exist_ok=True)
        (remote / inner).write_bytes((storage.root / inner).read_bytes())
    return Confined(remote)


def test_a_name_is_relative_and_is_found_again(either):
    path = either.root / "runs" / "a" / "file"
    assert either.name_of(path) == "runs/a/file"
    assert either.read("runs/a/file", "key") == b"ours"
    assert either.sha256("runs/a/file", "key") == sha256_of(path)


def test_a_folder_is_hashed_as_the_writer_does(either):
    assert either.sha256("runs/a", "key") == sha256_of(either.root / "runs" / "a")
    assert either.sha256("runs/a/", "key") == sha256_of(either.root / "runs" / "a")


def test_names_of_older_versions_begin_with_the_root(either):
    assert either.read(str(either.root / "runs" / "a" / "file"), "key") == b"ours"


def test_a_storage_that_is_reached_by_a_link_knows_both_its_names(root, tmp_path):
    (tmp_path / "link").symlink_to(root)
    linked = Confined(UPath(tmp_path / "link"))
    for name in ("runs/a/file", f"{tmp_path}/link/runs/a/file", f"{root}/runs/a/file"):
        assert linked.read(name, "key") == b"ours"
    assert linked.read(f"file://{root}/runs/a/file", "key") == b"ours"


def test_a_link_within_the_storage_is_followed(storage, root):
    (root / "runs" / "again").symlink_to(root / "runs" / "a")
    assert storage.read("runs/again/file", "key") == b"ours"


def test_what_is_missing_is_said_to_be(either):
    for call in (either.read, either.sha256, either.file, either.folder):
        with pytest.raises(FileNotFoundError):
            call("runs/a/nothing", "key")
    with pytest.raises(FileNotFoundError):
        either.tail("runs/a/nothing", "key", 10)


def test_the_end_of_a_file_is_read_alone(either):
    assert either.tail("runs/a/deep/other", "key", 4) == b"ours"
    assert either.tail("runs/a/deep/other", "key", 100) == b"also ours"


def test_the_end_of_what_never_ends_or_lies_outside_is_not_read(storage, root, tmp_path):
    (root / "runs" / "a" / "link").symlink_to(tmp_path / "outside" / "secret")
    os.mkfifo(root / "runs" / "a" / "pipe")
    for name in ("link", "pipe", "deep", "../../../outside/secret"):
        with pytest.raises(UserError):
            storage.tail(f"runs/a/{name}", "key", 10)


OUTSIDE = {
    "an absolute path": "/etc/shadow",
    "a file of the kernel": "/proc/self/environ",
    "an endless device": "/dev/zero",
    "a web server": "http://127.0.0.1:9/secret",
    "a file URI": "file:///etc/shadow",
    "a file URI with a host": "file://elsewhere/etc/shadow",
    "another bucket": "s3://elsewhere/secret",
    "another filesystem": "memory://elsewhere/secret",
    "a chain of filesystems": "zip://secret::/etc/archive.zip",
    "a chain without slashes": "runs/a::/etc/archive.zip",
    "dots": "runs/../../outside/secret",
    "dots alone": "..",
    "the root with dots": "{root}/../outside/secret",
    "a sibling of the root": "{root}-other/secret",
    "nothing": "",
    "the root": "{root}/",
    "a double slash": "runs//a/file",
    "NUL": "runs/a/file\0.parquet",
    "a control character": "runs/a/\x1b[2Jfile",
    "a lone surrogate": "runs/a/\udc80",
    "a long name": "runs/" + "a/" * 100_000,
    "a long part": "runs/" + "a" * 900,
}


@pytest.mark.parametrize("what", OUTSIDE)
def test_what_lies_outside_is_not_opened(either, what, monkeypatch):
    def opened(*arguments, **options):
        raise AssertionError(f"opened {arguments}")

    if what != "a long part":  # an honest path, which the filesystem refuses
        monkeypatch.setattr(confined, "_look_at", opened)
    monkeypatch.setattr(confined, "_chunks", opened)
    name = OUTSIDE[what].format(root=either.root)
    for call in (either.read, either.sha256, either.file, either.folder):
        with pytest.raises((UserError, FileNotFoundError)) as refused:
            call(name, "predictions_uri")
        assert len(str(refused.value)) < 1500


def link_to_a_file(bad, outside):
    bad.symlink_to(outside / "secret")


def link_to_a_folder(bad, outside):
    bad.symlink_to(outside)


def link_in_two_steps(bad, outside):
    bad.symlink_to("second")
    bad.with_name("second").symlink_to(os.path.relpath(outside / "secret", bad.parent))


def link_in_circles(bad, outside):
    bad.symlink_to(bad)


def link_to_a_device(bad, outside):
    bad.symlink_to("/dev/zero")


def pipe(bad, outside):
    os.mkfifo(bad)


def server_socket(bad, outside):
    with socket.socket(socket.AF_UNIX) as bound, contextlib.chdir(bad.parent):
        bound.bind(bad.name)  # which has to be short


def sparse_file(bad, outside):
    with bad.open("wb") as file:
        file.truncate(1 << 42)


HOSTILE = [
    link_to_a_file,
    link_to_a_folder,
    link_in_two_steps,
    link_in_circles,
    pipe,
    link_to_a_device,
    server_socket,
    sparse_file,
]


@pytest.mark.timeout(20)
@pytest.mark.parametrize("make", HOSTILE)
def test_what_is_no_regular_file_of_ours_is_not_opened(storage, root, tmp_path, make):
    make(root / "runs" / "bad", tmp_path / "outside")
    name = "runs/bad/secret" if make is link_to_a_folder else "runs/bad"
    for call in (storage.read, storage.sha256, storage.file):
        with pytest.raises(UserError, match=r"key: .*so it is not opened") as refused:
            call(name, "key")
        assert SECRET.decode() not in str(refused.value)


@pytest.mark.timeout(20)
@pytest.mark.parametrize("make", HOSTILE)
def test_a_folder_that_holds_such_is_not_hashed(storage, root, tmp_path, make):
    make(root / "runs" / "a" / "bad", tmp_path / "outside")
    with pytest.raises(UserError, match=r"key: 'runs/a/bad' .*so it is not opened"):
        storage.sha256("runs/a", "key")


def test_a_size_limit_holds(either):
    assert either.read("runs/a/file", "key", max_bytes=4) == b"ours"
    with pytest.raises(UserError, match="has 4 bytes, of which 3 are read"):
        either.read("runs/a/file", "key", max_bytes=3)


@pytest.mark.timeout(20)
def test_a_file_that_becomes_a_pipe_is_not_waited_for(storage, root, monkeypatch):
    looked_at = confined._look_at

    def swapped(path):
        found = looked_at(path)
        Path(path).unlink()
        os.mkfifo(path)
        return found

    monkeypatch.setattr(confined, "_look_at", swapped)
    with pytest.raises(UserError, match="no regular file any more"):
        storage.read("runs/a/file", "key")


def test_a_folder_of_too_many_files_or_bytes_is_not_hashed(either, monkeypatch):
    monkeypatch.setattr(confined, "MAX_HASHED_FILES", 3)
    monkeypatch.setattr(confined, "MAX_HASHED_BYTES", 13)
    assert either.sha256("runs/a", "key")
    monkeypatch.setattr(confined, "MAX_HASHED_BYTES", 12)  # each file alone is smaller
    with pytest.raises(UserError, match="key: 'runs/a' holds 13 bytes, of which 12 are read"):
        either.sha256("runs/a", "key")
    monkeypatch.setattr(confined, "MAX_HASHED_FILES", 1)
    with pytest.raises(UserError, match="key: 'runs/a' holds more than 1 files and folders"):
        either.sha256("runs/a", "key")
