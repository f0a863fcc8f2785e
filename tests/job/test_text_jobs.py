"""What a job file may say of text."""

import importlib.util

import pytest
import yaml

from omnimat.base.errors import UserError
from omnimat.job.kinds.tokenizer import TokenizerJob
from omnimat.job.load import load

pytest.importorskip("tokenizers")

PRETRAIN = {
    "kind": "pretrain",
    "name": "words",
    "dataset": "mp408",
    "modalities": {"structure": {}, "text": {}},
    "objective": {"type": "all_pairs_clip"},
}


def job_file(tmp_path, values):
    path = tmp_path / "job.yaml"
    path.write_text(yaml.safe_dump(values))
    return path


def pretrain(tmp_path, text):
    modalities = PRETRAIN["modalities"] | {"text": text}
    return load(job_file(tmp_path, PRETRAIN | {"modalities": modalities})).settings


def test_the_defaults_stay(tmp_path):
    text = pretrain(tmp_path, {"encoder": {"preset": "tiny"}}).modalities.text
    assert (text.featurizer.type, text.encoder.type) == ("text_embedding", "text_mlp")
    assert text.encoder.hidden_widths == (64,)


def test_tokens_and_a_transformer(tmp_path):
    text = pretrain(
        tmp_path,
        {
            "featurizer": {"type": "text_tokens", "tokenizer": "words"},
            "encoder": {"type": "text_transformer", "preset": "tiny"},
        },
    ).modalities.text
    assert text.featurizer.max_tokens == text.encoder.max_tokens == 512


TOKENS = {"type": "text_tokens", "tokenizer": "words"}
MISTAKES = {
    "tokens to vectors": (
        {"featurizer": TOKENS},
        "text_mlp cannot read what text_tokens gives: "
        "set featurizer.type to text_embedding or huggingface_embedding",
    ),
    "vectors to tokens": (
        {"encoder": {"type": "text_transformer"}},
        "text_transformer cannot read what text_embedding gives: "
        "set featurizer.type to text_tokens",
    ),
    "too long": (
        {"featurizer": TOKENS, "encoder": {"type": "text_transformer", "max_tokens": 128}},
        "gives 512 tokens per text, the encoder takes 128: set featurizer.max_tokens to 128",
    ),
    "other width": (
        {"featurizer": {"width": 384}},
        "gives 384 numbers a text, the encoder takes 768: set encoder.input_width to 384",
    ),
    "no model": (
        {"featurizer": TOKENS, "encoder": {"type": "huggingface_text"}},
        "give model, a name on the Hugging Face hub or a folder",
    ),
}


@pytest.mark.parametrize(("text", "message"), MISTAKES.values(), ids=MISTAKES)
def test_what_does_not_go_together_is_said_in_a_sentence(tmp_path, text, message):
    with pytest.raises(UserError) as caught:
        pretrain(tmp_path, text)
    assert str(caught.value).startswith(f"{tmp_path / 'job.yaml'}: modalities.text")
    assert message in str(caught.value)


def test_a_missing_extra_is_named(tmp_path, monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(
        "omnimat.modalities.text.huggingface.find_spec",
        lambda name: None if name == "tokenizers" else found(name),
    )
    with pytest.raises(UserError, match=r"run: pip install 'omnimat\[text\]'"):
        pretrain(tmp_path, {"featurizer": TOKENS, "encoder": {"type": "text_transformer"}})
    assert pretrain(tmp_path, {}).modalities.text is not None


def test_a_tokenizer_job(tmp_path):
    values = {"kind": "tokenizer", "name": "words", "dataset": "mp408", "vocabulary_size": 1024}
    job = load(job_file(tmp_path, values))
    assert isinstance(job, TokenizerJob)
    with pytest.raises(UserError, match="unknown key 'vocab_size'; did you mean 'vocabulary_size'"):
        load(job_file(tmp_path, values | {"vocab_size": 5}))
