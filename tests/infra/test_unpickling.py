"""Continuous integration refuses code that might unpickle something."""

from pathlib import Path

import pytest
import unpickling

REPOSITORY = Path(__file__).parents[2]

REFUSED = [
    "import pickle",
    "import cloudpickle as c",
    "from pickle import loads",
    "from ray import cloudpickle",
    "import ray; ray.cloudpickle.loads(data)",
    "import joblib; joblib.load(file)",
    "def f():\n    import dill",
    "torch.load(file)",
    "torch.load(file, weights_only=False)",
    "torch.load(file, weights_only=flag)",
    "from torch import load",
    "np.load(file, allow_pickle=True)",
    "np.load(file, allow_pickle=flag)",
    "yaml.load(text)",
    "yaml.load(text, yaml.UnsafeLoader)",
    "yaml.load_all(text, Loader=yaml.FullLoader)",
    "yaml.unsafe_load(text)",
    "engine.load_checkpoint(folder)",
    "pd.read_pickle(file)",
]
ACCEPTED = [
    "torch.load(file, weights_only=True)",
    "np.load(file)",
    "np.load(file, mmap_mode='r', allow_pickle=False)",
    "np.savez(file, allow_pickle=False)",
    "yaml.safe_load(text)",
    "yaml.load_all(text, yaml.CSafeLoader)",
    "yaml.load(text, Loader=yaml.SafeLoader)",
    "json.load(file)",
    "'pickle.loads(data)'  # torch.load(file)",
]


def found(folder: Path, text: str) -> list[str]:
    name = "platform/omnimat/some.py"
    (folder / name).parent.mkdir(parents=True)
    (folder / name).write_text(f"\n{text}\n")
    return unpickling.faults(folder)


@pytest.mark.parametrize("text", REFUSED)
def test_what_may_unpickle_is_named_with_its_line(text, tmp_path):
    faults = found(tmp_path, text)
    assert faults
    line = 2 + text.count("\n")
    assert all(fault.startswith(f"platform/omnimat/some.py:{line}: ") for fault in faults)
    assert "safetensors" in faults[0]


@pytest.mark.parametrize("text", ACCEPTED)
def test_what_reads_data_alone_is_not(text, tmp_path):
    assert found(tmp_path, text) == []


def test_this_code_unpickles_nothing():
    assert unpickling.faults(REPOSITORY) == []
