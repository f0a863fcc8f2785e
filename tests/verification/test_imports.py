"""Verification stands at the end of the road: it looks at every room, and none looks at it."""

from pathlib import Path

import omnimat

PACKAGE = Path(omnimat.__file__).parent


def test_only_the_command_line_imports_verification():
    importers = {
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*.py")
        if "from omnimat.verification" in path.read_text() and path.parent.name != "verification"
    }
    assert importers == {"leaderboard_cli.py"}
