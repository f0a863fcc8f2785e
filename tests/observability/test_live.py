"""Prometheus reads a real job on a real cluster: every panel draws, every alert can be judged."""

import json
import re
import shutil
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError
from urllib.parse import urlencode
from urllib.request import urlopen

import pytest
import yaml

from omnimat.testing.ray_head import RayHead, clean_environment, free_ports, start
from omnimat.testing.waiting import LIMIT_S, wait_for

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.soak]

FOLDER = Path(__file__).parents[2] / "dashboards" / "observability"
# A name of a metric, with the labels that are asked for.
SELECTOR = re.compile(r"\b(?:ray_|omnimat_|up\b)\w*(?:{[^}]*})?(?=[^\w(])")
# Metrics that this machine has no reason to show.
WITHOUT_DATA = {
    "ray_node_gpus_utilization": "of GPU nodes",
    "ray_node_gram_used": "of GPU nodes",
    'ray_resources{Name="GPU",State="USED"}': "of GPU nodes",
    'ray_resources{Name="GPU"}': "of GPU nodes",
}
SWEEP = """\
#!/usr/bin/env -S omnimat run
kind: finetune
name: tiny-sweep
needs: [jobs/pretrain.yaml]
dataset: tiny-data
run: tiny
modalities: [dos]
tasks:
  - {name: volume per atom, target: volume_angstrom3_per_atom, unit: angstrom^3/atom}
variants: [finetuned]
learning_rates: [1.0e-3]
seeds: [0, 1]
cpus_per_trial: 1
trial: {num_epochs: 2, batch_size: 16}
"""

# Ray's agents forget a value two intervals later: in between, Prometheus must get through once.
REPORT_INTERVAL_S = 6
# A job that has one thing to tell, and one that is no number, and lives on.
TOLD_ONCE = f"""
import time, ray
from omnimat.cluster.metrics import RayMetrics
ray.init(address="auto", log_to_driver=False)
with RayMetrics("once") as tell:
    tell({{"probe": 1, "lost_probe": float("nan")}})
    time.sleep({3.5 * REPORT_INTERVAL_S})
"""


@dataclass(frozen=True)
class Prometheus:
    """A Prometheus that has watched since a moment."""

    url: str
    since_s: float

    def get(self, path: str, **parameters) -> list | dict:
        with urlopen(
            f"{self.url}/api/v1/{path}?{urlencode(parameters)}", timeout=LIMIT_S
        ) as answer:
            return json.load(answer)["data"]

    def seen(self, expr: str) -> list[dict]:
        """Give the series of a query from the beginning until now."""
        times = {"start": self.since_s, "end": time.time(), "step": "2s"}
        return self.get("query_range", query=expr, **times)["result"]


@pytest.fixture(scope="module")
def head(tmp_path_factory, tiny_jobs_folder):
    ports = free_ports(2)  # every Ray of a machine would take the same two
    head = RayHead.start(
        tiny_jobs_folder,
        tmp_path_factory.mktemp("storage"),
        RAY_metrics_report_interval_ms=str(1000 * REPORT_INTERVAL_S),
        AUTOSCALER_METRIC_PORT=str(ports[0]),
        DASHBOARD_METRIC_PORT=str(ports[1]),
    )
    yield head
    head.stop()


@pytest.fixture(scope="module")
def leaderboard(head, serving):
    """Address of the leaderboard's server."""
    with serving(f"sqlite:///{head.storage / 'leaderboard.sqlite'}", head.storage) as address:
        yield address.removeprefix("http://")


@pytest.fixture(scope="module")
def prometheus(head, leaderboard, tmp_path_factory):
    """Our configuration, with this head's folder, this server's port, and seconds for minutes."""
    if shutil.which("prometheus") is None:
        pytest.skip("no prometheus on the PATH: apt install prometheus")
    config = yaml.safe_load((FOLDER / "prometheus.yml").read_text())
    config["global"] = {"scrape_interval": "2s", "evaluation_interval": "2s"}
    config["rule_files"] = [str(FOLDER / "alerts.yml")]
    of_ray, of_leaderboard = config["scrape_configs"]
    list_of_nodes = Path(of_ray["file_sd_configs"][0]["files"][0]).name
    of_nodes = {"files": [str(head.temp_folder / list_of_nodes)], "refresh_interval": "1s"}
    of_ray["file_sd_configs"] = [of_nodes]
    of_leaderboard["static_configs"] = [{"targets": [leaderboard]}]
    folder = tmp_path_factory.mktemp("prometheus")
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    [port] = free_ports(1)
    command = ["prometheus", f"--config.file={folder / 'prometheus.yml'}"]
    command += [f"--storage.tsdb.path={folder}", f"--web.listen-address=127.0.0.1:{port}"]
    process = start(command, clean_environment(), folder / "log", folder)
    prometheus = Prometheus(f"http://127.0.0.1:{port}", time.time())

    def is_ready() -> bool:
        assert process.poll() is None, (folder / "log").read_text()
        try:
            return bool(prometheus.get("status/buildinfo"))
        except URLError:
            return False

    wait_for(is_ready)
    yield prometheus
    process.terminate()
    process.wait(30)


@pytest.fixture(scope="module")
def watched(prometheus, head, tiny_jobs_folder) -> Prometheus:
    """Prometheus after a job that has ingested, pretrained, swept and written rows.

    Meanwhile a node without work is lost, and another job has one thing to tell.
    """
    (tiny_jobs_folder / "jobs" / "sweep.yaml").write_text(SWEEP)
    node = head.add_node(num_cpus=0)
    wait_for(lambda: prometheus.seen("count(ray_node_mem_used) == 2"))
    node.kill()
    commands = {
        "job": ["omnimat", "run", "jobs/sweep.yaml"],
        "once": [sys.executable, "-c", TOLD_ONCE],
    }
    logs = {name: head.storage / f"{name}.log" for name in commands}
    processes = {
        name: start(command, head.environment, logs[name], tiny_jobs_folder)
        for name, command in commands.items()
    }
    for name, process in processes.items():
        assert process.wait(LIMIT_S) == 0, logs[name].read_text()
    # What a driver tells last reaches its node's agent as it ends, and Prometheus with the scrapes
    # until the agent forgets it.
    last = "ray_omnimat_leaderboard_rows_written > 0"
    wait_for(lambda: prometheus.seen(last))
    wait_for(lambda: not prometheus.get("query", query=last)["result"])
    wait_for(lambda: prometheus.seen('ALERTS{alertname="NodeLeft",alertstate="firing"}'))
    return prometheus


def panels() -> dict[str, list[str]]:
    """Queries by the panel they are of, of every run and over a few scrapes."""
    found = {}
    for path in sorted((FOLDER / "grafana").glob("*.json")):
        for panel in json.loads(path.read_text())["panels"]:
            exprs = [target["expr"] for target in panel.get("targets", ())]
            written = (e.replace("$__rate_interval", "15s").replace("$run", ".*") for e in exprs)
            found[f"{path.stem}: {panel['title']}"] = list(written)
    return found


def is_excused(expr: str) -> bool:
    return any(selector in WITHOUT_DATA for selector in SELECTOR.findall(f"{expr} "))


def test_every_panel_has_data(watched):
    queries = [(title, expr) for title, exprs in panels().items() for expr in exprs]
    empty = [(t, e) for t, e in queries if not is_excused(e) and not watched.seen(e)]
    assert empty == []


def test_every_metric_of_an_alert_is_there(watched):
    groups = yaml.safe_load((FOLDER / "alerts.yml").read_text())["groups"]
    exprs = [rule["expr"] for group in groups for rule in group["rules"]]
    selectors = {selector for expr in exprs for selector in SELECTOR.findall(f"{expr} ")}
    assert len(selectors) >= 15
    unseen = {one for one in selectors if one not in WITHOUT_DATA and not watched.seen(one)}
    assert unseen == set()


def test_every_alert_was_judged_without_error(watched):
    rules = [rule for group in watched.get("rules")["groups"] for rule in group["rules"]]
    assert {rule["health"] for rule in rules} == {"ok"}, rules
    firing = {rule["name"] for rule in rules if rule["state"] == "firing"}
    may_be_so_here = {"DiskNearlyFull", "MemoryNearlyFull"}
    assert firing - may_be_so_here == {"NodeLeft"}


def test_what_was_told_once_is_seen_while_the_job_lives(watched):
    def seen_at() -> list[float]:
        [series] = watched.seen("ray_omnimat_probe")
        assert series["metric"]["run"] == "once"
        return [at_s for at_s, _ in series["values"]]

    # Else it would outlive its job.
    wait_for(lambda: seen_at()[-1] < time.time() - 2 * REPORT_INTERVAL_S)
    first_s, *_, last_s = seen_at()
    assert last_s - first_s > 2 * REPORT_INTERVAL_S, "Ray forgets what is told once that soon"


def test_what_is_not_finite_is_not_seen(watched):
    """So an alert on a loss that is NaN needs another series than the loss."""
    assert watched.seen("ray_omnimat_probe")
    assert watched.seen("ray_omnimat_lost_probe") == []


def test_all_targets_answer(watched):
    targets = watched.get("targets")["activeTargets"]
    assert {target["labels"]["job"] for target in targets} == {"ray", "omnimat-leaderboard"}
    assert {target["health"] for target in targets} == {"up"}
