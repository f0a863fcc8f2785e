from datetime import UTC, datetime

import pytest

from omnimat.leaderboard.row import Row


@pytest.fixture
def make_row():
    def make(**changes):
        values = {
            "task": "formation_energy_per_atom",
            "metric": "mae",
            "unit": "eV/atom",
            "higher_is_better": False,
            "model": "potnet",
            "variant": "finetuned",
            "seed": 0,
            "value": 0.1,
            "num_test": 40,
            "dataset": "prototypes",
            "dataset_fingerprint": "0123456789abcdef",
            "split_sha256": "a" * 64,
            "config_hash": "fedcba9876543210",
            "config": {"training": {"lr": 1e-3, "layers": [1, 2]}},
            "code_commit": "c" * 40,
            "code_dirty": False,
            "checkpoint_uri": "s3://bucket/run/checkpoint",
            "checkpoint_sha256": "b" * 64,
            "predictions_uri": "s3://bucket/run/predictions.parquet",
            "predictions_sha256": "d" * 64,
            "parent_run": "pretrain-demo",
            "run_name": "finetune-demo",
            "hyperparameters": {"lr": 1e-3},
            "hardware": {"cpu": "a cpu", "cores": 2, "memory_gib": 8.0, "gpus": []},
            "wall_time_s": 12.5,
            "samples_seen": 6_000_000_000,
            "created_at": datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC),
        }
        return Row(**(values | changes))

    return make
