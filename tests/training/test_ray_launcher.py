"""What the user is told about a run that Ray Train has given up."""

import pytest
import ray.train

from omnimat.base.errors import RunError, UserError
from omnimat.training.ray_launcher import known_reason


def test_a_group_that_never_started_is_a_sentence():
    reason = known_reason(ray.train.ControllerError(TimeoutError("no room for 4 workers")))
    assert isinstance(reason, RunError)
    assert "no room for 4 workers" in str(reason)
    assert "run the job again" in str(reason)


@pytest.mark.parametrize(
    "failure", [RunError("the disk is full"), UserError("a wrong setting"), ValueError("a bug")]
)
def test_what_a_worker_knows_is_told_and_what_it_does_not_is_left_as_it_is(failure):
    found = known_reason(ray.train.WorkerGroupError("rank 1 failed", {1: failure}))
    assert found is (failure if isinstance(failure, RunError | UserError) else None)
