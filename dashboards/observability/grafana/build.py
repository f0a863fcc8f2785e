"""What the Grafana dashboards show; writes their JSON beside this file or into a folder.

python dashboards/observability/grafana/build.py [FOLDER]
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from classic import Dashboard, Panel

RUN = '{run=~"$run"}'
# The phases of a step in training/meter.py, in their order.
PHASES = ("data_wait", "forward", "gather", "loss", "backward", "optimizer", "checkpoint", "rest")
TRIAL_STATES = ("finished", "stopped", "failed", "running", "pending")


def of_run(quantity: str) -> str:
    """Ask for a quantity of each chosen run, whichever process shows it."""
    return f"max by (run) (ray_omnimat_{quantity}{RUN})"


def rate_of(quantity: str) -> str:
    """Ask by how much a count grows in a second; counts of a job are gauges."""
    return f"max by (run) (deriv(ray_omnimat_{quantity}{RUN}[$__rate_interval]))"


TRAINING = Dashboard(
    uid="omnimat-training",
    title="omnimat: training",
    runs_of=["ray_omnimat_step"],
    rows={
        "Learning": [
            Panel(
                "Loss",
                {"{{run}}": of_run("loss")},
                "The mean over all pairs of modalities and all workers since the last report; "
                "the line ends where the loss is no longer finite.",
            ),
            Panel(
                "Loss by pair",
                {"{{run}} {{pair}}": f"max by (run, pair) (ray_omnimat_pair_loss{RUN})"},
                "A pair whose loss does not fall is not learned; chance is ln of the batch size.",
            ),
            Panel("Learning rate", {"{{run}}": of_run("lr")}, unit="sci"),
            Panel("Step", {"{{run}}": of_run("step")}, "It falls back where workers were lost."),
            Panel("Epoch", {"{{run}}": of_run("epoch")}),
        ],
        "Speed": [
            Panel("Samples a second", {"{{run}}": of_run("samples_per_s")}),
            Panel(
                "Step time by phase",
                {f"{{{{run}}}} {phase}": of_run(f"{phase}_s") for phase in PHASES},
                "Means of rank 0 since the last report. The phases of one run add up to a step.",
                unit="s",
                stacked=True,
            ),
            Panel(
                "Waiting for data",
                {"{{run}}": of_run("data_wait_share")},
                "Share of a step. Above the line, add featurizers or featurize before training.",
                unit="percentunit",
                threshold=0.2,
            ),
        ],
        "Devices": [
            Panel(
                "GPU utilisation",
                {"{{ip}} GPU {{GpuIndex}}": "avg by (ip, GpuIndex) (ray_node_gpus_utilization)"},
                unit="percent",
            ),
            Panel(
                "GPU memory",
                {"{{ip}} GPU {{GpuIndex}}": "max by (ip, GpuIndex) (ray_node_gram_used)"},
                unit="mbytes",
            ),
            Panel(
                "CPU utilisation",
                {"{{ip}}": "avg by (ip) (ray_node_cpu_utilization)"},
                unit="percent",
            ),
            Panel(
                "Memory",
                {"{{ip}}": "max by (ip) (ray_node_mem_used / ray_node_mem_total)"},
                "Above 95 %, Ray ends workers of the node.",
                unit="percentunit",
                threshold=0.9,
            ),
            Panel(
                "Workers",
                {"{{run}}": of_run("num_workers")},
                "Their number changes in an elastic run.",
            ),
            # Version 2 of the autoscaler counts them apart; a cluster may have only one kind.
            Panel("Nodes", {"nodes": 'sum({__name__=~"ray_cluster_(active|idle)_nodes"})'}),
            Panel(
                "Groups of workers that wait for room",
                {
                    "{{State}}": "sum by (State) "
                    '(ray_gcs_placement_group_count{State=~"Pending|Infeasible"})'
                },
                "Those of runs and of trials. Infeasible: no present node could ever hold them.",
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
                {
                    f"{{{{run}}}} {stage}": of_run(f"{stage}_rows_per_s")
                    for stage in ("read", "featurize", "collate")
                },
                "While it works: one actor (read, featurize), or the trainer's process (collate).",
                log=True,
            ),
            Panel(
                "Rows ready",
                {"{{run}}": of_run("queued_rows")},
                "Featurized, not yet taken. If there are none, the trainer waits: add featurizers.",
            ),
            Panel(
                "Quarantined records",
                {"{{run}}": of_run("quarantined_records")},
                "So far, those that lack a modality due to a fault; result.json has the reasons.",
            ),
        ],
        "Ahead of training": [
            Panel("Records ingested a second", {"{{run}}": rate_of("ingested_records")}),
            Panel(
                "Records refused by ingest",
                {"{{run}}": of_run("refused_records")},
                "So far; failures.jsonl of the data set has the reasons.",
            ),
            Panel("Shards left to write", {"{{run}}": of_run("shards_left")}),
            Panel("Records featurized a second", {"{{run}}": rate_of("featurized_records")}),
            Panel(
                "Records left to featurize",
                {"{{run}}": (f"{of_run('records_to_featurize')} - {of_run('featurized_records')}")},
            ),
        ],
        "Object store and disks": [
            Panel(
                "Object store",
                {
                    "{{NodeAddress}} {{Location}}": (
                        "sum by (NodeAddress, Location) (ray_object_store_memory)"
                    )
                },
                "MMAP_SHM is the store itself; what is SPILLED lies on disk.",
                unit="bytes",
            ),
            Panel(
                "Objects spilled a second",
                {
                    "{{NodeAddress}}": "sum by (NodeAddress) (rate("
                    'ray_spill_manager_request_total{Type="Spilled"}[$__rate_interval]))'
                },
            ),
            Panel(
                "Disk used",
                {
                    "{{ip}}": "max by (ip) "
                    "(ray_node_disk_usage / (ray_node_disk_usage + ray_node_disk_free))"
                },
                unit="percentunit",
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
                {f"{{{{run}}}} {state}": of_run(f"trials_{state}") for state in TRIAL_STATES},
                "Since this start of the sweep; trials that had ended before are not run again.",
                stacked=True,
            ),
            Panel(
                "Best validation error",
                {"{{run}}": of_run("best_validation_error")},
                "Among finished trials: 0 is perfect, and 1 is as good as guessing.",
            ),
            Panel(
                "Trials finished in the last hour",
                {"{{run}}": f"max by (run) (delta(ray_omnimat_trials_finished{RUN}[1h]))"},
            ),
        ],
        "Cluster": [
            Panel(
                "CPUs taken",
                {
                    "taken": 'sum(ray_resources{Name="CPU",State="USED"})'
                    ' / sum(ray_resources{Name="CPU"})'
                },
                "Low while trials are pending: max_concurrent_trials or cpus_per_trial limits it.",
                unit="percentunit",
            ),
            Panel(
                "GPUs taken",
                {
                    "taken": 'sum(ray_resources{Name="GPU",State="USED"})'
                    ' / sum(ray_resources{Name="GPU"})'
                },
                unit="percentunit",
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
                {"{{status}}": "max by (status) (omnimat_leaderboard_rows)"},
                "As the server of the dashboard reads them, whoever wrote them.",
                stacked=True,
            ),
            Panel("Boards", {"boards": "max(omnimat_leaderboard_boards)"}),
            Panel(
                "Posts to the server",
                {
                    "{{outcome}}": "sum by (outcome) "
                    "(increase(omnimat_leaderboard_posts_total[$__rate_interval]))"
                },
            ),
        ],
        "Jobs": [
            Panel(
                "Rows written",
                {"{{run}}": "max by (run) (ray_omnimat_leaderboard_rows_written)"},
                "Shown until the job ends.",
            ),
            Panel(
                "Rows refused",
                {"{{run}}": "max by (run) (ray_omnimat_leaderboard_rows_refused)"},
                "The job then fails, and its log says why.",
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
