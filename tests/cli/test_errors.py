"""Errors that explain themselves are one sentence, wherever they were raised."""

import pytest
from click.testing import CliRunner
from ray.exceptions import RayTaskError

from omnimat.base.errors import RunError, UserError
from omnimat.cli.main import main


@pytest.mark.parametrize(("kind", "exit_code"), [(UserError, 2), (RunError, 1)])
def test_an_error_of_a_task_of_ray_is_told_without_its_traceback(monkeypatch, kind, exit_code):
    error = RayTaskError(
        "write", "Traceback ...", kind("data.tar was changed")
    ).as_instanceof_cause()
    assert isinstance(error, kind)

    def refuse(*_arguments):
        raise error

    monkeypatch.setattr("omnimat.job.run.checked", refuse)
    result = CliRunner().invoke(main, ["check", "job.yaml"])
    assert (result.exit_code, result.output) == (exit_code, "omnimat: data.tar was changed\n")
