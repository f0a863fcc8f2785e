"""Runs are followed while they go on, by what they leave in the storage alone."""

import json
import os
import threading
from datetime import UTC, datetime

import fsspec
import pandas as pd
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from playwright.sync_api import expect
from prometheus_client.parser import text_string_to_metric_families
from upath import UPath

from omnimat.base.confined import Confined
from omnimat.base.workspace import Workspace
from omnimat.testing.ray_head import free_ports
from omnimat_dashboard import write_site
from omnimat_dashboard.artifacts import Artifacts, attempt
from omnimat_dashboard.catalogue import Catalogue
from omnimat_dashboard.history import MAX_STEPS
from omnimat_dashboard.run import MAX_TOGETHER, run_page, together_page
from omnimat_dashboard.run_files import MAX_LOG_BYTES, MAX_LOG_LINES, RunFiles
from omnimat_dashboard.runs import SILENT_AFTER_S, run_lines
from omnimat_dashboard.waiting import spent, verdict, waits_for

SWEEP = {"variants": [0], "train_fractions": [1], "learning_rates": [0, 1, 2], "seeds": [0, 1, 2]}


@pytest.fixture(scope="module")
def artifacts(storage):
    return Artifacts(Workspace(storage.root))


@pytest.fixture(scope="module")
def catalogue(storage):
    return Catalogue(storage.store)


def test_the_list_says_how_far_each_run_is(artifacts):
    lines = {name: found.value for name, found in run_lines(artifacts).items()}
    going, sweep = lines["going"], lines["mini-sweep"]
    # Forty steps an epoch, as its own reports say.
    assert (going.state, going.done, going.total, going.unit) == ("running", 120, 200, "steps")
    assert (going.samples_per_s, going.waits_for) == (201.0, "data, 12%")
    assert (sweep.kind, sweep.done, sweep.total, sweep.unit) == ("finetune", 3, 8, "trials")
    assert (lines["begun"].done, lines["begun"].total) == (0, None)
    assert lines["silent"].state == "silent"
    assert lines["silent"].age_s > SILENT_AFTER_S
    assert lines["mini-anchored"].state == "finished"
    assert lines["mini-retrieval"].kind == "evaluate"
    assert lines["broken"] is None
    order = [one.at for one in lines.values() if one]
    assert order == sorted(order, reverse=True)


def test_the_curves_are_those_of_the_history(catalogue, artifacts):
    page = run_page(catalogue, artifacts, "going").value
    titles = [figure["y"] for figure in page.figures]
    assert titles == [
        "training loss",
        "learning rate",
        "samples a second",
        "seconds a step",
        "share of a step that waits",
        "rows a second, if busy",
        "rows ready for the trainer",
        "records quarantined",
    ]
    loss, phases = page.figures[0], page.figures[3]
    assert [one["name"] for one in loss["series"]] == ["minimised", "structure|xrd"]
    assert loss["series"][0]["x"] == list(range(10, 130, 10))
    assert loss["series"][0]["y"] == [4 - step / 100 for step in range(10, 130, 10)]
    assert phases["stacked"]
    assert [one["name"] for one in phases["series"]] == ["data wait", "forward", "backward"]
    # What a step took is the sum of its phases, so it is no phase itself.
    assert sum(one["y"][0] for one in phases["series"]) == pytest.approx(0.5)


def test_a_long_history_is_thinned_and_ends_with_the_newest(catalogue, tmp_path, begin_run):
    run = UPath(tmp_path) / "runs" / "long"
    begin_run(run, *range(1, MAX_STEPS + 52))
    found = run_page(catalogue, Artifacts(Workspace(UPath(tmp_path))), "long").value
    steps = found.figures[0]["series"][0]["x"]
    assert len(steps) <= MAX_STEPS
    assert (steps[0], steps[-1]) == (1, MAX_STEPS + 51)
    assert steps == sorted(steps)


def test_a_step_taken_again_counts_once_and_a_new_attempt_replaces_the_old(
    catalogue, tmp_path, begin_run
):
    runs = UPath(tmp_path) / "runs"
    artifacts = Artifacts(Workspace(UPath(tmp_path)))
    begin_run(runs / "r", 10, 20, 30)
    begin_run(runs / "r", 20)
    assert run_lines(artifacts)["r"].value.done == 20
    assert run_page(catalogue, artifacts, "r").value.figures[0]["series"][0]["x"] == [10, 20, 30]
    for number in (2, 9, 10):
        begin_run(runs / f"r@{number}", number)
    assert list(artifacts.runs()) == ["r"]
    assert run_lines(artifacts)["r"].value.done == 10


def write(path: UPath, content: dict) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.fs.pipe_file(path.path, json.dumps(content).encode())


@pytest.fixture
def calls(monkeypatch):
    """Names of the calls to filesystems in memory, without those that they make of themselves."""
    calls, inside = [], threading.local()

    def counted(name, method):
        def call(*arguments, **options):
            if getattr(inside, "method", None):
                return method(*arguments, **options)
            calls.append(name)
            inside.method = name
            try:
                return method(*arguments, **options)
            finally:
                inside.method = None

        return call

    for name in ("cat_file", "exists", "find", "glob", "info", "isdir", "ls", "open", "walk"):
        monkeypatch.setattr(MemoryFileSystem, name, counted(name, getattr(MemoryFileSystem, name)))
    return calls


def test_a_finished_run_costs_one_call_and_a_sweep_four_whatever_its_trials(calls):
    root = UPath("memory://calls-of-the-page-of-runs")
    for number in range(20):
        run = root / "runs" / f"finished-{number}"
        write(run / "job.json", {"settings": {"training": {"num_epochs": 5}}})
        write(run / "metrics" / "00001-000000.jsonl", {"step": 40, "epoch": 1})
        write(run / "result.json", {})
    write(root / "runs" / "sweep" / "job.json", {"settings": SWEEP | {"grid": {"a": [*range(6)]}}})
    for number in range(54):
        write(root / "runs" / "sweep" / "trials" / f"trial-{number}" / "trial.json", {})
    artifacts = Artifacts(Workspace(root))
    first = run_lines(artifacts)
    calls.clear()
    again = run_lines(artifacts)
    # All runs; each run, the sweep among them; how large its settings are, and these; its trials.
    assert sorted(calls) == ["cat_file", "find", "info", *["ls"] * 22]
    assert again == first
    assert (again["sweep"].value.done, again["sweep"].value.total) == (54, 54)
    assert {again[f"finished-{number}"].value.done for number in range(20)} == {40}
    root.fs.rm(root.path, recursive=True)


def test_a_run_made_anew_under_the_name_of_a_finished_one_is_read_again(tmp_path, begin_run):
    run = UPath(tmp_path) / "runs" / "r"
    artifacts = Artifacts(Workspace(UPath(tmp_path)))
    for step, finished_at_s in ((10, 10**9), (20, 10**9 + 1)):
        begin_run(run, step)
        (run / "result.json").write_text("{}")
        os.utime((run / "result.json").path, (finished_at_s, finished_at_s))
        line = run_lines(artifacts)["r"].value
        assert (line.done, line.at) == (step, datetime.fromtimestamp(finished_at_s, UTC))


@pytest.fixture
def dead_s3(monkeypatch):
    """The address of a bucket where nobody answers."""
    pytest.importorskip("s3fs")
    (port,) = free_ports(1)
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")  # else its client alone takes some seconds a call
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION"):
        monkeypatch.setenv(name, "testing")
    # Clients are remembered by their arguments, and a server's address is none of them.
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    yield "s3://bucket/omnimat"
    fsspec.get_filesystem_class("s3").clear_instance_cache()


def test_a_storage_that_does_not_answer_is_said_in_a_sentence(dead_s3, serve):
    with serve(root=dead_s3) as client:
        for path, kind in (("/runs", "runs"), ("/run/r", "runs"), ("/datasets", "datasets")):
            answer = client.get(path)
            assert answer.status_code == 503
            assert f"{dead_s3}/{kind} is out of reach: EndpointConnectionError: " in answer.text
    files = RunFiles(Confined(UPath(dead_s3)), "runs/r")
    for read in (files.times, files.newest_report, files.ended_trials):
        assert "is out of reach: EndpointConnectionError: " in attempt(read).reason


def test_a_run_that_says_nothing_is_called_silent_not_dead(tmp_path, begin_run, client):
    run = UPath(tmp_path) / "runs" / "r"
    begin_run(run, 10)
    artifacts = Artifacts(Workspace(UPath(tmp_path)))
    assert run_lines(artifacts)["r"].value.state == "running"
    for path in run.rglob("*.json*"):
        os.utime(path.path, (10**9, 10**9))
    assert run_lines(artifacts)["r"].value.state == "silent"
    assert "It may hang" in client.get("/run/silent").text
    assert "It may hang" not in client.get("/run/going").text


def test_a_sweep_shows_its_trials_best_first(client):
    text = client.get("/run/mini-sweep").text
    assert text.index("better") < text.index("worse") < text.index("early")
    assert "stopped early" in text
    assert "3 / 8" in client.get("/runs").text


def test_a_trial_that_goes_on_is_shown_by_its_last_report(catalogue, tmp_path):
    run = UPath(tmp_path) / "runs" / "sweep"
    write(run / "job.json", {"settings": SWEEP | {"grid": {}}})
    ended = {"best_epoch": 3, "validation_error": 0.5, "wall_time_s": 75.0}
    write(run / "trials" / "ended" / "trial.json", ended)
    reports = [
        {"epoch": epoch, "validation_error": 1 / epoch, "time_total_s": 9.0 * epoch}
        for epoch in range(1, 5)
    ]
    for trial in ("ended", "going"):
        (run / "tune" / trial).mkdir(parents=True)
        lines = "\n".join(json.dumps(one) for one in reports)
        (run / "tune" / trial / "result.json").write_text(f"{lines}\n")
    (run / "tune" / "begun").mkdir()
    page = run_page(catalogue, Artifacts(Workspace(UPath(tmp_path))), "sweep").value
    assert [(one.name, one.state, one.epoch, one.wall_time_s) for one in page.trials] == [
        ("going", "running", 4, 36.0),
        ("ended", "finished", 3, 75.0),
    ]


def test_pages_without_curves_say_why(client):
    assert "it has not reported a step yet" in client.get("/run/begun").text
    assert "leaves rows on the leaderboard" in client.get("/run/mini-retrieval").text
    assert "it cannot be read" in client.get("/runs").text
    assert "This run cannot be read" in client.get("/run/broken").text


def test_only_what_goes_on_is_read_again(client, storage, tmp_path):
    refresh = '<noscript><meta http-equiv="refresh"'
    for path, goes_on in (("/runs", True), ("/run/going", True), ("/run/mini-anchored", False)):
        text = client.get(path).text
        assert (refresh in text, "data-live>" in text) == (goes_on, goes_on), path
    write_site(storage.url, str(storage.root), tmp_path)
    for path in (tmp_path / "runs.html", tmp_path / "run" / "going.html"):
        text = path.read_text()
        assert refresh not in text
        assert "data-live>" not in text
        assert " ago" not in text


@pytest.mark.parametrize(
    ("waiting", "told", "briefly"),
    [
        ({"data_wait_s": 0.6}, "It waits for data for 30% of its time. Give it more", "data, 30%"),
        ({"gather_s": 0.5}, "It waits for the embeddings of other workers", "other workers, 25%"),
        (
            {"checkpoint_s": 1.0},
            "It writes checkpoints for 50% of its time.",
            "checkpoints, 50%",
        ),
        ({"data_wait_s": 0.1}, "It computes for 95% of its time", "data, 5%"),
        ({"data_wait_s": 0.001}, "It computes for 100% of its time", "nothing"),
    ],
)
def test_what_a_run_waits_for_is_said_in_words(waiting, told, briefly):
    metrics = {"step": 10, "step_s": 2.0, "data_wait_s": 0.0, "gather_s": 0.0, "checkpoint_s": 0.0}
    metrics |= waiting
    assert verdict(pd.DataFrame([metrics])).startswith(told)
    assert waits_for(metrics) == briefly


def test_time_is_that_of_the_newest_reports_the_largest_part_first():
    old = [{"step": n, "step_s": 1.0, "data_wait_s": 1.0, "forward_s": 0.0} for n in range(50)]
    new = [{"step": n, "step_s": 2.0, "data_wait_s": 0.5, "forward_s": 1.4} for n in range(50, 70)]
    found = spent(pd.DataFrame(old + new))
    assert [(one.what, one.is_wait) for one in found] == [
        ("computes embeddings", False),
        ("waits for data", True),
    ]
    assert [one.share for one in found] == pytest.approx([0.7, 0.25])
    # A history of another version knows no phases.
    assert verdict(pd.DataFrame([{"step": 1, "loss": 2.0}])) == waits_for({}) == ""
    assert spent(pd.DataFrame()) == []


def test_a_run_names_its_results_its_data_and_what_has_started_from_it(client, storage):
    for path, linked in (
        ("/run/mini-retrieval", "../models/mini-anchored-"),
        ("/run/mini-anchored", "../models/xrd-composition-fused-aligned-first-"),
    ):
        assert linked in client.get(path).text
    row = storage.rows[-1]
    assert f"../result/{row.group_id}" in client.get("/run/mini-retrieval").text
    text = client.get("/run/going").text
    assert "waits for data" in text
    assert "num_epochs" in text  # of its configuration


def test_the_end_of_a_log_is_shown_and_no_more(catalogue, tmp_path, begin_run):
    run = UPath(tmp_path) / "runs" / "r"
    begin_run(run, 10)
    artifacts = Artifacts(Workspace(UPath(tmp_path)))
    page = run_page(catalogue, artifacts, "r").value
    assert (page.log_name, page.log[0][:18]) == ("", "step 10, loss 3.90")
    lines = [f"line {number} <b>" for number in range(MAX_LOG_BYTES // 8)]
    (run / "run.log").write_text("\n".join(lines))
    page = run_page(catalogue, artifacts, "r").value
    assert (page.log_name, page.log) == ("run.log", lines[-MAX_LOG_LINES:])


def test_a_log_that_leads_outside_or_never_ends_is_not_read(catalogue, tmp_path, begin_run):
    storage = UPath(tmp_path) / "storage"
    run = storage / "runs" / "r"
    begin_run(run, 10)
    (tmp_path / "secret").write_text("a secret")
    (tmp_path / "storage" / "runs" / "r" / "run.log").symlink_to(tmp_path / "secret")
    os.mkfifo(tmp_path / "storage" / "runs" / "r" / "pipe.log")
    page = run_page(catalogue, Artifacts(Workspace(storage)), "r").value
    assert (page.log_name, len(page.log)) == ("", 1)  # its report alone
    assert page.log[0].startswith("step 10, ")


def test_several_runs_are_drawn_in_one_plot(artifacts):
    page = together_page(artifacts, ["going", "silent", "begun", "no-such-run"])
    assert page.names == ["going", "silent"]
    assert page.left_out == {
        "begun": "it has no curves yet",
        "no-such-run": "no-such-run is not in this storage",
    }
    loss = page.figures[0]
    assert [one["name"] for one in loss["series"]] == ["going", "silent"]
    assert loss["series"][0]["y"] == [4 - step / 100 for step in range(10, 130, 10)]
    many = together_page(artifacts, ["going", *(f"r{number}" for number in range(MAX_TOGETHER))])
    assert many.left_out[f"r{MAX_TOGETHER - 1}"] == f"only {MAX_TOGETHER} are drawn"


def test_a_long_run_does_not_hide_a_short_one(tmp_path, begin_run):
    for name, steps in (("short", range(10, 30, 10)), ("long", range(10, 90, 10))):
        begin_run(UPath(tmp_path) / "runs" / name, *steps)
    page = together_page(Artifacts(Workspace(UPath(tmp_path))), ["short", "long"])
    assert [one["name"] for one in page.figures[0]["series"]] == ["long", "short"]


def test_runs_are_chosen_in_the_browser(open_page, address):
    page = open_page(f"{address}/runs")
    page.clock.install()
    page.reload()
    for name in ("going", "silent"):
        page.get_by_role("checkbox", name=f"Plot {name}").check()
    page.get_by_role("heading", level=1).click()
    with page.expect_response("**/runs"):
        page.clock.fast_forward("00:16")
    expect(page.get_by_role("checkbox", checked=True)).to_have_count(2)  # of the renewed page
    page.get_by_role("button", name="Plot together").click()
    expect(page.locator(".plot[data-drawn]").first).to_be_attached()
    page.get_by_role("link", name="going").click()
    expect(page.get_by_role("heading", name="Where its time goes")).to_be_visible()


def samples(client) -> dict[str, float]:
    return {
        f"{sample.name} {' '.join(sample.labels.values())}".strip(): sample.value
        for family in text_string_to_metric_families(client.get("/metrics").text)
        for sample in family.samples
    }


def test_prometheus_reads_rows_by_status_and_posts(client, storage, serve):
    recomputed = sum(row.status == "recomputed" for row in storage.store.rows())
    found = samples(client)
    assert recomputed > 0
    assert found["omnimat_leaderboard_rows recomputed"] == recomputed
    assert found["omnimat_leaderboard_rows self-reported"] == len(storage.rows) - recomputed
    assert found["omnimat_leaderboard_boards"] == len(storage.store.boards())
    with serve(token="t") as writer:
        assert samples(writer)["omnimat_leaderboard_posts_total refused"] == 0
        body = f"[{storage.rows[0].model_dump_json()}]"
        for token, content in (("t", body), ("t", body), ("t", "{}"), ("other", body)):
            headers = {"Authorization": f"Bearer {token}"}
            writer.post("/api/rows", content=content, headers=headers)
        counted = samples(writer)
    assert counted["omnimat_leaderboard_posts_total written"] == 2
    assert counted["omnimat_leaderboard_posts_total refused"] == 1
    assert counted["omnimat_leaderboard_posts_total unauthorised"] == 1
    assert counted["omnimat_leaderboard_rows self-reported"] == 1
