"""A run's history loses nothing, counts retaken steps once, and needs only small writes."""

import fsspec
import pandas as pd
import pytest
from upath import UPath

from omnimat.base.errors import RunError
from omnimat.base.files import parquet_frame
from omnimat.testing.flaky_s3 import flaky_s3
from omnimat.training.history import LINES_PER_PART, History, read_history, read_reports


def add(history: History, steps: range, loss: float) -> None:
    for step in steps:
        history.add({"step": step, "loss": loss})


def test_a_step_counts_as_the_last_start_took_it(tmp_path):
    run = UPath(tmp_path)
    add(History.begin(run), range(1, LINES_PER_PART + 31), loss=1.0)
    add(History.begin(run), range(9, LINES_PER_PART + 21), loss=2.0)
    add(History.begin(run), range(LINES_PER_PART + 5, LINES_PER_PART + 8), loss=3.0)
    # A killed worker leaves a file half written.
    (run / "metrics" / ".00009-000000.jsonl.0.partial").write_text('{"step"')
    history = read_history(run)
    steps = pd.Series(range(1, LINES_PER_PART + 31))
    assert history["step"].tolist() == steps.tolist()
    expected = 1.0 + steps.between(9, LINES_PER_PART + 20)
    expected += steps.between(LINES_PER_PART + 5, LINES_PER_PART + 7)
    assert history["loss"].tolist() == expected.tolist()
    assert len(list(read_reports(run))) == (LINES_PER_PART + 30) + (LINES_PER_PART + 12) + 3


@pytest.mark.parametrize("damaged", ['{"step" 2}', '{"stfp": 2}', "[2]", "2"])
def test_a_damaged_line_is_named(damaged, tmp_path):
    run = UPath(tmp_path)
    add(History.begin(run), range(1, 4), loss=1.0)
    (part,) = (run / "metrics").iterdir()
    first, _, last = part.read_text().splitlines()
    part.write_text("\n".join([first, damaged, last]))
    with pytest.raises(RunError, match=rf"{part.name}, line 2 is damaged.*delete this file"):
        read_history(run)


def test_a_run_without_reports_has_none(tmp_path):
    assert list(read_reports(UPath(tmp_path))) == []
    history = read_history(UPath(tmp_path))
    assert history.empty
    assert list(parquet_frame(history.to_parquet(index=False))) == ["step", "loss"]


def test_on_s3_a_line_is_one_small_request(tmp_path, monkeypatch):
    pytest.importorskip("s3fs")
    pytest.importorskip("moto")
    with flaky_s3(tmp_path) as s3:
        for name, value in s3.environment.items():
            monkeypatch.setenv(name, value)
        # fsspec caches clients by their arguments, and the server's address is not one of them.
        fsspec.get_filesystem_class("s3").clear_instance_cache()
        run = UPath("s3://history/run", use_listings_cache=False)
        UPath("s3://history").mkdir()
        history = History.begin(run)
        count = LINES_PER_PART + 10
        with s3.failing(lambda *_: None):
            add(history, range(1, count + 1), loss=1.0)
        assert [request.method for request in s3.requests] == ["PUT"] * count
        assert read_history(run)["step"].tolist() == list(range(1, count + 1))
        assert (run / "metrics" / "00001-000001.jsonl").stat().st_size < 1000
        assert History.begin(run).start == 2
        type(run.fs).clear_instance_cache()  # closes the connections before the server stops
