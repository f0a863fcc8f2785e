"""What schemas leave open: labels, images, versions, variables and job files must exist."""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path

from packaging.requirements import Requirement

from omnimat.base.errors import UserError
from omnimat.cluster.capacity import LARGEST
from omnimat.job.load import load_tree
from omnimat.stream.settings import ROLE_LABEL
from validation.schema import Document, suggestion

REPOSITORY = Path(__file__).resolve().parents[2]
ROLES = ("trainer", "featurizer")
CREDENTIALS = frozenset({"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"})
"""Variables that only our libraries read, and no line of our own."""

_OUR_VARIABLE = re.compile(r"\b(?:OMNIMAT|MP|AWS)_[A-Z0-9_]+\b")
_JOB_FILE = re.compile(r"\bjobs/[\w./-]+\.yaml\b")
_IMAGE = re.compile(r"\bomnimat:[\w.-]+")


def text_faults(path: Path) -> Iterator[str]:
    """Check the names that a file contains: variables, job files, images, and who may connect."""
    text = path.read_text()
    found = [
        *variable_faults(_OUR_VARIABLE.findall(text)),
        *job_file_faults(_JOB_FILE.findall(text)),
        *(fault for image in _IMAGE.findall(text) for fault in _tag_faults(image)),
    ]
    if "0.0.0.0" in text:
        found.append("0.0.0.0 lets everybody in; name an address or a network of yours")
    yield from (f"{path}: {fault}" for fault in sorted(set(found)))


def node_type_faults(node_types: Mapping[str, Document], head: str) -> Iterator[str]:
    """Check what Ray will know about its nodes.

    Args:
        node_types: the types of nodes by name, in the layout of ``ray up``.
        head: the name of the head's type.
    """
    if node_types[head]["resources"].get("CPU") != 0:
        yield f"{head}: the head must have 0 CPUs, or work could take it down"
    roles = {}
    for name in node_types.keys() - {head}:
        roles[name] = node_types[name].get("labels", {}).get(ROLE_LABEL)
        if roles[name] not in ROLES:
            yield f"{name}: the label {ROLE_LABEL} is {roles[name]!r}, not one of {ROLES}"
        if roles[name] == "featurizer" and node_types[name]["resources"].get("GPU"):
            yield f"{name}: featurizers use no GPU"
    yield from (f"no node type is a {role}" for role in ROLES if role not in roles.values())


def largest_faults(node_types: Mapping[str, Document], told: str | None) -> Iterator[str]:
    """Check that jobs are told how large the cluster may grow.

    Args:
        node_types: the types of nodes by name, in the layout of ``ray up``.
        told: what the head's variable says.
    """
    largest: Counter[str] = Counter()
    for node_type in node_types.values():
        for resource in ("CPU", "GPU"):
            amount = node_type["resources"].get(resource, 0)
            largest[resource] += node_type.get("max_workers", 0) * amount
    expected = ",".join(f"{name}={amount:g}" for name, amount in largest.items() if amount)
    if told != expected:
        yield f"the head's {LARGEST} is {told!r}; its groups may grow to {expected!r}"


def image_faults(node_type: str, image: str, *, has_gpu: bool) -> Iterator[str]:
    """Check that a type of node runs our image of this version, for CUDA if it has GPUs."""
    accelerator = "cuda" if has_gpu else "cpu"
    if not image.endswith(f"omnimat:{version()}-{accelerator}"):
        yield f"{node_type}: runs {image!r}, not omnimat:{version()}-{accelerator}"


def _tag_faults(image: str) -> Iterator[str]:
    tags = [f"omnimat:{version()}-{accelerator}" for accelerator in ("cpu", "cuda")]
    if image not in tags:
        yield f"image {image} is none of {', '.join(tags)}"


def variable_faults(names: Iterable[str]) -> Iterator[str]:
    """Check that somebody reads these environment variables."""
    known = _variables() | CREDENTIALS
    for name in names:
        if name not in known and not name.startswith("RAY_"):
            yield f"nothing reads the variable {name}{suggestion(name, known)}"


def job_file_faults(names: Iterable[str]) -> Iterator[str]:
    """Check that these are valid job files, and so are all that they need."""
    yield from filter(None, map(_job_file_fault, set(names)))


@cache
def _job_file_fault(name: str) -> str | None:
    path = REPOSITORY / name
    if not path.is_file():
        files = [str(p.relative_to(REPOSITORY)) for p in REPOSITORY.glob("jobs/**/*.yaml")]
        return f"{name} does not exist{suggestion(name, files)}"
    try:
        load_tree(path)
    except UserError as error:
        return str(error)
    return None


def ray_version_faults(ray_version: str) -> Iterator[str]:
    """Check that we support a version of Ray."""
    requirements = map(Requirement, _pyproject()["dependencies"])
    supported = next(r.specifier for r in requirements if r.name == "ray")
    if not re.fullmatch(r"\d+\.\d+\.\d+", ray_version) or ray_version not in supported:
        yield f"rayVersion is {ray_version}; pyproject.toml asks for {supported}"


def version() -> str:
    """Give the version in pyproject.toml."""
    return str(_pyproject()["version"])


@cache
def _pyproject() -> Document:
    project: Document = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    return project


@cache
def _variables() -> frozenset[str]:
    """Find the names of environment variables in our sources: capital letters in quotes."""
    sources = (REPOSITORY / "platform").rglob("*.py")
    quoted = re.compile(r'"((?:OMNIMAT|MP|AWS)_[A-Z0-9_]+)"')
    return frozenset(name for source in sources for name in quoted.findall(source.read_text()))
