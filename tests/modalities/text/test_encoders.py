"""Encoders of tokens; the language models are random BERTs with a few thousand parameters."""

import re
import shutil

import pytest
import torch
from upath import UPath

from omnimat.base.errors import UserError
from omnimat.modalities.text.huggingface_encoder import HuggingFaceTextSettings
from omnimat.modalities.text.huggingface_encoder_network import HuggingFaceText
from omnimat.modalities.text.transformer import TextTransformerSettings
from omnimat.models.export import Card, load, save

transformers = pytest.importorskip("transformers")

LENGTHS = [5, 1, 9]


@pytest.fixture(scope="module")
def bert(tmp_path_factory, save_bert):
    sizes = {"vocab_size": 50, "num_hidden_layers": 2, "max_position_embeddings": 32}
    return save_bert(tmp_path_factory.mktemp("bert"), **sizes)


@pytest.fixture(params=["text_transformer", "mean", "random_bert", "bert"])
def encoder(request, bert):
    settings = {
        "text_transformer": TextTransformerSettings(preset="tiny"),
        "mean": TextTransformerSettings(preset="tiny", pooling="mean"),
        "random_bert": HuggingFaceTextSettings(preset="tiny", pooling="mean"),
        "bert": HuggingFaceTextSettings(model=str(bert)),
    }[request.param]
    return settings.build(12)


def texts(lengths, seed=0):
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(1, 50, (sum(lengths),), generator=generator, dtype=torch.int32)
    return {"token_ids": ids, "num_tokens": torch.tensor(lengths, dtype=torch.int64)}


def test_texts_are_embedded_like_each_alone(encoder):
    encoder.double().eval()
    arrays = texts(LENGTHS)
    together = encoder(arrays)
    assert together.shape == (3, 12)
    for row, ids in enumerate(arrays["token_ids"].split(LENGTHS)):
        alone = encoder({"token_ids": ids, "num_tokens": torch.tensor([len(ids)])})
        torch.testing.assert_close(alone[0], together[row])
    with torch.no_grad():  # torch uses another kernel in this case
        torch.testing.assert_close(encoder(arrays), together)


def test_order_of_tokens_matters_and_inputs_are_left_alone(encoder):
    encoder.eval()
    arrays = texts([6])
    flipped = arrays | {"token_ids": arrays["token_ids"].flip(0)}
    assert float((encoder(arrays) - encoder(flipped)).detach().abs().max()) > 1e-4
    torch.testing.assert_close(arrays, texts([6]), rtol=0, atol=0)


def test_the_pretrained_weights_are_used(bert):
    encoder = HuggingFaceTextSettings(model=str(bert)).build(4).eval()
    reference = transformers.BertModel.from_pretrained(bert, add_pooling_layer=False).eval()
    arrays = texts([5])
    states = reference(input_ids=arrays["token_ids"][None].long()).last_hidden_state
    torch.testing.assert_close(encoder(arrays), encoder.head(states[:, 0]))


def test_a_frozen_model_trains_its_head_alone(bert):
    encoder = HuggingFaceTextSettings(model=str(bert), frozen=True).build(4).train()
    torch.testing.assert_close(encoder(texts(LENGTHS)), encoder(texts(LENGTHS)))  # no dropout
    encoder(texts(LENGTHS)).sum().backward()
    learning = {name for name, p in encoder.named_parameters() if p.grad is not None}
    assert learning == {"head.weight", "head.bias"}
    assert {n for n, p in encoder.named_parameters() if p.requires_grad} == learning


def test_an_export_needs_no_model_folder(bert, tmp_path):
    copy = shutil.copytree(bert, tmp_path / "bert")
    card = Card(
        modality="text",
        encoder=HuggingFaceTextSettings(model=str(copy)).exported(),
        featurizer={"type": "text_tokens", "tokenizer": "{}"},
        embedding_dim=4,
        parent_run="run",
        config_hash="0",
        dataset_fingerprint="0",
        samples_seen=1,
    )
    encoder = HuggingFaceTextSettings(model=str(copy)).build(4)
    save(UPath(tmp_path / "export"), encoder, card)
    shutil.rmtree(copy)
    loaded, loaded_card = load(UPath(tmp_path / "export"))
    assert loaded_card == card
    assert loaded_card.encoder.model is None
    assert isinstance(loaded, HuggingFaceText)
    arrays = texts(LENGTHS)
    torch.testing.assert_close(loaded(arrays), encoder.eval()(arrays), rtol=0, atol=0)


def test_pickled_weights_and_missing_ones_are_refused(bert, tmp_path):
    pickled = shutil.copytree(bert, tmp_path / "pickled")
    (pickled / "model.safetensors").unlink()
    torch.save({}, pickled / "pytorch_model.bin")
    with pytest.raises(UserError, match="safetensors"):
        HuggingFaceTextSettings(model=str(pickled)).build(4)
    deeper = shutil.copytree(bert, tmp_path / "deeper")
    config = (deeper / "config.json").read_text()
    (deeper / "config.json").write_text(
        config.replace('"num_hidden_layers": 2', '"num_hidden_layers": 3')
    )
    with pytest.raises(UserError, match=r"encoder\.layer\.2"):
        HuggingFaceTextSettings(model=str(deeper)).build(4)


def test_code_in_a_model_folder_is_never_run(bert, tmp_path):
    folder = shutil.copytree(bert, tmp_path / "bert")
    config = (folder / "config.json").read_text().replace('"bert"', '"of_its_own"')
    config = config.replace("{", '{"auto_map": {"AutoConfig": "code.C", "AutoModel": "code.M"},', 1)
    (folder / "config.json").write_text(config)
    (folder / "code.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    with pytest.raises(UserError, match=re.escape(str(folder))):
        HuggingFaceTextSettings(model=str(folder)).build(4)
    assert not (tmp_path / "ran").exists()


def test_a_row_a_text_equals_texts_one_after_another(encoder):
    encoder.double().eval()
    arrays = texts(LENGTHS)
    rows = torch.full((3, max(LENGTHS)), 7, dtype=torch.int32)  # beyond the ends, anything
    for row, ids in zip(rows, arrays["token_ids"].split(LENGTHS), strict=True):
        row[: len(ids)] = ids
    torch.testing.assert_close(
        encoder(arrays | {"token_ids": rows}), encoder(arrays), rtol=0, atol=0
    )
