"""Whether a run of some name has finished, may go on, or must begin anew. Loads no Ray."""

from __future__ import annotations

from contextlib import ExitStack

from upath import UPath

from omnimat.base.checked_json import read_checked_json, write_checked_json
from omnimat.base.errors import UserError
from omnimat.base.lease import Lease, take_over
from omnimat.base.settings import Settings
from omnimat.base.workspace import RESULT, RUNS, Workspace

CLAIM = "job.json"
"""File of a run's folder that says from the start under which settings the run was begun."""


def open_run(
    name: str, settings: Settings, workspace: Workspace, *, fresh: bool, among: str = RUNS
) -> Lease | None:
    """Take the lease of the folder in which a run begins or goes on; None if it has finished.

    Args:
        name: name of the run.
        settings: settings of the run. Only what was begun under the same settings goes on, or
            under those of them that it must keep (``Settings.claim``), even if it has finished.
        workspace: where runs are kept.
        fresh: begin anew beside what is there.
        among: folder of all runs of its kind.

    Raises:
        UserError: a run of this name has other settings, or another process works on it.
    """
    run = workspace.run(name, among)
    if fresh and run.exists():
        take_over(run, f"run {name}")
        run = workspace.next_attempt(name, among)
    if _has_finished(run, name, settings):
        return None
    with ExitStack() as stack:
        lease = stack.enter_context(Lease.acquire(run, f"run {name}"))
        if _has_finished(run, name, settings):  # while this process waited
            return None
        claim = {"config_hash": settings.claim(), "settings": settings.model_dump(mode="json")}
        write_checked_json(run / CLAIM, claim)
        stack.pop_all()
        return lease


def is_complete(run: UPath, settings: Settings) -> bool:
    """Say whether a run has finished with all that its settings ask for.

    One that need not keep all of its settings, as a sweep that may grow, can have finished with
    others.
    """
    if not (run / RESULT).exists():
        return False
    return not _may_grow(settings) or _hash_in(run / RESULT) == settings.fingerprint()


def _may_grow(settings: Settings) -> bool:
    return settings.claim() != settings.fingerprint()


def _has_finished(run: UPath, name: str, settings: Settings) -> bool:
    """Say so if a run has finished, and refuse one that was made under other settings."""
    is_claimed = (run / CLAIM).exists()
    if is_claimed:
        _check(run / CLAIM, name, settings.claim())
    if not (run / RESULT).exists():
        return False
    if is_claimed and not is_complete(run, settings):
        print(
            f"{name}: finished under settings that were changed since; goes on ({run})", flush=True
        )
        return False
    _check(run / RESULT, name, settings.fingerprint())
    print(f"{name}: finished, nothing to do ({run})", flush=True)
    return True


def _check(record: UPath, name: str, expected: str) -> None:
    if _hash_in(record) != expected:
        raise UserError(
            f"name: run {name!r} was made under other settings or by another version of omnimat; "
            f"choose another name, begin anew beside {record.parent} with --fresh, or take it out "
            "of needs where another job can use it as it is"
        )


def _hash_in(record: UPath) -> object:
    remedy = f"restore it from a copy, or begin anew beside {record.parent} with --fresh"
    return read_checked_json(record, remedy).get("config_hash")
