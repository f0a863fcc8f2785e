#!/usr/bin/env python
"""What the demo costs from end to end: CPU and wall seconds of all its processes.

    python jobs/benchmarks/demo.py --before ../an-older-checkout

What ``make demo`` runs after ``make env``, on an empty storage, from this checkout and from those
named, in turn.
"""

import os
import secrets
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import click
from measure import report
from start import JOBS, MARK, Clock, Start, turns

from omnimat.testing.ray_head import clean_environment, free_ports

HERE = JOBS.parent


def demo(checkout: Path, folder: Path) -> dict[str, float]:
    """Run the demo of a checkout on a storage that is new; give what it took."""
    mark = secrets.token_hex(8)
    path = os.pathsep.join([str(checkout / ".venv/bin"), os.environ["PATH"]])
    environment = clean_environment(OMNIMAT_STORAGE=str(folder / mark), **{MARK: mark})
    environment["PATH"] = path
    command = [str(checkout / "infra/demo.sh"), *map(str, free_ports(2))]
    return Start(command, environment, Clock(mark), folder).measure()


@click.command(help=__doc__.split("\n")[0])
@click.option("--before", "others", multiple=True, help="Another checkout to run beside this one.")
@click.option("--repeats", default=1, show_default=True)
def main(others: Sequence[str], repeats: int) -> None:
    """Run the demos in turn and print one table."""
    with tempfile.TemporaryDirectory() as name:
        checkouts = [*(Path(other).resolve() for other in others), HERE]
        ways: dict[str, Callable[[], dict[str, float]]] = {
            str(checkout): partial(demo, checkout, Path(name)) for checkout in checkouts
        }
        report("the demo, from end to end", turns(ways, repeats), repeats=repeats)


if __name__ == "__main__":
    main()
