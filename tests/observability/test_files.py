"""The files of dashboards/observability are right, as far as Prometheus' own tool can say."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from ray.dashboard.modules.reporter.reporter_agent import METRICS_GAUGES

from omnimat.training.meter import PHASES

from .test_live import WITHOUT_DATA

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "dashboards" / "observability"
GRAFANA = FOLDER / "grafana"
DASHBOARDS = sorted(GRAFANA.glob("*.json"))


@pytest.fixture(scope="module")
def promtool():
    """Run promtool, and give whether it was content and what it said."""
    if shutil.which("promtool") is None:
        pytest.skip("no promtool on the PATH: apt install prometheus")

    def promtool(*arguments) -> tuple[bool, str]:
        command = ["promtool", *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True)
        return done.returncode == 0, done.stdout + done.stderr

    return promtool


def alerts() -> list[dict]:
    groups = yaml.safe_load((FOLDER / "alerts.yml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def panels(path: Path) -> list[dict]:
    found = json.loads(path.read_text())["panels"]
    return [panel for panel in found if panel["type"] != "row"]


def test_the_configuration_is_valid(promtool):
    is_valid, said = promtool("check", "config", FOLDER / "prometheus.yml")
    assert is_valid, said
    assert f"{len(alerts())} rules found" in said


def test_the_configuration_for_kubernetes_is_valid(promtool, tmp_path):
    """Debian builds Prometheus without discovery on Kubernetes: all but that is checked."""
    shutil.copy(FOLDER / "alerts.yml", tmp_path)
    config = yaml.safe_load((FOLDER / "prometheus-kubernetes.yml").read_text())
    [job] = [job for job in config["scrape_configs"] if "kubernetes_sd_configs" in job]
    assert job.pop("kubernetes_sd_configs") == [{"role": "pod"}]
    job["static_configs"] = [{"targets": ["10.0.0.1:8080"]}]
    (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(config))
    is_valid, said = promtool("check", "config", tmp_path / "prometheus.yml")
    assert is_valid, said
    on_a_machine = yaml.safe_load((FOLDER / "prometheus.yml").read_text())
    names = [{job["job_name"] for job in one["scrape_configs"]} for one in (config, on_a_machine)]
    # Alerts and dashboards name the jobs; our cluster starts no server of the leaderboard.
    assert names[0] | {"omnimat-leaderboard"} == names[1]


def test_the_operators_prometheus_is_told_the_same():
    config = yaml.safe_load((FOLDER / "prometheus-kubernetes.yml").read_text())
    [job] = config["scrape_configs"]
    monitor = yaml.safe_load((FOLDER / "podmonitor.yaml").read_text())
    [endpoint] = monitor["spec"]["podMetricsEndpoints"]
    assert endpoint["interval"] == config["global"]["scrape_interval"]
    port = ["__meta_kubernetes_pod_container_port_name"]
    [kept] = [rule for rule in job["relabel_configs"] if rule["source_labels"] == port]
    assert endpoint["port"] == kept["regex"]
    added = {rule["targetLabel"]: rule for rule in endpoint["relabelings"]}
    assert added["job"]["replacement"] == job["job_name"]
    for rule in job["relabel_configs"]:
        label = rule.get("target_label", "pod")
        if label not in {"pod", "namespace"}:  # which the operator adds itself
            assert added[label]["sourceLabels"] == rule["source_labels"]
    policy = yaml.safe_load((ROOT / "infra/kuberay/base/networkpolicy.yaml").read_text())
    assert monitor["spec"]["selector"] == policy["spec"]["podSelector"]


def test_alerts_fire_when_they_should_and_only_then(promtool):
    is_right, said = promtool("test", "rules", Path(__file__).with_name("alerts_test.yml"))
    assert is_right, said


def test_a_broken_alert_is_found(promtool, tmp_path):
    """The test above can fail: of an alert that is changed it does."""
    text = (FOLDER / "alerts.yml").read_text()
    tests = Path(__file__).with_name("alerts_test.yml").read_text()
    (tmp_path / "alerts_test.yml").write_text(
        tests.replace("../../dashboards/observability/alerts.yml", "alerts.yml")
    )
    changes = {"== 0": "== 7", "for: 15m": "for: 1m", "unless on (run)": "and on (run)"}
    for written, changed in changes.items():
        (tmp_path / "alerts.yml").write_text(text.replace(written, changed, 1))
        is_right, said = promtool("test", "rules", tmp_path / "alerts_test.yml")
        assert not is_right, f"{changed}: {said}"


def test_every_alert_is_tested_and_has_its_section_of_the_runbook():
    names = [rule["alert"] for rule in alerts()]
    assert len(set(names)) == len(names)
    tests = yaml.safe_load(Path(__file__).with_name("alerts_test.yml").read_text())["tests"]
    cases = [case for test in tests for case in test["alert_rule_test"]]
    for should_fire in (True, False):
        tested = {case["alertname"] for case in cases if bool(case["exp_alerts"]) == should_fire}
        assert tested == set(names), should_fire
    sections = re.findall(r"^## (\w+)$", (FOLDER / "README.md").read_text(), re.MULTILINE)
    assert [name for name in sections if name[0].isupper() and not name[1:].islower()] == names
    for rule in alerts():
        assert rule["annotations"].keys() == {"summary", "description", "runbook"}
        anchor = f"dashboards/observability/README.md#{rule['alert'].lower()}"
        assert rule["annotations"]["runbook"] == anchor
        assert rule["labels"]["severity"] in {"info", "warning", "critical"}


def test_the_dashboards_are_what_the_builder_makes(tmp_path):
    subprocess.run([sys.executable, "-B", GRAFANA / "build.py", tmp_path], check=True)
    made = {path.name: path.read_text() for path in tmp_path.glob("*.json")}
    assert made == {path.name: path.read_text() for path in DASHBOARDS}


def test_the_dashboards_can_be_imported_beside_others():
    dashboards = [json.loads(path.read_text()) for path in DASHBOARDS]
    uids = [dashboard["uid"] for dashboard in dashboards]
    assert len(set(uids)) == len(uids) == 4
    for path, dashboard in zip(DASHBOARDS, dashboards, strict=True):
        variables = {variable["name"] for variable in dashboard["templating"]["list"]}
        ids = [panel["id"] for panel in dashboard["panels"]]
        assert len(set(ids)) == len(ids)
        places = [tuple(panel["gridPos"].values()) for panel in dashboard["panels"]]
        assert len(set(places)) == len(places)
        for panel in panels(path):
            assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
            assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
            text = json.dumps(panel["targets"])
            used = set(re.findall(r"\$\{?(\w+)", text)) - {"__rate_interval"}
            assert used <= variables, panel["title"]


def test_every_query_of_a_panel_is_promql(promtool, tmp_path):
    exprs = [t["expr"] for path in DASHBOARDS for p in panels(path) for t in p["targets"]]
    assert len(exprs) > 40
    written = [expr.replace("$__rate_interval", "1m").replace("$run", ".*") for expr in exprs]
    rules = [{"record": f"panel:{i}", "expr": expr} for i, expr in enumerate(written)]
    path = tmp_path / "rules.yml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    is_valid, said = promtool("check", "rules", path)
    assert is_valid, said
    path.write_text(path.read_text().replace("max by (run)", "max by (run", 1))
    assert not promtool("check", "rules", path)[0]


def test_what_gpu_nodes_alone_show_is_named_as_ray_names_it():
    """A misspelt name would be without data too."""
    names = {selector.partition("{")[0].removeprefix("ray_") for selector in WITHOUT_DATA}
    assert names - {"resources"} <= METRICS_GAUGES.keys()


def test_every_phase_of_a_step_is_drawn():
    [drawn] = [p for p in panels(GRAFANA / "training.json") if p["title"] == "Step time by phase"]
    exprs = [target["expr"] for target in drawn["targets"]]
    assert [re.search(r"omnimat_(\w+)_s{", expr)[1] for expr in exprs] == list(PHASES)
