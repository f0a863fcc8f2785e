"""A job that the cluster can never hold is refused at once, in one sentence with the numbers."""

import re

import pytest

from omnimat.base.errors import UserError
from omnimat.cluster.capacity import LARGEST, Cluster
from omnimat.job.load import load
from omnimat.job.preflight import check_fits, placement

EVALUATE = "{kind: evaluate, name: scores, dataset: tiny-data, run: tiny}\n"


@pytest.mark.ray
@pytest.mark.usefixtures("on_ray")
def test_only_what_can_never_run_is_refused(tiny_jobs, finetune):
    folder = tiny_jobs / "jobs"
    (folder / "evaluate.yaml").write_text(EVALUATE)

    def refusal(file: str, *overrides: str) -> str:
        with pytest.raises(UserError) as caught:
            check_fits(load(folder / file, overrides))
        message = str(caught.value)
        assert re.search("the cluster has [02]; ask for less or use a larger cluster", message)
        return message

    for file in ("data.yaml", "pretrain.yaml", "finetune.yaml", "evaluate.yaml"):
        check_fits(load(folder / file))
    # 0.5 for the worker and twice 0.25 for its featurizers: two fit exactly.
    two = ["training.num_workers=2", "stream.num_featurizers=2"]
    check_fits(load(folder / "pretrain.yaml", two))
    assert "training.num_workers and their featurizers ask for 3 CPU" in refusal(
        "pretrain.yaml", "training.num_workers=4"
    )
    # Of a run that may have fewer workers Ray starts as many as fit by themselves: four, which
    # leave nothing for their featurizers; one of 1.5 CPUs leaves enough.
    elastic = ["training.num_workers=4", "training.min_workers=1", "training.global_batch_size=12"]
    assert "training.num_workers and their featurizers ask for 3 CPU" in refusal(
        "pretrain.yaml", *elastic
    )
    check_fits(load(folder / "pretrain.yaml", [*elastic, "training.cpus_per_worker=1.5"]))
    assert "ask for 2.5 CPU" in refusal("pretrain.yaml", "stream.num_featurizers=8")
    assert "stream.num_featurizers ask for 8 CPU" in refusal(
        "pretrain.yaml", "stream={read_from: store, num_featurizers: 4, featurizer_num_cpus: 2}"
    )
    assert "training.num_workers ask for 1 GPU" in refusal("pretrain.yaml", "training.use_gpu=true")
    assert "gpus_per_trial ask for 3 CPU" in refusal("finetune.yaml", "cpus_per_trial=3")
    assert "num_featurizers ask for 4 CPU" in refusal("finetune.yaml", "num_featurizers=4")
    assert "gpus_per_trial ask for 0.5 GPU" in refusal("finetune.yaml", "gpus_per_trial=0.5")
    assert "num_featurizers ask for 5 CPU" in refusal("evaluate.yaml", "num_featurizers=5")
    assert "num_cpus_per_task ask for 2.5 CPU" in refusal("data.yaml", "num_cpus_per_task=2.5")


@pytest.mark.ray
@pytest.mark.usefixtures("on_ray")
def test_labels_decide_where_there_are_such_nodes(tiny_jobs):
    job = load(
        tiny_jobs / "jobs" / "pretrain.yaml",
        ["training.label_selector={zone: a}", "training.num_workers=2"],
    )
    check_fits(job)
    lines = placement(job)
    assert lines == [
        "cluster of 1 node, 2 CPU",
        "  trainers: 2 x (0.5 CPU) on 1 node labelled zone=a",
        "  featurizers: 2 x (0.25 CPU) on any node (none is labelled omnimat.io/role=featurizer)",
    ]


@pytest.mark.ray
@pytest.mark.usefixtures("on_ray")
def test_a_cluster_that_grows_says_how_far(tiny_jobs, monkeypatch):
    job = load(tiny_jobs / "jobs" / "pretrain.yaml", ["training.num_workers=4"])
    monkeypatch.setenv(LARGEST, "CPU=56,GPU=8")
    on_gpus = job.on_devices(Cluster.now().amount("GPU", {}))
    check_fits(on_gpus)
    assert placement(on_gpus)[:2] == [
        "cluster of 1 node, 56 CPU, 8 GPU at most",
        "  trainers: 4 x (0.5 CPU, 1 GPU) on any node (none is labelled omnimat.io/role=trainer)",
    ]
    monkeypatch.setenv(LARGEST, "GPU=many")
    with pytest.raises(UserError, match="OMNIMAT_LARGEST_CLUSTER is 'GPU=many'; write amounts"):
        Cluster.now()


def test_one_node_must_hold_one_worker():
    """Four times three CPUs are enough in sum for a worker of four, and yet none fits."""
    nodes = [{"Labels": {"zone": "b"}, "Resources": {"CPU": 3.0}}] * 4
    worker = {"CPU": 4.0}
    assert not Cluster(nodes, largest={}).can_hold(worker, {})
    assert not Cluster(nodes, largest={}).can_hold(worker, {"zone": "c"})
    assert Cluster(nodes, largest={"CPU": 16.0}).can_hold(worker, {})


def test_as_many_fit_as_each_node_holds():
    nodes = [{"Labels": {}, "Resources": {"CPU": 3.0, "GPU": 1.0}}, {"Labels": {}, "Resources": {}}]
    cluster = Cluster(nodes, largest={"CPU": 99.0})
    assert cluster.count({"CPU": 1.0}) == 3
    assert cluster.count({"CPU": 1.0, "GPU": 1.0}) == 1
    assert cluster.count({"CPU": 0.3}) == 10  # 3.0 // 0.3 is 9
