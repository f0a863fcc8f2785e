"""What jobs really write can be proven: ingest, pretraining, evaluation, fine-tuning, verify."""

import pytest

from omnimat.leaderboard.store import LeaderboardStore

pytestmark = [pytest.mark.ray, pytest.mark.slow]

# A tenth of 40 materials would leave the validation split empty.
SPLIT = "split: {train: 0.6, validation: 0.2, test: 0.2}\n"
DOWNSTREAM = {
    "evaluate.yaml": """\
kind: evaluate
name: tiny-evaluation
needs: [jobs/pretrain.yaml]
dataset: tiny-data
run: tiny
split: train
retrieval: {pool_size: 10}
clusters: {}
""",
    "finetune.yaml": """\
kind: finetune
name: tiny-properties
needs: [jobs/evaluate.yaml]
dataset: tiny-data
run: tiny
modalities: [dos, text]
tasks:
  - name: crystal system
    target: crystal_system
    kind: classification
    counted_as: {trigonal: low, triclinic: low, monoclinic: low, orthorhombic: low}
    expected_shares: {cubic: 50, hexagonal: 10, tetragonal: 10, low: 100}
  - {name: density, target: density_g_per_cm3, unit: g/cm^3}
variants: [frozen]
learning_rates: [1.0e-3]
seeds: [0, 1]
ensemble: true
trial: {num_epochs: 1, batch_size: 16}
""",
}


def test_every_row_of_a_real_run_is_reproduced(tiny_jobs, tmp_path, run_here, monkeypatch):
    for name, text in DOWNSTREAM.items():
        (tiny_jobs / "jobs" / name).write_text(text)
    with (tiny_jobs / "jobs" / "data.yaml").open("a") as file:
        file.write(SPLIT)
    monkeypatch.setenv("OMNIMAT_STORAGE", str(tmp_path / "storage"))
    code, said = run_here(tiny_jobs, "run", "jobs/finetune.yaml")
    assert code == 0, said
    code, said = run_here(tiny_jobs, "leaderboard", "verify", "--all", "--rerun", "--sample", "3")
    assert code == 0, said
    rows = LeaderboardStore(f"sqlite:///{tmp_path / 'storage' / 'leaderboard.sqlite'}").rows()
    assert {row.status for row in rows} == {"reproduced"}
    assert {row.task for row in rows} >= {"crystal system", "density"}
    assert any(row.task.startswith("retrieval") for row in rows)
