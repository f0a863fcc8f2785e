"""Every page as HTML, for a server as well as for a folder."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from omnimat import __version__
from omnimat.base.duration import duration
from omnimat.base.workspace import Workspace
from omnimat.leaderboard.board import untold_variant
from omnimat.leaderboard.store import LeaderboardStore
from omnimat_dashboard import text
from omnimat_dashboard.artifacts import Artifacts
from omnimat_dashboard.assets import fingerprint_of_assets, plotly_style_ids
from omnimat_dashboard.board import board_page
from omnimat_dashboard.catalogue import Catalogue
from omnimat_dashboard.compare import compare_page
from omnimat_dashboard.dataset import DatasetPages
from omnimat_dashboard.fold_mean import fold_mean_page
from omnimat_dashboard.links import Links
from omnimat_dashboard.maps import map_page, map_title
from omnimat_dashboard.materials.finding import found_in
from omnimat_dashboard.materials.page import Materials
from omnimat_dashboard.materials.predicted import Predictions
from omnimat_dashboard.model import model_page
from omnimat_dashboard.models import models_page
from omnimat_dashboard.overview import overview
from omnimat_dashboard.packages import Packages
from omnimat_dashboard.query import Query
from omnimat_dashboard.result import Results
from omnimat_dashboard.run import run_page, together_page
from omnimat_dashboard.runs import run_lines
from omnimat_dashboard.search.page import Search
from omnimat_dashboard.search.question import Question
from omnimat_dashboard.security import content_security_policy
from omnimat_dashboard.several import several_page
from omnimat_dashboard.standing import Standing


class Pages:
    """The pages of one store and one storage; a page of something unknown is None."""

    def __init__(self, store: LeaderboardStore, workspace: Workspace) -> None:
        """Show a store and the storage that its rows come from."""
        self.catalogue = Catalogue(store)
        self.artifacts = Artifacts(workspace)
        self.packages = Packages(workspace.files)
        self._results = Results(self.catalogue, self.artifacts, self.packages)
        self.standing = Standing(self.catalogue, self.artifacts)
        self.materials = Materials(self.artifacts, Predictions(self.catalogue, self.artifacts))
        self._search = Search(self.materials, str(workspace.root))
        self._datasets = DatasetPages(self.artifacts)
        self._workspace = workspace
        self._environment = _environment()

    def overview(self, links: Links, query: Query) -> str:
        """Show every task with its best results."""
        page = overview(self.catalogue, self.standing, query, links)
        return self._render("overview", links, page=page)

    def board(self, links: Links, board_id: str, query: Query) -> str | None:
        """Show all results of a board."""
        contest = self.catalogue.contest(board_id)
        if contest is None:
            return None
        marks = self.standing.of(contest)
        page = board_page(self.catalogue, marks, contest, query, links)
        return self._render("board", links, page=page)

    def result(self, links: Links, group_id: str) -> str | None:
        """Show one result, or a mean over folds."""
        if mean := fold_mean_page(self.catalogue, self.standing, group_id):
            return self._render("fold_mean", links, page=mean)
        page = self._results.page(group_id)
        if page is None:
            return None
        has_pages = not links.is_static and page.board.dataset in self.artifacts.datasets()
        for one in page.performance.parities if page.performance and has_pages else ():
            one.figure["materials"] = links.material(page.board.dataset, "")
        return self._render("result", links, page=page, has_pages=has_pages)

    def compare(self, links: Links, a: str, b: str) -> str | None:
        """Compare two results."""
        page = compare_page(self.catalogue, self.artifacts, a, b)
        return None if page is None else self._render("compare", links, page=page)

    def models(self, links: Links, query: Query) -> str:
        """List the models and the packages."""
        page = models_page(self.catalogue, self.packages, query)
        return self._render("models", links, page=page)

    def model(self, links: Links, slug: str, recipe: str = "", against: str = "") -> str | None:
        """Show one model, and compare one of its recipes with another."""
        page = model_page(self.catalogue, self.artifacts, self.packages, slug, recipe, against)
        return None if page is None else self._render("model", links, page=page)

    def several(self, links: Links, group_ids: Sequence[str]) -> str | None:
        """Compare three to six results."""
        page = several_page(self.catalogue, self.standing, group_ids)
        return None if page is None else self._render("several", links, page=page)

    def datasets(self, links: Links) -> str:
        """List the data sets in the storage."""
        found = {name: self.artifacts.manifest(name) for name in self.artifacts.datasets()}
        return self._render("datasets", links, found=found)

    def dataset(self, links: Links, name: str) -> str | None:
        """Show one data set."""
        if name not in self.artifacts.datasets():
            return None
        manifest = self.artifacts.manifest(name)
        if manifest.value is None:
            return self.message(links, "This data set cannot be read", manifest.reason)
        page = self._datasets.page(name, manifest.value)
        return self._render("dataset", links, page=page)

    def materials_of(self, links: Links, dataset: str, wanted: str) -> str | None:
        """List the materials of a data set that have an id or a formula."""
        index = self.materials.records.index(dataset)
        if dataset not in self.artifacts.datasets():
            return None
        if index.value is None:
            return self.message(links, "These materials cannot be listed", index.reason)
        found = found_in(index.value, wanted)
        return self._render("materials", links, dataset=dataset, wanted=wanted, found=found)

    def material(self, links: Links, dataset: str, material_id: str) -> str | None:
        """Show one material."""
        if not self.materials.records.has(dataset, material_id):
            return None
        page = self.materials.page(dataset, material_id)
        if page.value is None:
            return self.message(links, "This material cannot be read", page.reason)
        return self._render("material", links, page=page.value)

    def search(self, links: Links, question: Question, content: bytes | None) -> str:
        """Show what can be asked, and what was found or why nothing could be."""
        return self._render("search", links, page=self._search.page(question, content))

    def maps(self, links: Links) -> str:
        """List the embedding maps in the storage."""
        found = {run: self.artifacts.maps(run) for run in self.artifacts.runs_with_maps()}
        return self._render("maps", links, found=found)

    def map(self, links: Links, run: str, name: str | None = None) -> str | None:
        """Show one embedding map, by default the first of the run."""
        page = map_page(self.artifacts, run, name)
        if page is None:
            return None
        if page.figure is not None and not links.is_static:
            dataset = self.materials.records.holding(page.figure["ids"])
            page.figure["materials"] = "" if dataset is None else links.material(dataset, "")
        return self._render("map", links, webgl=True, page=page)

    def runs(self, links: Links) -> str:
        """Say how far each run in the storage has come."""
        return self._render("runs", links, found=run_lines(self.artifacts))

    def run(self, links: Links, name: str) -> str | None:
        """Show one run, while it goes on and afterwards."""
        if name not in self.artifacts.runs():
            return None
        page = run_page(self.catalogue, self.artifacts, name)
        if page.value is None:
            return self.message(links, "This run cannot be read", page.reason)
        at_hand = {"datasets": self.artifacts.datasets(), "runs": self.artifacts.runs()}
        return self._render("run", links, page=page.value, at_hand=at_hand)

    def together(self, links: Links, names: Sequence[str]) -> str:
        """Draw several runs in one plot."""
        return self._render("together", links, page=together_page(self.artifacts, names))

    def message(self, links: Links, title: str, sentence: str) -> str:
        """Make a page that says one thing."""
        return self._render("message", links, title=title, sentence=sentence)

    def _render(self, name: str, links: Links, *, webgl: bool = False, **context: Any) -> str:
        template = self._environment.get_template(f"{name}.html.j2")
        policy = content_security_policy(webgl=webgl, as_header=False)
        common: Mapping[str, Any] = {
            "links": links,
            "policy": policy if links.is_static else "",
            "storage": str(self._workspace.root),
        }
        return template.render(**common, **context)


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("omnimat_dashboard"),
        autoescape=True,
        finalize=text.visible,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    # A NaN would become a word that no browser reads as JSON.
    environment.policies["json.dumps_kwargs"] = {"allow_nan": False, "separators": (",", ":")}
    environment.policies["json.dumps_function"] = text.json_of
    environment.filters |= {
        "count": text.count,
        "day": text.day,
        "duration": duration,
        "formula": text.formula,
        "hardware": text.hardware,
        "map_title": map_title,
        "moment": text.moment,
        "shell": shlex.quote,
        "size": text.size,
        "unit": text.unit,
        "untold": lambda variant, model: untold_variant(model, variant),
        "words": text.words,
    }
    environment.globals |= {
        "assets": fingerprint_of_assets(),
        "plotly_style_ids": plotly_style_ids(),
        "version": __version__,
    }
    return environment
