"""The first tutorial, which trains on Ray."""

import pytest

pytestmark = pytest.mark.ray


def test_crystals_to_a_predictor(run_tutorial, ray_head, monkeypatch):
    for name, value in ray_head.environment.items():
        monkeypatch.setenv(name, value)
    table = run_tutorial("1_crystals_to_predictor")["table"]
    assert table["density_g_per_cm3"].notna().all()
    assert "density_g_per_cm3_low" not in table  # too few validation materials for an interval
