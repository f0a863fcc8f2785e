"""Which folder is a run's newest attempt."""

import pytest
from upath import UPath

from omnimat.base.workspace import Workspace


@pytest.fixture
def workspace(tmp_path):
    return Workspace(UPath(tmp_path))


def make(workspace, *folders: str) -> None:
    for folder in folders:
        (workspace.root / "runs" / folder).mkdir(parents=True)


def test_attempts_are_counted_not_sorted_by_name(workspace):
    assert workspace.run("a").name == "a"
    make(workspace, "a", "a@2", "a@9", "a@10", "ab@11")
    assert workspace.run("a").name == "a@10"
    assert workspace.next_attempt("a").name == "a@11"


def test_a_copy_that_somebody_keeps_is_no_attempt(workspace):
    make(workspace, "a", "a@backup", "a@2-old", "a@02", "a@1", "a@")
    assert workspace.run("a").name == "a"
    assert workspace.next_attempt("a").name == "a@2"
