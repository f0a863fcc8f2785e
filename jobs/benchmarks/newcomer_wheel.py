#!/usr/bin/env python
"""The newcomer's test: how many seconds lie between `pip install` and a model of one's own.

The wheel of this tree is built, and installed with its dependencies into an environment that holds
nothing else. There the first lines of README.md run on the CIFs of `jobs/crystals`, and then
`omnimat finetune` makes a model out of the shipped one, of the crystals and the label of
`newcomer.py`.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import click
from measure import omnimat, report
from newcomer import write_files

REPOSITORY = Path(__file__).parents[2]
CPU_INDEX = "https://download.pytorch.org/whl/cpu"
NOT_SOURCES = shutil.ignore_patterns("__pycache__", "*.egg-info")
FIRST_LINES = re.compile(r"```python\n(.*?)```", re.DOTALL)


@click.command()
@click.option("--materials", default=400, show_default=True, help="How many crystals are labelled.")
@click.option("--model", default="mp-small", show_default=True, help="What is tuned.")
@click.option(
    "--torch-index", default=CPU_INDEX, show_default=True, help="Where torch is looked for too."
)
@click.option("--folder", type=click.Path(path_type=Path), help="Where; default: a temporary one.")
@click.option("--set", "overrides", multiple=True, help="A key of the job, as for `finetune`.")
def main(
    materials: int, model: str, torch_index: str, folder: Path | None, overrides: tuple[str, ...]
) -> None:
    """Time each step in processes of its own, which see nothing of this repository."""
    os.environ.pop("PYTHONPATH", None)
    with tempfile.TemporaryDirectory(prefix="omnimat-newcomer-") as temporary:
        folder = (folder or Path(temporary)).absolute()
        folder.mkdir(parents=True, exist_ok=True)
        python = folder / "environment/bin/python"
        indexes = ["--extra-index-url", torch_index] if torch_index else []
        tuning = ("finetune", model, "crystals", "--labels", "labels.csv", "--target", "response")
        keys = [text for one in overrides for text in ("--set", one)]
        steps: dict[str, Callable[[], str]] = {
            "build the wheel": lambda: build(folder),
            "make an environment": lambda: run(sys.executable, "-m", "venv", python.parents[1]),
            "pip install": lambda: run(python, "-m", "pip", "install", *indexes, wheel_in(folder)),
            "the first lines": lambda: first_lines(folder, python),
            "omnimat finetune": lambda: omnimat(folder, *tuning, *keys, python=python),
        }
        write_files(folder, materials)
        rows = []
        for name, step in steps.items():
            start = time.perf_counter()
            told = step()
            rows.append({"step": name, "seconds": time.perf_counter() - start})
            click.echo("\n".join(told.splitlines()[-15:]))
        report("the newcomer's test", rows, n=materials, model=model)


def build(folder: Path) -> str:
    """Build the wheel from a copy: setuptools would pack what an earlier build left in the tree."""
    sources = folder / "sources"
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        sources.mkdir(exist_ok=True)
        shutil.copy(REPOSITORY / name, sources)
    for name in ("platform", "dashboards/leaderboard"):
        shutil.copytree(REPOSITORY / name, sources / name, ignore=NOT_SOURCES)
    options = ("--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", folder)
    return run(sys.executable, "-m", "pip", "wheel", *options, sources)


def wheel_in(folder: Path) -> Path:
    """Give the wheel that `build` left."""
    return next(folder.glob("omnimat-*.whl"))


def first_lines(folder: Path, python: Path) -> str:
    """Run the first Python of README.md beside the CIFs that it names."""
    found = FIRST_LINES.search((REPOSITORY / "README.md").read_text())
    assert found
    shutil.copytree(REPOSITORY / "jobs/crystals", folder / "first")
    (folder / "first/first_lines.py").write_text(found[1])
    return run(python, "first_lines.py", folder=folder / "first")


def run(*command: object, folder: Path | None = None) -> str:
    """Run a command; give what it prints."""
    done = subprocess.run(list(map(str, command)), cwd=folder, capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stdout + done.stderr)
    return done.stdout


if __name__ == "__main__":
    main()
