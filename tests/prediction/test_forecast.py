"""``omnimat plan`` of a predict job: some rows are taken all the way here."""

import json

import pytest
import yaml
from click.testing import CliRunner

from omnimat.cli.main import main
from omnimat.prediction.forecast import Forecast, Rates
from omnimat.training.forecast.prediction import START_S
from omnimat.training.forecast.request import Request

RATES = Rates(num_measured=256, rows_per_item=1, read_s=0.001, featurize_s=0.003, answer_s=0.01)


@pytest.fixture
def plan(model, crystals, tmp_path, monkeypatch):
    """Call the command with further options."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    values = {"kind": "predict", "name": "x", "model": str(model)}
    values |= {"source": {"path": str(crystals)}, "storage_path": str(tmp_path / "storage")}
    path = tmp_path / "x.yaml"
    path.write_text(yaml.safe_dump(values))
    return lambda *options: CliRunner().invoke(main, ["plan", str(path), *options])


@pytest.mark.parametrize(
    ("actors", "on_gpu", "num_cores", "rows_per_s", "limit"),
    [
        ((1, 1), False, None, 100, "models"),
        ((1, 4), False, None, 250, "featurizers"),
        ((4, 4), False, 0.7, 50, "cores"),
        ((4, 4), True, 0.7, 175, "cores"),  # of which featurizers alone take any
    ],
)
def test_the_slowest_part_decides(actors, on_gpu, num_cores, rows_per_s, limit):
    found = Forecast(10_000, *actors, on_gpu, num_cores, RATES)
    assert found.rows_per_s == pytest.approx(rows_per_s)
    assert found.limit == limit
    assert found.run_s == pytest.approx(START_S + 10_000 / rows_per_s)


def test_what_is_occupied_is_paid_for():
    prices = Request(gpu_hour=3.0, core_hour=0.1)
    on_cpu = Forecast(3_600_000, 2, 1, False, None, RATES)
    assert on_cpu.cost(prices) == pytest.approx(3 * 0.1 * on_cpu.run_s / 3600)
    on_gpu = Forecast(3_600_000, 2, 1, True, None, RATES)
    assert on_gpu.cost(prices) == pytest.approx((3 * 0.1 + 3.0) * on_gpu.run_s / 3600)
    reserved = {"featurizer_num_cpus": 0.5, "model_num_cpus": 4}
    wide = Forecast(3_600_000, 2, 1, False, None, RATES, **reserved)
    assert wide.cost(prices) == pytest.approx(5 * 0.1 * wide.run_s / 3600)
    shared = Forecast(3_600_000, 2, 1, False, 3, RATES, **reserved)
    assert shared.cost(prices) == pytest.approx(3 * 0.1 * shared.run_s / 3600)


def test_rows_are_measured_here_and_nothing_is_written(plan, tmp_path):
    done = plan("--json", "--core-hour", "1")
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    (row,) = told["forecasts"]
    assert row["num_rows"] == 32
    assert row["device"] == "cpu"
    assert row["rows_per_s"] > 0
    assert row["cost"] > 0
    assert "measured on 32 rows" in told["assumptions"][0]
    assert not (tmp_path / "storage").exists()
    assert "rows/s" in plan().output


def test_a_gpu_that_is_not_here_is_assumed_only_if_told(plan):
    refused = plan("--gpus", "2")
    assert refused.exit_code == 2
    assert "--gpu-speedup" in refused.output
    told = plan("--gpus", "2", "--gpu-speedup", "50")
    assert "GPU models" in told.output
    assert "assumed, not measured" in told.output
