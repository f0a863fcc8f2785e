"""What Prometheus reads of a leaderboard: its rows by status, and the posts to this server."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from omnimat_dashboard.catalogue import Catalogue

MEDIA_TYPE = CONTENT_TYPE_LATEST
_OUTCOMES = ("written", "refused", "unauthorised")
_UNAUTHORISED = (401, 403)


class Metrics(Collector):
    """The metrics of one server."""

    def __init__(self, catalogue: Catalogue) -> None:
        """Count the rows of a catalogue whenever somebody asks, and posts from now on."""
        self._catalogue = catalogue
        self._registry = CollectorRegistry()
        self._registry.register(self)
        self._posts = Counter(
            "omnimat_leaderboard_posts",
            "Posts of rows to this server",
            ["outcome"],
            registry=self._registry,
        )
        for outcome in _OUTCOMES:  # so that the first post counts as an increase
            self._posts.labels(outcome)

    @contextmanager
    def post(self) -> Iterator[None]:
        """Count a post by its outcome; one without the token is no lost result."""
        try:
            yield
        except Exception as error:
            is_stranger = getattr(error, "status_code", None) in _UNAUTHORISED
            self._posts.labels("unauthorised" if is_stranger else "refused").inc()
            raise
        self._posts.labels("written").inc()

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Give the counts of the database."""
        boards = self._catalogue.boards()
        rows = GaugeMetricFamily(
            "omnimat_leaderboard_rows", "Rows of the leaderboard", labels=["status"]
        )
        num_recomputed = sum(board.num_recomputed for board in boards)
        num_reproduced = sum(board.num_reproduced for board in boards)
        rows.add_metric(["reproduced"], num_reproduced)
        rows.add_metric(["recomputed"], num_recomputed - num_reproduced)
        rows.add_metric(["self-reported"], sum(b.num_rows for b in boards) - num_recomputed)
        yield rows
        yield GaugeMetricFamily(
            "omnimat_leaderboard_boards", "Boards of the leaderboard", value=len(boards)
        )

    def text(self) -> bytes:
        """Write all of it as Prometheus reads it."""
        return generate_latest(self._registry)
