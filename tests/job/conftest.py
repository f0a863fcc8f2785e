import pytest

FINETUNE = """\
kind: finetune
name: sweep
dataset: tiny-data
run: tiny
tasks: [{name: volume, target: volume}]
"""


@pytest.fixture
def finetune(tiny_jobs):
    """jobs/finetune.yaml beside the tiny jobs."""
    path = tiny_jobs / "jobs" / "finetune.yaml"
    path.write_text(FINETUNE)
    return path
