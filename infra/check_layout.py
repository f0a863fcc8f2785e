"""Checks the layout; a test cannot, since pytest itself breaks when ``platform`` is shadowed.

It also checks that no code unpickles anything.

Run it with any Python: ``python infra/check_layout.py``. It exits with 1 and a sentence for each
fault.
"""

import stat
import sys
from pathlib import Path

import unpickling

REPOSITORY = Path(__file__).resolve().parents[1]
SHEBANG = "#!/usr/bin/env -S omnimat run"


def faults() -> list[str]:
    """List what is wrong with the layout."""
    found = [
        f"{name} exists: it shadows the standard library's platform; delete it"
        for name in ("platform/__init__.py", "platform.py")
        if (REPOSITORY / name).exists()
    ]
    for job in sorted((REPOSITORY / "jobs").rglob("*.yaml")):
        name = job.relative_to(REPOSITORY)
        if not job.stat().st_mode & stat.S_IXUSR:
            found.append(f"{name} has no run bit, so 'ray job submit {name}' fails: chmod +x it")
        with job.open() as lines:
            if lines.readline().rstrip("\n") != SHEBANG:
                found.append(f"{name}: its first line is not {SHEBANG!r}")
    return found + unpickling.faults(REPOSITORY)


if __name__ == "__main__":
    problems = faults()
    print("\n".join(problems) or "layout: ok")
    sys.exit(bool(problems))
