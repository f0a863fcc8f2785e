"""Where a model comes from: data, pretraining, fine-tuning, package, a step after the other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from omnimat.leaderboard.imported import IMPORTED
from omnimat.leaderboard.origins import Origin
from omnimat_dashboard.artifacts import Artifacts, attempt
from omnimat_dashboard.packages import Packed
from omnimat_dashboard.run_files import RunFiles

_TRAINED = {
    "finetuned": "fine-tuning",
    "frozen": "training of a head on frozen encoders",
    "linear_probe": "training of a linear probe on frozen encoders",
    "from_scratch": "training from scratch",
    "pretrained": "evaluation",
}
_DATA, _JUDGED = "data set", "judged on the data set"


@dataclass(frozen=True, slots=True)
class Step:
    """One step.

    Attributes:
        kind: what happened: ``data set``, ``pretraining``, ``fine-tuning``, ``package``, ...
        name: the name of what was made or used.
        page: the parts of its page's address; empty if it has none here.
        also: what else there is to say in a few words.
    """

    kind: str
    name: str
    page: tuple[str, ...] = ()
    also: str = ""


@dataclass(frozen=True, slots=True)
class Lineage:
    """The steps that lead to some results of a model.

    Attributes:
        origin: what these results have in common.
        steps: the steps, the first one first.
    """

    origin: Origin
    steps: Sequence[Step]


def lineages(
    artifacts: Artifacts, origins: Iterable[Origin], packages: Sequence[Packed]
) -> list[Lineage]:
    """Follow results of a model back to the data.

    Raises:
        RunError: the storage is out of reach.
    """
    runs, datasets = artifacts.runs(), set(artifacts.datasets())
    return [Lineage(one, [*_made(one, runs, datasets), *_packed(one, packages)]) for one in origins]


def _made(origin: Origin, runs: dict[str, RunFiles], datasets: set[str]) -> Iterator[Step]:
    if origin.variant == IMPORTED:
        yield Step("imported predictions", origin.run_name)
        yield _data(origin.dataset, datasets, _JUDGED)
        return
    if origin.parent_run:
        shown = _dataset_of(runs.get(origin.parent_run))
        if shown:
            yield _data(shown, datasets)
        yield _run("pretraining", origin.parent_run, runs)
    yield _data(origin.dataset, datasets, _JUDGED if origin.variant == "pretrained" else _DATA)
    kind = _TRAINED.get(origin.variant, origin.variant.replace("_", " "))
    yield _run(kind, origin.run_name, runs)


def _packed(origin: Origin, packages: Sequence[Packed]) -> Iterator[Step]:
    for one in packages:
        if one.holds(origin):
            where = "in this storage" if one.place else "comes with omnimat"
            yield Step("package", one.name, also=where)


def _data(name: str, datasets: set[str], kind: str = _DATA) -> Step:
    return Step(kind, name, ("dataset", name) if name in datasets else ())


def _run(kind: str, name: str, runs: dict[str, RunFiles]) -> Step:
    is_here = name in runs
    return Step(kind, name, ("run", name) if is_here else (), "" if is_here else "not here")


def _dataset_of(run: RunFiles | None) -> str:
    """Name the data set of a pretraining run; empty where nobody knows it any more."""
    settings = None if run is None else attempt(lambda: run.settings).value
    return str((settings or {}).get("dataset", ""))
