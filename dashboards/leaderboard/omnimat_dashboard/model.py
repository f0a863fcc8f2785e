"""One model: its results, the runs they come from, its recipe, and how to get the weights."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from omnimat.inference.compare import facts
from omnimat.leaderboard.contest import Contest
from omnimat.leaderboard.folds import FOLD, FoldMean
from omnimat.leaderboard.imported import IMPORTED, published_in
from omnimat.leaderboard.members import single_networks
from omnimat.leaderboard.origins import Origin
from omnimat.leaderboard.row import Row
from omnimat_dashboard.artifacts import Artifacts, attempt
from omnimat_dashboard.catalogue import Catalogue
from omnimat_dashboard.figures import Figure
from omnimat_dashboard.history import together, trials
from omnimat_dashboard.lineage import Lineage, lineages
from omnimat_dashboard.models import ModelLine, line_of
from omnimat_dashboard.packages import Packages, Packed
from omnimat_dashboard.recipe import Recipe, recipe_of
from omnimat_dashboard.results import Placed
from omnimat_dashboard.text import Scale

MAX_RESULTS = 200  # lines of the table
MAX_ORIGINS = 8  # runs whose lineage and curves are shown, the newest ones


@dataclass(frozen=True, slots=True)
class Line:
    """A result of the model.

    Attributes:
        placed: the result, and where it stands on its board.
        scale: how its values are written.
    """

    placed: Placed
    scale: Scale


@dataclass(frozen=True, slots=True)
class MeanLine:
    """A mean over several folds of the model.

    Attributes:
        mean: the folds.
        contest: where the mean is ranked.
        scale: how its values are written.
    """

    mean: FoldMean
    contest: Contest
    scale: Scale

    @property
    def place(self) -> int | None:
        """Its rank, from 1; None if folds are missing."""
        return self.contest.places.get(self.mean.mean_id)


@dataclass(frozen=True, slots=True)
class ModelPage:
    """One model.

    Attributes:
        line: its name and how many results it has.
        means: the means over several folds.
        results: its other results, by task.
        num_left_out: how many more there are.
        lineages: where the results come from, for the newest runs.
        num_origins: how many runs there are.
        packages: the packages that hold its weights, each with what its card says in short.
        to_pack: the run and the variant to pack, if there is no package and there may be one.
        published: where imported predictions come from.
        recipe: the configuration.
        figures: how it has learned.
        figures_missing: why that is not known here.
    """

    line: ModelLine
    means: Sequence[MeanLine]
    results: Sequence[Line]
    num_left_out: int
    lineages: Sequence[Lineage]
    num_origins: int
    packages: Sequence[tuple[Packed, Mapping[str, str]]]
    to_pack: tuple[str, str] | None
    published: Sequence[str]
    recipe: Recipe
    figures: Sequence[Figure]
    figures_missing: str


def model_page(
    catalogue: Catalogue,
    artifacts: Artifacts,
    packages: Packages,
    slug: str,
    recipe: str = "",
    against: str = "",
) -> ModelPage | None:
    """Collect what is known about a model; None if no result has its name.

    Args:
        catalogue: the results.
        artifacts: the storage.
        packages: the packed models.
        slug: the end of the page's address.
        recipe: the id of a result of this model whose recipe is shown; the newest by default.
        against: the id of a result whose recipe it is compared with.
    """
    found, name = catalogue.results(), catalogue.model_names().get(slug)
    if name is None or name not in found.models:
        return None
    results, origins = found.placed(name), catalogue.store.origins(model=name)
    means, shown = _means(catalogue, name), origins[:MAX_ORIGINS]
    of_means = {member.group_id for one in means for member in one.mean.members}
    others = [one for one in results if one.summary.group_id not in of_means]
    rows = {one.group_id: catalogue.store.rows(group_id=one.group_id) for one in shown}
    packed = attempt(lambda: packages.of(origins)).value or []
    curves = attempt(lambda: _curves(artifacts, shown, rows))
    return ModelPage(
        line=line_of(name, found.models[name], found.num_best().get(name, 0)),
        means=means,
        results=[Line(one, Scale.of(one.summary.board)) for one in others[:MAX_RESULTS]],
        num_left_out=max(0, len(others) - MAX_RESULTS),
        lineages=attempt(lambda: lineages(artifacts, shown, packed)).value or (),
        num_origins=len(origins),
        packages=[(one, facts(one.card)) for one in packed],
        to_pack=None if packed else _to_pack(shown, rows),
        published=_published(row for some in rows.values() for row in some),
        recipe=recipe_of(catalogue, name, shown, recipe, against),
        figures=curves.value or (),
        figures_missing=curves.reason or "no run of it has left its history in this storage",
    )


def _means(catalogue: Catalogue, name: str) -> list[MeanLine]:
    return [
        MeanLine(mean, contest, Scale.of(contest.board))
        for contest in catalogue.of_folds()
        for mean in contest.ranked_means
        if mean.summary.model == name and len(mean.members) > 1
    ]


def _to_pack(
    origins: Iterable[Origin], rows: Mapping[str, Sequence[Row]]
) -> tuple[str, str] | None:
    """Choose the newest run that can be packed: one that has trained no model for each fold."""
    for one in origins:
        if one.variant == "pretrained":
            return one.parent_run, ""
        if one.variant != IMPORTED and FOLD not in rows[one.group_id][0].config:
            return one.run_name, one.variant
    return None


def _published(rows: Iterable[Row]) -> list[str]:
    told = (published_in(row.details) for row in rows)
    return list(dict.fromkeys(one.sentence for one in told if one is not None))


def _curves(
    artifacts: Artifacts, origins: Sequence[Origin], rows: Mapping[str, Sequence[Row]]
) -> list[Figure]:
    """Draw the pretraining runs, and the trials behind the results."""
    parents = dict.fromkeys(one.parent_run for one in origins if one.parent_run)
    histories = {name: artifacts.history(name).value for name in parents}
    drawn = together({name: table for name, table in histories.items() if table is not None})
    left = {
        f"{one.run_name}, seed {network.seed}": artifacts.trial(network).value
        for one in origins
        for row in rows[one.group_id]
        for network in single_networks(row)
    }
    kept = [(name, trial) for name, trial in left.items() if trial and trial.get("history")]
    panels = (("train_loss", "training loss"), ("validation_error", "validation error"))
    return [*drawn[:1], *(trials(kept, panels) if kept else ())]
