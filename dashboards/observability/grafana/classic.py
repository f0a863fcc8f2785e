"""Dashboards as Grafana's classic JSON, which every Grafana since 9 reads.

grafana-foundation-sdk does the same for every kind of panel. For the one kind that we need, this is
shorter than its calls and needs no package that is pinned to one version of Grafana.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from string import ascii_uppercase
from typing import Any

SCHEMA_VERSION = 39
PANELS_PER_LINE = 3
WIDTH, HEIGHT = 24, 8  # of a line, in Grafana's units
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}


@dataclass(frozen=True)
class Panel:
    """Lines over time.

    Attributes:
        title: what is shown.
        queries: PromQL by the name of its lines, which may be ``{{label}}``.
        description: how to read it.
        unit: the unit, as Grafana names it.
        stacked: whether the lines add up to a whole.
        threshold: the height of a dashed line; somebody should have a look at values above it.
        log: whether the scale is logarithmic.
    """

    title: str
    queries: Mapping[str, str]
    description: str = ""
    unit: str = "none"
    stacked: bool = False
    threshold: float | None = None
    log: bool = False

    def json(self) -> dict[str, Any]:
        """Lay the panel out, except for its id and its place."""
        return {
            "type": "timeseries",
            "title": self.title,
            "description": self.description,
            "datasource": DATASOURCE,
            "fieldConfig": {"defaults": self._field(), "overrides": []},
            "options": {
                "legend": {"displayMode": "list", "placement": "bottom"},
                "tooltip": {"mode": "multi", "sort": "desc"},
            },
            "targets": [
                {"refId": letter, "datasource": DATASOURCE, "expr": expr, "legendFormat": name}
                for letter, (name, expr) in zip(ascii_uppercase, self.queries.items(), strict=False)
            ],
        }

    def _field(self) -> dict[str, Any]:
        steps: list[dict[str, Any]] = [{"color": "green", "value": None}]
        if self.threshold is not None:
            steps.append({"color": "red", "value": self.threshold})
        return {
            "unit": self.unit,
            "thresholds": {"mode": "absolute", "steps": steps},
            "custom": {
                "lineWidth": 2,
                "fillOpacity": 30 if self.stacked else 0,
                "stacking": {"mode": "normal" if self.stacked else "none"},
                "scaleDistribution": {"type": "log", "log": 10} if self.log else {"type": "linear"},
                "thresholdsStyle": {"mode": "off" if self.threshold is None else "dashed"},
            },
        }


@dataclass(frozen=True)
class Dashboard:
    """A page of Grafana.

    Attributes:
        uid: a fixed id, so that links to the page last.
        title: the title of the page.
        rows: panels by the title of their row.
        runs_of: the metrics whose label ``run`` gives the runs to choose from; none for no choice.
    """

    uid: str
    title: str
    rows: Mapping[str, Sequence[Panel]]
    runs_of: Sequence[str] = ()

    def json(self) -> dict[str, Any]:
        """Lay the page out."""
        return {
            "uid": self.uid,
            "title": self.title,
            "tags": ["omnimat"],
            "schemaVersion": SCHEMA_VERSION,
            "editable": True,
            "graphTooltip": 1,  # one cross hair for all panels
            "refresh": "15s",
            "time": {"from": "now-1h", "to": "now"},
            "timezone": "browser",
            "templating": {"list": self._variables()},
            "annotations": {"list": []},
            "panels": [panel | {"id": i} for i, panel in enumerate(self._panels(), start=1)],
        }

    def _variables(self) -> list[dict[str, Any]]:
        source = {
            "name": "datasource",
            "label": "Prometheus",
            "type": "datasource",
            "query": "prometheus",
        }
        query = f'label_values({{__name__=~"{"|".join(self.runs_of)}"}}, run)'
        run = {
            "name": "run",
            "label": "Run",
            "type": "query",
            "datasource": DATASOURCE,
            "definition": query,
            "query": {"query": query, "refId": "run"},
            "refresh": 2,  # whenever the time range changes
            "sort": 1,
            "multi": True,
            "includeAll": True,
            "allValue": ".*",
            "current": {"text": ["All"], "value": ["$__all"]},
        }
        return [source, run] if self.runs_of else [source]

    def _panels(self) -> list[dict[str, Any]]:
        """Lay out the rows one below the other; all panels of a row are equally wide."""
        panels: list[dict[str, Any]] = []
        top = 0
        for title, row in self.rows.items():
            place = {"x": 0, "y": top, "w": WIDTH, "h": 1}
            panels.append(
                {"type": "row", "title": title, "collapsed": False, "panels": [], "gridPos": place}
            )
            num_columns = min(len(row), PANELS_PER_LINE)
            width = WIDTH // num_columns
            for number, panel in enumerate(row):
                line, column = divmod(number, num_columns)
                place = {"x": column * width, "y": top + 1 + line * HEIGHT, "w": width, "h": HEIGHT}
                panels.append(panel.json() | {"gridPos": place})
            top = place["y"] + place["h"]
        return panels
