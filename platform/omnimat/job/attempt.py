"""Whether a run of this name has finished, may go on, or must begin anew; loads no Ray."""

from __future__ import annotations

import json

from upath import UPath

from omnimat.base.errors import UserError
from omnimat.base.files import write_atomically
from omnimat.base.settings import Settings
from omnimat.base.workspace import RESULT, Workspace

CLAIM = "job.json"


def open_run(name: str, settings: Settings, workspace: Workspace, *, fresh: bool) -> UPath | None:
    """Give the folder in which a run begins or goes on, or None where it has finished.

    Args:
        name: of the run.
        settings: of the run; another job's results are never gone on from.
        workspace: where runs lie.
        fresh: begin anew beside what is there.

    Raises:
        UserError: this name was used under other settings.
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
