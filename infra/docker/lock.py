"""Resolve pyproject.toml into the lock files beside this script: ``make lock``.

Pins that still fit stay; ``make lock UPGRADE=--upgrade`` takes the newest of everything.
"""

import os
import re
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

HERE = Path(__file__).resolve().parent
PYPROJECT = HERE.parents[1] / "pyproject.toml"
UV_VERSION = "0.13.8"
TORCH_CPU_INDEX = "https://download.pytorch.org/whl/cpu"
TORCH_INDEX = os.environ.get("TORCH_INDEX", TORCH_CPU_INDEX)  # or a mirror of it
# PyPI's torch, and what comes with it for NVIDIA's cards.
FOR_CUDA = re.compile(r"torch|triton|nvidia-.+|cuda-.+")

# What every environment of omnimat has besides its dependencies. The extra forcefield is not among
# it, since CHGNet has no wheels for Linux on arm64.
EXTRAS = ("gcp", "gcs", "postgresql", "s3", "text")

TITLES = {
    "build": "What installs and builds the others.",
    "": "What omnimat imports, except torch: the same on every machine.",
    "cpu": f"torch for machines without a card.\n--index-url {TORCH_CPU_INDEX}",
    "cuda": "torch for NVIDIA cards, with the CUDA libraries it loads.",
    "dev": "What tests and checks need besides.",
}

Pins = dict[str, str]
"""The lines of a lock file, by the name of the package that they pin."""


def lock_file(part: str, folder: Path = HERE) -> Path:
    """Give the path of one lock file."""
    return folder / f"requirements{part and '-'}{part}.txt"


def parse(text: str) -> Pins:
    """Split a lock file into its pins: a line ``name==version`` and the indented lines under it."""
    blocks = re.split(r"^(?=[a-z0-9])", text, flags=re.MULTILINE)[1:]
    return {re.split(r"==|\[", block, maxsplit=1)[0]: block for block in blocks}


def write(part: str, pins: Pins) -> None:
    """Write one lock file."""
    title = f"# {TITLES[part]}\n# Made by `make lock` from pyproject.toml; do not edit."
    lock_file(part).write_text("\n".join([title, *(pins[name].rstrip() for name in pins), ""]))


class Resolver:
    """Calls uv, which is in an environment of its own."""

    def __init__(self, folder: Path, options: list[str]) -> None:
        """Install uv.

        Args:
            folder: where to install it, and for temporary files.
            options: more options of ``uv pip compile``.
        """
        venv.create(folder, with_pip=True)
        pip = [f"{folder}/bin/python", "-m", "pip", "--disable-pip-version-check", "install"]
        subprocess.run([*pip, "--quiet", f"uv=={UV_VERSION}"], check=True)
        self._output = folder / "pins.txt"
        self._uv = [f"{folder}/bin/uv", "pip", "compile", "--quiet", "--no-config", "--no-header"]
        self._uv += ["--system-certs", "--generate-hashes", f"--output-file={self._output}"]
        # Python 3.12 and arm64 resolve to the same versions, and every wheel has its hash.
        self._uv += ["--python-version=3.11", "--python-platform=x86_64-manylinux_2_28", *options]

    def pins(self, keep: Pins, *options: str, requirements: str = "") -> Pins:
        """Resolve requirements.

        Args:
            keep: the pins that stay if they still fit.
            options: more options; the last one is the file ``pyproject.toml``, or ``-`` for text.
            requirements: the text, if there is no file.
        """
        self._output.write_text("".join(keep.values()))
        command = [*self._uv, *options]
        # In the repository, or its path would stand in comments.
        subprocess.run(command, input=requirements, text=True, check=True, cwd=PYPROJECT.parent)
        return parse(self._output.read_text())


def main(options: list[str]) -> None:
    """Write all lock files."""
    pins: Pins = {}
    for part in TITLES:
        pins |= parse(lock_file(part).read_text())
    with tempfile.TemporaryDirectory() as folder:
        resolver = Resolver(Path(folder), options)
        extras = [f"--extra={name}" for name in EXTRAS]
        everything = resolver.pins(pins, *extras, "--extra=dev", PYPROJECT.name)
        runtime = resolver.pins(everything, *extras, PYPROJECT.name)
        tools = f"pip\nsetuptools\nuv=={UV_VERSION}"
        build = resolver.pins(pins, "--no-annotate", "-", requirements=tools)
        torch = f"{runtime['torch'].split()[0]}+cpu"
        if f"{torch} " not in lock_file("cpu").read_text():  # or its index is not asked
            options = ["--no-deps", "--no-annotate", f"--default-index={TORCH_INDEX}", "-"]
            write("cpu", resolver.pins({}, *options, requirements=torch))
    write("build", build)
    cuda = {name: pin for name, pin in runtime.items() if FOR_CUDA.fullmatch(name)}
    write("cuda", cuda)
    write("", {name: pin for name, pin in runtime.items() if name not in cuda | build})
    write("dev", {name: pin for name, pin in everything.items() if name not in runtime})


if __name__ == "__main__":
    main(sys.argv[1:])
