import numpy as np
import pytest
import torch
from upath import UPath

from omnimat.base.errors import UserError
from omnimat.base.workspace import Workspace
from omnimat.modalities.text.huggingface_embedding import HuggingFaceEmbedding
from omnimat.modalities.text.tokenizer import TokenizerSettings, fit_tokenizer
from omnimat.modalities.text.tokens import TextTokens
from omnimat.testing.materials import no_records
from omnimat.testing.sent import sent

transformers = pytest.importorskip("transformers")

TEXT = "NaCl is Halite, Rock Salt structured and crystallizes in the cubic Fm-3m space group."


@pytest.fixture
def bert(tmp_path, save_bert):
    """A random BERT with a fitted tokenizer."""
    folder = save_bert(tmp_path / "bert", vocab_size=300)
    tokenizer = fit_tokenizer([TEXT], TokenizerSettings(vocabulary_size=300))
    (folder / "tokenizer.json").write_text(tokenizer)
    return folder


@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_it_is_the_pooled_last_layer(bert, pooling, record_of, nacl, tmp_path):
    record = record_of(nacl, text=TEXT)
    asked = HuggingFaceEmbedding(model=str(bert), pooling=pooling, width=16)
    featurizer = sent(asked.located(Workspace(UPath(tmp_path)), no_records))
    assert featurizer.weights_sha256 is not None
    model = transformers.BertModel.from_pretrained(bert).eval()
    ids = TextTokens(tokenizer=(bert / "tokenizer.json").read_text())(record)["token_ids"]
    with torch.no_grad():
        states = model(torch.from_numpy(ids)[None].long()).last_hidden_state[0].numpy()
    expected = states[0] if pooling == "cls" else states.mean(axis=0)
    found = featurizer(record)["embedding"]
    assert (found.shape, found.dtype) == ((16,), np.float32)
    # float32 sums of some 20 terms of size one, in another order.
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert featurizer(record_of(nacl)) is None


def test_other_weights_and_other_widths_are_refused(bert, record_of, nacl, tmp_path):
    workspace = Workspace(UPath(tmp_path))
    with pytest.raises(UserError, match="write width: 16"):
        HuggingFaceEmbedding(model=str(bert)).located(workspace, no_records)
    located = HuggingFaceEmbedding(model=str(bert), width=16).located(workspace, no_records)
    config = transformers.BertConfig.from_pretrained(bert)
    transformers.BertModel(config).save_pretrained(bert)
    with pytest.raises(UserError, match="not those"):
        located(record_of(nacl, text=TEXT))
    with pytest.raises(UserError, match="not those"):
        located.located(workspace, no_records)
