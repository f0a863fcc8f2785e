import pytest

from omnimat.base.checked_json import read_checked_json, write_checked_json
from omnimat.base.errors import UserError
from omnimat.base.workspace import RESULT
from omnimat.inference.build import package

# Two points and two seeds, of an epoch each.
SHORT = {
    "dataset": "data",
    "run": "pre",
    "modalities": ["structure"],
    "tasks": [{"name": "volume", "target": "volume_angstrom3_per_atom"}],
    "variants": ["finetuned"],
    "learning_rates": [1e-3, 5e-3],
    "seeds": [0, 1],
    "trial": {"num_epochs": 1, "batch_size": 64},
}


def test_the_point_that_halving_chose_is_packed_with_all_its_seeds(storage, sweep_in, tmp_path):
    """The chosen point is the best of the first seed; its other seed is the worst of all."""
    errors = {(1e-3, 0): 1.0, (1e-3, 1): 100.0, (5e-3, 0): 2.0, (5e-3, 1): 2.0}

    def changed(result):
        error = errors[result.settings.lr, result.settings.seed]
        return result.model_copy(update={"validation_error": error})

    sweep_in("halved", SHORT | {"asha": {}}, changed)
    card = package("halved", storage, tmp_path / "halved")
    assert card.predictor.network.seeds == (0, 1)
    wanted = storage.run("halved") / "trials" / "finetuned-lr0.001-seed1" / "model.safetensors"
    assert (tmp_path / "halved/members/seed1.safetensors").read_bytes() == wanted.read_bytes()


def test_a_sweep_of_another_version_is_refused_in_a_sentence(storage, tmp_path):
    result = read_checked_json(storage.run("sweep") / RESULT, "")
    (other := storage.run("other")).mkdir(parents=True)
    write_checked_json(other / RESULT, result | {"settings": result["settings"] | {"new": 1}})
    with pytest.raises(UserError, match="another version of omnimat"):
        package("other", storage, tmp_path / "other")
    with pytest.raises(UserError, match="its variants are finetuned"):
        package("sweep", storage, tmp_path / "sweep", "frozen")
