"""What jobs tell of themselves, told to a watcher that keeps it."""

import pytest

from omnimat.base.errors import UserError
from omnimat.cluster.metrics import leaderboard_write
from omnimat.finetune.progress import Progress
from omnimat.finetune.tasks import TaskSettings

TASK = TaskSettings(name="volume per atom", target="v", unit="angstrom^3/atom")
LAST = {"epoch": 3.0, "validation volume per atom": 1.5, "time_total_s": 2.0}


@pytest.fixture
def told():
    return {}


def trials(told) -> list[float]:
    states = ("pending", "running", "finished", "stopped", "failed")
    return [told[f"trials_{state}"] for state in states]


def test_every_trial_is_in_one_state(told, capsys):
    progress = Progress(5, told.update)
    for name in ("a", "b", "c"):
        progress.started(name)
    assert trials(told) == [2, 3, 0, 0, 0]
    progress.ended("a", LAST, [TASK], 0.5)
    progress.ended("b", LAST, [TASK], None)
    progress.started("c")  # again, after a failure
    assert trials(told) == [2, 1, 1, 1, 0]
    progress.failed("c")
    assert trials(told) == [2, 0, 1, 1, 1]
    assert sum(trials(told)) == 5
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("trial 1/5 a: validation volume per atom mae 1.5 angstrom^3/atom")
    assert "stopped early, after 3 epochs" in lines[1]


def test_the_best_error_is_the_least_of_those_that_finished(told):
    progress = Progress(4, told.update)
    assert "best_validation_error" not in told
    best = []
    for name, error in (("a", 0.5), ("b", 0.7), ("c", None), ("d", 0.2)):
        progress.started(name)
        progress.ended(name, LAST, [TASK], error)
        best.append(told["best_validation_error"])
    assert best == [0.5, 0.5, 0.5, 0.2]


def test_a_refused_write_is_told_and_still_an_error(told):
    with leaderboard_write(told.update, 7):
        assert told == {}
    assert told == {"leaderboard_rows_written": 7, "leaderboard_rows_refused": 0}
    with pytest.raises(UserError), leaderboard_write(told.update, 3):
        raise UserError("row 1 is recomputed and not replaced")
    assert told == {"leaderboard_rows_written": 0, "leaderboard_rows_refused": 3}
