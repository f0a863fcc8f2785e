import json
import shutil

import numpy as np
import pytest
import torch

import omnimat
from omnimat.base.checked_json import read_checked_json, write_checked_json
from omnimat.base.errors import UserError
from omnimat.base.workspace import RESULT
from omnimat.inference.build import package
from omnimat.inference.compare import facts
from omnimat.inference.origin import learned
from omnimat.inference.package import Package
from omnimat.inference.unpacked import Unpacked
from omnimat.materials.crystals import reduced_formula
from omnimat.modalities.batch import feature_table
from omnimat.models.embed import ExportedEncoder
from omnimat.models.inputs import export_folder, featurizers_of, read_cards, read_pretraining
from omnimat.shards.manifest import Manifest

VOLUME = "volume_angstrom3_per_atom"
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


@pytest.mark.parametrize("variant", ["finetuned", "from_scratch", "frozen"])
def test_a_package_embeds_by_what_it_was_trained_to_and_says_of_what(
    storage, sweep_in, records, tmp_path, variant
):
    """A model from scratch holds nothing of the pretraining, and one that is frozen all of it."""
    choices = SHORT | {"variants": [variant], "learning_rates": [5e-3], "seeds": [0]}
    sweep_in(variant, choices)
    package(variant, storage, tmp_path / variant)
    model = omnimat.load(tmp_path / variant)
    unpacked = Unpacked(Package(tmp_path / variant), torch.device("cpu"))
    folder = export_folder(storage.run("pre"), "structure")
    pretrained = ExportedEncoder.load(folder).embed_record(records[0]).numpy()
    vector = model.embed(records[0]).vectors[0]
    is_same = bool(np.allclose(vector, pretrained, atol=1e-6))
    assert is_same == (variant == "frozen")
    runs = [variant] if variant == "from_scratch" else ["pre", variant]
    assert [one.run for one in model.card.trained] == runs
    assert model.card.encoders["structure"].parent_run == ("pre" if is_same else variant)
    # By what it embeds, it also predicts: the distance is measured in the same tokens.
    tokens = unpacked.outputs(_featurized_by(model, records[0])).embeddings[0]
    np.testing.assert_allclose(vector, tokens / np.linalg.norm(tokens), atol=1e-5)


def test_the_data_of_pretraining_is_what_its_encoders_remember(storage, records, tmp_path):
    """It may be gone, or another data set may have its name: then no licence is known."""
    settings = read_pretraining(storage.run("pre"))["settings"]
    cards = read_cards(storage.run("pre"))
    known = learned(storage, "data", "pre", cards)
    assert known.licences == Manifest.load(storage.dataset("data")).licences
    (gone := storage.run("gone")).mkdir(parents=True)
    shutil.copytree(storage.run("pre") / "export", gone / "export")
    changed = settings | {"dataset": "no-such-data"}
    write_checked_json(gone / RESULT, {"settings": changed})
    card = package("gone", storage, tmp_path / "gone")
    assert card.trained[0].licences is None
    assert card.trained[0].dataset_fingerprint == known.dataset_fingerprint
    assert "licences: not known" in (tmp_path / "gone" / "README.md").read_text()
    other = {name: c.model_copy(update={"dataset_fingerprint": "0"}) for name, c in cards.items()}
    assert learned(storage, "data", "pre", other).licences is None


def test_a_sweep_that_a_table_cannot_show_is_refused(storage, tmp_path):
    result = read_checked_json(storage.run("sweep") / RESULT, "")
    (again := {**result["settings"]["tasks"][0]}).update(name="again")
    tasks = [*result["settings"]["tasks"], again]
    (twice := storage.run("twice")).mkdir(parents=True)
    write_checked_json(twice / RESULT, result | {"settings": result["settings"] | {"tasks": tasks}})
    with pytest.raises(UserError, match=r"tasks\.again: .* two columns"):
        package("twice", storage, tmp_path / "twice")


def test_trials_that_predict_infinite_numbers_are_refused(storage, sweep_in, tmp_path):
    """As do powers of ten whose exponent is a little off by far too much."""
    task = SHORT["tasks"][0] | {"transform": "log10"}

    def changed(result):
        codec = result.codec.codecs[0].model_copy(update={"mean": 400.0})
        codecs = result.codec.model_copy(update={"codecs": (codec,)})
        return result.model_copy(update={"codec": codecs})

    one = {"tasks": [task], "learning_rates": [5e-3], "seeds": [0]}
    sweep_in("infinite", SHORT | one, changed)
    with pytest.raises(UserError, match=r"tasks\.volume: .* not finite"):
        package("infinite", storage, tmp_path / "infinite")


@pytest.mark.parametrize(("variant", "is_told"), [("from_scratch", True), ("frozen", False)])
def test_a_card_tells_what_others_keep_only_if_no_weight_has_seen_a_formula_of_it(
    storage, sweep_in, write_records, records, tmp_path, variant, is_told
):
    """The sweep holds out what its pretraining has seen."""
    kept = [one for place, one in enumerate(records) if place % 10 < 7][:3]
    write_records(storage.dataset("kept"), [kept], lambda material: "test")
    held_out = [{"dataset": "kept", "splits": ["test"]}]
    one = {"variants": [variant], "learning_rates": [5e-3], "seeds": [0], "held_out": held_out}
    sweep_in(f"honest-{variant}", SHORT | one)
    card = package(f"honest-{variant}", storage, tmp_path / "honest")
    formulas = {reduced_formula(one.structure.atomic_numbers) for one in kept}
    told = {(one.dataset, one.num_formulas) for one in card.withheld}
    assert told == ({("kept", len(formulas))} if is_told else set())
    text = (tmp_path / "honest/README.md").read_text()
    sentence = f"none of the {len(formulas)} formulas of kept ("
    assert (sentence in text) == is_told
    seen = json.loads((tmp_path / "honest/seen.json").read_text())["formulas"]
    assert formulas.isdisjoint(seen) == is_told


def test_a_card_names_another_data_set_that_judged(
    storage, packed, sweep_in, write_records, write_features, records, tmp_path
):
    write_records(storage.dataset("judge"), [records[:8]], lambda material: "test")
    write_features(storage, "judge", featurizers_of(read_cards(storage.run("pre"))))
    one = {"variants": ["from_scratch"], "learning_rates": [5e-3], "seeds": [0]}
    sweep_in("transferred", SHORT | one | {"test_dataset": "judge"})
    card = package("transferred", storage, tmp_path / "transferred")
    manifest = Manifest.load(storage.dataset("judge"))
    told = {"dataset": "judge", "dataset_fingerprint": manifest.dataset_fingerprint}
    assert card.tested_on.model_dump() == told
    assert [one.dataset for one in card.trained] == ["data"]
    text = (tmp_path / "transferred/README.md").read_text()
    assert (
        f"another data set than it has learned from: judge ({told['dataset_fingerprint']})" in text
    )
    assert facts(card)["tested on"].startswith("judge (")
    assert Package(packed).card.tested_on is None


def test_weights_in_16_bits_take_half_the_room_and_are_what_was_measured(
    storage, packed, records, tmp_path
):
    card = package("sweep", storage, tmp_path / "half", half=True)
    whole, half = (
        {name: file.size_bytes for name, file in one.files.items() if name.startswith("members/")}
        for one in (Package(packed).card, card)
    )
    assert all(0.45 < half[name] / whole[name] < 0.65 for name in whole)
    tables = [omnimat.load(path).predict(records) for path in (packed, tmp_path / "half")]
    values, rounded = (table[VOLUME].to_numpy() for table in tables)
    assert 0 < np.abs(rounded - values).max() < 0.01 * np.ptp(values)
    test = [place for place in range(len(records)) if place % 10 == 9]
    targets = [records[place].properties[VOLUME] for place in test]
    score = card.predictor.predicted[0].score.of_mean
    assert score == pytest.approx(np.abs(rounded[test] - targets).mean(), rel=1e-5)


def test_what_makers_say_is_a_quotation_on_the_card(storage, tmp_path):
    package("pre", storage, tmp_path / "pre", about="Not for glass.\n# No heading\x1b[2J\n")
    text = (tmp_path / "pre/README.md").read_text()
    assert "> Not for glass.\n> # No heading\\x1b[2J\n" in text


def _featurized_by(model, record):
    encoders = {"structure": model.card.encoders["structure"]}
    return feature_table([record], featurizers_of(encoders))
