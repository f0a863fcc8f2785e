"""A card that somebody else wrote names models and files; none of them is opened or downloaded."""

import json

import pytest
from pydantic import ValidationError
from upath import UPath

from omnimat.base.errors import UserError
from omnimat.modalities.layout import self_contained
from omnimat.modalities.text.huggingface_encoder import HuggingFaceTextSettings
from omnimat.modalities.text.tokens import TextTokens
from omnimat.models.export import CARD_FILE, Card, load, read_card
from omnimat.models.inputs import featurizers_of
from omnimat.testing.materials import example_records
from omnimat.testing.opened import watched

pytest.importorskip("transformers")

TINY = HuggingFaceTextSettings(preset="tiny").model_dump(mode="json")
ABOUT = {
    "modality": "text",
    "embedding_dim": 4,
    "parent_run": "run",
    "config_hash": "0",
    "dataset_fingerprint": "0",
    "samples_seen": 1,
}
MLP = {"type": "text_mlp", "preset": "tiny"}


@pytest.fixture(params=["folder", "hub"])
def named(request, tmp_path):
    """A model's folder outside, with all that a model has, and a name on the hub."""
    if request.param == "hub":
        return "somebody/model"
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(TINY["config"]))
    (folder / "tokenizer.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"")
    return str(folder)


def led_out(opened):
    return [one for one in opened if "elsewhere" in one or one.startswith("socket")]


def test_the_watch_sees_who_follows_a_name(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "config.json").write_text(json.dumps(TINY["config"]))
    with watched() as opened:
        HuggingFaceTextSettings(model=str(tmp_path / "elsewhere")).exported()
    assert led_out(opened)


def test_an_encoder_that_names_a_model_is_refused(named, tmp_path):
    content = ABOUT | {
        "encoder": TINY | {"model": named},
        "featurizer": {"type": "text_tokens", "tokenizer": "{}"},
    }
    (tmp_path / CARD_FILE).write_text(json.dumps(content))
    with watched() as opened:
        with pytest.raises(ValidationError, match="names nothing outside"):
            Card.model_validate(content)
        for read in (read_card, load):
            with pytest.raises(UserError, match="names nothing outside"):
                read(UPath(tmp_path))
    assert led_out(opened) == []


@pytest.mark.parametrize(
    "featurizer",
    [
        {"type": "text_tokens", "tokenizer": "named"},
        {"type": "huggingface_embedding", "model": "named", "weights_sha256": "0" * 64},
    ],
    ids=["tokens", "embedding"],
)
def test_a_featurizer_that_names_a_model_or_a_file_is_not_used(featurizer, named):
    featurizer = {key: named if v == "named" else v for key, v in featurizer.items()}
    encoder = MLP if "model" in featurizer else TINY
    with watched() as opened:
        card = Card.model_validate(ABOUT | {"encoder": encoder, "featurizer": featurizer})
        with pytest.raises(UserError, match="is not opened"):
            self_contained(featurizers_of({"text": card}))
    assert led_out(opened) == []


def test_a_tokenizer_is_never_read_from_a_path_by_whoever_uses_it(named):
    featurizer = TextTokens(tokenizer=named)
    record = next(one for one in example_records() if "text" in one.parts)
    with watched() as opened, pytest.raises(UserError, match="is not opened here"):
        featurizer(record)
    assert led_out(opened) == []


def test_a_network_is_built_without_what_its_settings_name_on_the_hub():
    config = TINY["config"] | {
        "attn_implementation": "somebody/kernel",
        "_attn_implementation": "somebody/kernel",
        "auto_map": {"AutoModel": "somebody/code--code.Model"},
        "quantization_config": {"quant_method": "awq"},
    }
    with watched() as opened:
        module = HuggingFaceTextSettings(config=config).build(4)
    assert led_out(opened) == []
    assert "kernel" not in json.dumps(module.language_model.config.to_dict(), default=str)
