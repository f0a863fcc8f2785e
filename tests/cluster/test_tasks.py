"""What is said of a task of Ray that did not end."""

from ray.exceptions import WorkerCrashedError

from omnimat.base.errors import RunError
from omnimat.cluster.tasks import explained


def test_a_task_that_was_lost_is_told_with_the_number_of_its_tries():
    told = explained(WorkerCrashedError(), 3)
    assert isinstance(told, RunError)
    assert "at each of 3 tries, the last time by WorkerCrashedError" in str(told)
