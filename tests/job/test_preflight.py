"""A job that the cluster can never hold is refused at once, in one sentence with the numbers."""

import pytest
import ray

from omnimat.job.load import load
from omnimat.job.preflight import check_fits
from omnimat.materials.errors import UserError

FINETUNE = """\
kind: finetune
name: sweep
dataset: tiny-data
run: tiny
tasks: [{name: volume, target: volume}]
"""
EVALUATE = "{kind: evaluate, name: scores, dataset: tiny-data, run: tiny}\n"


@pytest.fixture(scope="module")
def _two_cpus():
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


@pytest.mark.ray
@pytest.mark.usefixtures("_two_cpus")
def test_only_what_can_never_run_is_refused(tiny_jobs):
    folder = tiny_jobs / "jobs"
    (folder / "finetune.yaml").write_text(FINETUNE)
    (folder / "evaluate.yaml").write_text(EVALUATE)

    def refusal(file: str, *overrides: str) -> str:
        with pytest.raises(UserError) as caught:
            check_fits(load(folder / file, overrides).job)
        message = str(caught.value)
        assert message.endswith("the cluster has 2; lower them or use a larger cluster") or (
            message.endswith("the cluster has 0; lower them or use a larger cluster")
        )
        return message

    for file in ("data.yaml", "pretrain.yaml", "finetune.yaml", "evaluate.yaml"):
        check_fits(load(folder / file).job)
    # 0.5 for the worker, 0.25 for its reader, 0.25 for its featurizer: two fit exactly.
    check_fits(load(folder / "pretrain.yaml", ["training.num_workers=2"]).job)
    assert "training.num_workers with their readers and featurizers ask for 4 CPU" in refusal(
        "pretrain.yaml", "training.num_workers=4"
    )
    assert "ask for 2.75 CPU" in refusal("pretrain.yaml", "stream.num_featurizers=8")
    assert "stream.num_featurizers ask for 8 CPU" in refusal(
        "pretrain.yaml", "stream={read_from: store, num_featurizers: 4, featurizer_num_cpus: 2}"
    )
    assert "training.num_workers with use_gpu ask for 1 GPU" in refusal(
        "pretrain.yaml", "training.use_gpu=true"
    )
    assert "cpus_per_trial ask for 3 CPU" in refusal("finetune.yaml", "cpus_per_trial=3")
    assert "num_featurizers ask for 4 CPU" in refusal("finetune.yaml", "num_featurizers=4")
    assert "gpus_per_trial ask for 0.5 GPU" in refusal("finetune.yaml", "gpus_per_trial=0.5")
    assert "num_featurizers ask for 5 CPU" in refusal("evaluate.yaml", "num_featurizers=5")
    assert "num_cpus_per_task ask for 2.5 CPU" in refusal("data.yaml", "num_cpus_per_task=2.5")
