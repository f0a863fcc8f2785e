"""Whether a run of some name has finished, may go on, or must begin anew. Loads no Ray."""

from __future__ import annotations

import json

from upath import UPath

from omnimat.base.errors import UserError
from omnimat.base.files import write_atomically
from omnimat.base.settings import Settings
from omnimat.base.workspace import RESULT, Workspace

CLAIM = "job.json"
"""File of a run's folder that says from the start under which settings the run was begun."""


def open_run(name: str, settings: Settings, workspace: Workspace, *, fresh: bool) -> UPath | None:
    """Give the folder in which a run begins or goes on, or None if it has finished.

    Args:
        name: name of the run.
        settings: settings of the run. Only what was begun under the same settings goes on.
        workspace: where runs are kept.
        fresh: begin anew beside what is there.

    Raises:
        UserError: a run of this name has other settings.
    """
    run = workspace.run(name)
    if fresh and run.exists():
        run = workspace.next_attempt(name)
    for file, expected in ((RESULT, settings.fingerprint()), (CLAIM, settings.claim())):
        if (run / file).exists():
            _check(run / file, name, expected)
    if (run / RESULT).exists():
        print(f"{name}: finished, nothing to do ({run})", flush=True)
        return None
    claim = {"config_hash": settings.claim(), "settings": settings.model_dump(mode="json")}
    write_atomically(run / CLAIM, f"{json.dumps(claim, indent=1)}\n".encode())
    return run


def _check(record: UPath, name: str, expected: str) -> None:
    if json.loads(record.read_text())["config_hash"] != expected:
        raise UserError(
            f"name: run {name!r} was made under other settings or by another version of omnimat; "
            f"choose another name, begin anew beside {record.parent} with --fresh, or take it out "
            "of needs where another job can use it as it is"
        )
