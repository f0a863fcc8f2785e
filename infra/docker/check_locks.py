"""Check the lock files against pyproject.toml and what is installed here; needs no network.

``python infra/docker/check_locks.py [FOLDER]``; exits with 1 and a sentence a fault.
"""

import re
import sys
import tomllib
from collections.abc import Iterable, Iterator
from functools import cache
from importlib import metadata
from pathlib import Path

from lock import EXTRAS, FOR_CUDA, HERE, PYPROJECT, TITLES, TORCH_CPU_INDEX, lock_file, parse
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

REMEDY = "run `make lock`"
ABSENT = "nothing"
PIN = re.compile(r"[^=\s]+==(\S+)(?: \\\n    --hash=sha256:[0-9a-f]{64})+\n(?: *#[^/]*\n)*")
HEAD = re.compile(rf"(?:#[^/]*\n|--index-url {re.escape(TORCH_CPU_INDEX)}\n)*")

Versions = dict[str, str]


def read(path: Path) -> tuple[Versions, list[str]]:
    """Read one lock file.

    Returns:
        The version pinned for each package, and what is wrong with the file.
    """
    text = path.read_text()
    pins = parse(text)
    versions, faults = {}, []
    if not HEAD.fullmatch(text.removesuffix("".join(pins.values()))):
        faults.append(f"{path.name} starts with more than comments and torch's index; {REMEDY}")
    for name, block in pins.items():
        match = PIN.fullmatch(block)
        if match is None:
            faults.append(f"{path.name}: {name} is not a version with hashes alone; {REMEDY}")
        else:
            versions[name] = match[1]
    return versions, faults


def mixed_up(locks: dict[str, Versions]) -> Iterator[str]:
    """Tell what belongs to the other build of torch."""
    cpu, cuda = (Version(locks[part].get("torch", "0")) for part in ("cpu", "cuda"))
    if cpu.local != "cpu" or set(locks["cpu"]) != {"torch"}:
        yield f"requirements-cpu.txt is to pin the CPU build of torch and no more; {REMEDY}"
    if cuda.local is not None or "triton" not in locks["cuda"]:
        yield f"requirements-cuda.txt is to pin PyPI's build of torch and its triton; {REMEDY}"
    if cpu.public != cuda.public:
        yield f"torch is {cpu.public} for CPUs and {cuda.public} for GPUs; {REMEDY}"
    for part in ("", "dev", "build"):
        for name in filter(FOR_CUDA.fullmatch, locks[part]):
            yield f"{lock_file(part).name}: {name} belongs into requirements-cuda.txt; {REMEDY}"


@cache
def installed(name: str) -> str:
    """Give the version installed here."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ABSENT


@cache
def requirements_of(name: str) -> list[Requirement]:
    """Give what the installed package needs, whatever its extras."""
    try:
        return [Requirement(text) for text in metadata.requires(name) or []]
    except metadata.PackageNotFoundError:
        return []


def needed(roots: Iterable[Requirement]) -> Iterator[tuple[Requirement, str]]:
    """Walk requirements by the metadata of what is installed.

    Yields:
        A requirement and whose it is.
    """
    queue = [(root, "pyproject.toml") for root in roots]
    seen: set[tuple[str, str]] = set()
    while queue:
        requirement, owner = queue.pop()
        yield requirement, owner
        name = canonicalize_name(requirement.name)
        extras = {"", *requirement.extras} - {extra for other, extra in seen if other == name}
        seen |= {(name, extra) for extra in extras}
        for child in requirements_of(name) if extras else []:
            if child.marker is None or any(child.marker.evaluate({"extra": e}) for e in extras):
                queue.append((child, name))


def unmet(file: str, roots: list[Requirement], versions: Versions) -> Iterator[str]:
    """Tell where pins and requirements do not agree, in either direction."""
    left = set(versions)
    is_whole = True  # the walk: what is not installed does not say what it needs
    for requirement, owner in needed(roots):
        name = canonicalize_name(requirement.name)
        left.discard(name)
        is_whole = is_whole and installed(name) != ABSENT
        version = versions.get(name)
        if version is None:
            yield f"{file} has no pin of {name}, which {owner} needs; {REMEDY}"
        elif not requirement.specifier.contains(version, prereleases=True):
            yield f"{file}: {name} {version} is not what {owner} needs, {requirement}; {REMEDY}"
        elif installed(name) != version:
            yield f"{file}: {name} {version} is pinned, {installed(name)} installed; run `make env`"
    if is_whole:
        yield from (f"{file}: nothing needs {name}; {REMEDY}" for name in sorted(left))


def faults(folder: Path) -> list[str]:
    """List what is wrong with the lock files of a folder."""
    project = tomllib.loads(PYPROJECT.read_text())["project"]
    optional = project["optional-dependencies"]
    runtime = [*project["dependencies"], *(text for e in EXTRAS for text in optional[e])]
    locks, found = {}, []
    for part in TITLES:
        locks[part], wrong = read(lock_file(part, folder))
        found += wrong
    found += mixed_up(locks)
    accelerator = "cpu" if installed("torch").endswith("+cpu") else "cuda"
    pins = {"setuptools": locks["build"]["setuptools"]} | locks[accelerator] | locks[""]
    found += unmet("requirements.txt", [Requirement(text) for text in runtime], pins)
    everything = [Requirement(text) for text in (*runtime, *optional["dev"])]
    found += unmet("requirements-dev.txt", everything, pins | locks["dev"])
    return list(dict.fromkeys(found))


if __name__ == "__main__":
    problems = faults(Path(sys.argv[1]) if sys.argv[1:] else HERE)
    print("\n".join(problems) or "locks: ok")
    sys.exit(bool(problems))
