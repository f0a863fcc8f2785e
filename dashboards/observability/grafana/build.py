"""What the Grafana dashboards show; writes their JSON beside this file, or into a named folder.

python dashboards/observability/grafana/build.py [FOLDER]
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from classic import Dashboard, Panel

RUN = '{run=~"$run"}'
# Of training/meter.py, in the order of a step.
PHASES = ("data_wait", "forward", "gather", "loss", "backward", "optimizer", "checkpoint", "rest")
TRIAL_STATES = ("finished", "stopped", "failed", "running", "pending")


def of_run(quantity: str) -> str:
    """Ask for a quantity of each chosen run; which process shows it does not matter."""
    return f"max by (run) (ray_omnimat_{quantity}{RUN})"


def rate_of(quantity: str) -> str:
    """Ask how fast a count grows, a second; counts of a job are gauges."""
    return f"max by (run) (deriv(ray_omnimat_{quantity}{RUN}[$__rate_interval]))"


TRAINING = Dashboard(
    uid="omnimat-training",
    title="omnimat: training",
    runs_of=["ray_omnimat_step"],
    rows={
        "Learning": [
            Panel(
                "Loss",
                "none",
                {"{{run}}": of_run("loss")},
                "Mean over pairs of modalities, of all workers, since the last report; "
                "ends where it is no longer finite.",
            ),
            Panel(
                "Loss by pair",
                "none",
                {"{{run}} {{pair}}": f"max by (run, pair) (ray_omnimat_pair_loss{RUN})"},
                "A pair that does not fall is not learned; ln of the batch size is chance.",
            ),
            Panel("Learning rate", "sci", {"{{run}}": of_run("lr")}),
            Panel("Step", "none", {"{{run}}": of_run("step")}, "Falls where workers were lost."),
            Panel("Epoch", "none", {"{{run}}": of_run("epoch")}),
        ],
        "Speed": [
            Panel("Samples a second", "none", {"{{run}}": of_run("samples_per_s")}),
            Panel(
                "Step time by phase",
                "s",
                {f"{{{{run}}}} {phase}": of_run(f"{phase}_s") for phase in PHASES},
                "Of rank 0, means since the last report. Choose one run: phases add up to a step.",
                stacked=True,
            ),
            Panel(
                "Waiting for data",
                "percentunit",
                {"{{run}}": of_run("data_wait_share")},
                "Share of a step. Above the line, add featurizers or featurize ahead.",
                threshold=0.2,
            ),
        ],
        "Devices": [
            Panel(
                "GPU utilisation",
                "percent",
                {"{{ip}} GPU {{GpuIndex}}": "avg by (ip, GpuIndex) (ray_node_gpus_utilization)"},
            ),
            Panel(
                "GPU memory",
                "mbytes",
                {"{{ip}} GPU {{GpuIndex}}": "max by (ip, GpuIndex) (ray_node_gram_used)"},
            ),
            Panel(
                "CPU utilisation", "percent", {"{{ip}}": "avg by (ip) (ray_node_cpu_utilization)"}
            ),
            Panel(
                "Memory",
                "percentunit",
                {"{{ip}}": "max by (ip) (ray_node_mem_used / ray_node_mem_total)"},
                "Ray ends workers of a node above 95 %.",
                threshold=0.9,
            ),
            Panel(
                "Workers",
                "none",
                {"{{run}}": of_run("num_workers")},
                "They vary in an elastic run.",
            ),
            Panel(
                "Nodes",
                "none",
                # Apart where the autoscaler is of version 2; a cluster may have either alone.
                {"nodes": 'sum({__name__=~"ray_cluster_(active|idle)_nodes"})'},
            ),
            Panel(
                "Groups of workers that wait for room",
                "none",
                {
                    "{{State}}": "sum by (State) "
                    '(ray_gcs_placement_group_count{State=~"Pending|Infeasible"})'
                },
                "Of runs and trials. Infeasible: no node that is there could ever hold them.",
            ),
        ],
    },
)

DATA = Dashboard(
    uid="omnimat-data",
    title="omnimat: data",
    runs_of=["ray_omnimat_step", "ray_omnimat_ingested_records", "ray_omnimat_featurized_records"],
    rows={
        "Stream": [
            Panel(
                "Rows a second by stage",
                "none",
                {
                    f"{{{{run}}}} {stage}": of_run(f"{stage}_rows_per_s")
                    for stage in ("read", "featurize", "collate")
                },
                "While at it: of one actor (read, featurize), of the trainer's process (collate).",
                log=True,
            ),
            Panel(
                "Rows ready",
                "none",
                {"{{run}}": of_run("queued_rows")},
                "Featurized and not yet taken. None, and the trainer waits: add featurizers.",
            ),
            Panel(
                "Quarantined records",
                "none",
                {"{{run}}": of_run("quarantined_records")},
                "So far, that came without some modality for a fault; result.json has the reasons.",
            ),
        ],
        "Ahead of training": [
            Panel("Records ingested a second", "none", {"{{run}}": rate_of("ingested_records")}),
            Panel(
                "Records refused by ingest",
                "none",
                {"{{run}}": of_run("refused_records")},
                "So far; the data set's failures.jsonl has the reasons.",
            ),
            Panel("Shards left to write", "none", {"{{run}}": of_run("shards_left")}),
            Panel(
                "Records featurized a second", "none", {"{{run}}": rate_of("featurized_records")}
            ),
            Panel(
                "Records left to featurize",
                "none",
                {"{{run}}": (f"{of_run('records_to_featurize')} - {of_run('featurized_records')}")},
            ),
        ],
        "Object store and disks": [
            Panel(
                "Object store",
                "bytes",
                {
                    "{{NodeAddress}} {{Location}}": (
                        "sum by (NodeAddress, Location) (ray_object_store_memory)"
                    )
                },
                "MMAP_SHM is the store itself; SPILLED lies on disk.",
            ),
            Panel(
                "Objects spilled a second",
                "none",
                {
                    "{{NodeAddress}}": "sum by (NodeAddress) (rate("
                    'ray_spill_manager_request_total{Type="Spilled"}[$__rate_interval]))'
                },
            ),
            Panel(
                "Disk used",
                "percentunit",
                {
                    "{{ip}}": "max by (ip) "
                    "(ray_node_disk_usage / (ray_node_disk_usage + ray_node_disk_free))"
                },
                threshold=0.9,
            ),
        ],
    },
)

SWEEP = Dashboard(
    uid="omnimat-sweep",
    title="omnimat: sweep",
    runs_of=["ray_omnimat_trials_pending"],
    rows={
        "Trials": [
            Panel(
                "Trials by state",
                "none",
                {f"{{{{run}}}} {state}": of_run(f"trials_{state}") for state in TRIAL_STATES},
                "Of this start of the sweep; what had ended before is not run again.",
                stacked=True,
            ),
            Panel(
                "Best validation error",
                "none",
                {"{{run}}": of_run("best_validation_error")},
                "Of the trials that have finished: 0 is perfect, 1 as good as guessing.",
            ),
            Panel(
                "Trials finished in the last hour",
                "none",
                {"{{run}}": f"max by (run) (delta(ray_omnimat_trials_finished{RUN}[1h]))"},
            ),
        ],
        "Cluster": [
            Panel(
                "CPUs taken",
                "percentunit",
                {
                    "taken": 'sum(ray_resources{Name="CPU",State="USED"})'
                    ' / sum(ray_resources{Name="CPU"})'
                },
                "Low while trials are pending: max_concurrent_trials or cpus_per_trial holds back.",
            ),
            Panel(
                "GPUs taken",
                "percentunit",
                {
                    "taken": 'sum(ray_resources{Name="GPU",State="USED"})'
                    ' / sum(ray_resources{Name="GPU"})'
                },
            ),
        ],
    },
)

LEADERBOARD = Dashboard(
    uid="omnimat-leaderboard",
    title="omnimat: leaderboard",
    rows={
        "Database": [
            Panel(
                "Rows by status",
                "none",
                {"{{status}}": "max by (status) (omnimat_leaderboard_rows)"},
                "As the dashboard's server reads them, whoever wrote them.",
                stacked=True,
            ),
            Panel("Boards", "none", {"boards": "max(omnimat_leaderboard_boards)"}),
            Panel(
                "Posts to the server",
                "none",
                {
                    "{{outcome}}": "sum by (outcome) "
                    "(increase(omnimat_leaderboard_posts_total[$__rate_interval]))"
                },
            ),
        ],
        "Jobs": [
            Panel(
                "Rows written",
                "none",
                {"{{run}}": "max by (run) (ray_omnimat_leaderboard_rows_written)"},
                "Shown until the job ends.",
            ),
            Panel(
                "Rows refused",
                "none",
                {"{{run}}": "max by (run) (ray_omnimat_leaderboard_rows_refused)"},
                "The job fails then, and its log says why.",
            ),
        ],
    },
)

DASHBOARDS = {"training": TRAINING, "data": DATA, "sweep": SWEEP, "leaderboard": LEADERBOARD}


def main() -> None:
    """Write every dashboard."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent
    for name, dashboard in DASHBOARDS.items():
        text = json.dumps(dashboard.json(), indent=1, ensure_ascii=False)
        (folder / f"{name}.json").write_text(f"{text}\n")


if __name__ == "__main__":
    main()
