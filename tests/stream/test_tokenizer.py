"""From the descriptions of mp408 to a language model that learns, without a hub."""

import json

import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from upath import UPath

from omnimat.base.errors import UserError
from omnimat.base.workspace import Workspace
from omnimat.modalities.batch import collate
from omnimat.modalities.choices import ModalityChoices
from omnimat.modalities.tensors import ModalityTensors
from omnimat.modalities.text.embedding import TextEmbedding
from omnimat.modalities.text.tokenizer import read_fitted
from omnimat.modalities.text.tokens import TextTokens
from omnimat.shards.manifest import Manifest
from omnimat.sources.settings import IngestSettings
from omnimat.sources.tables.source import Table
from omnimat.stream.source import Source
from omnimat.stream.tokenizer import TokenizerFitSettings, fit_on_dataset
from omnimat.stream.unit import take
from omnimat.testing.materials import no_records

pytest.importorskip("tokenizers")


@pytest.fixture(scope="module")
def workspace(shared_data, tmp_path_factory, write_dataset) -> Workspace:
    """The first 128 records of mp408, ingested without Ray."""
    workspace = Workspace(UPath(tmp_path_factory.mktemp("storage")))
    path = str(shared_data / "mp408" / "mp408.parquet")
    source = Table(mapping="multimodal", path=path, max_records=128)
    write_dataset(workspace, "mp408", IngestSettings(source=source, records_per_shard=64))
    return workspace


@pytest.fixture(scope="module")
def fitted(workspace) -> UPath:
    settings = TokenizerFitSettings(dataset="mp408", vocabulary_size=1024)
    return fit_on_dataset(settings, "words", workspace)


def test_the_training_split_is_what_counts(workspace, fitted):
    card = json.loads(fitted.with_name("tokenizer-card.json").read_text())
    dataset = workspace.dataset("mp408")
    manifest = Manifest.load(dataset)
    records = manifest.records(dataset)
    assert card["num_texts"] == ((records["split"] == "train") & records["has_text"]).sum()
    assert card["dataset_fingerprint"] == manifest.dataset_fingerprint
    assert 300 < card["num_tokens"] <= 1024


def test_fitting_again_is_refused_or_left_alone(workspace, fitted):
    written_ns = fitted.stat().st_mtime_ns
    same = TokenizerFitSettings(dataset="mp408", vocabulary_size=1024)
    assert fit_on_dataset(same, "words", workspace) == fitted
    assert fitted.stat().st_mtime_ns == written_ns
    other = TokenizerFitSettings(dataset="mp408", vocabulary_size=512)
    with pytest.raises(UserError, match="fitted under other settings"):
        fit_on_dataset(other, "words", workspace)
    assert fit_on_dataset(same, "again", workspace).read_bytes() == fitted.read_bytes()


def test_a_tiny_transformer_learns_from_the_tokens(workspace, fitted):
    """Descriptions are matched with the stored MatBERT vectors of the same materials."""
    choices = ModalityChoices.model_validate(
        {
            "text": {
                "featurizer": {"type": "text_tokens", "tokenizer": "words", "max_tokens": 64},
                "encoder": {"type": "text_transformer", "preset": "tiny"},
            }
        }
    ).located(workspace, no_records)
    tokens = choices.featurizers()["text"]
    assert isinstance(tokens, TextTokens)
    assert tokens.tokenizer == fitted.read_text()
    batch, targets = (
        ModalityTensors.from_numpy(training_batch(workspace, featurizer))
        for featurizer in (tokens, TextEmbedding())
    )
    assert int(batch.arrays["token_ids"].max()) < tokens.vocabulary_size
    torch.manual_seed(0)
    encoder = choices.chosen()["text"].encoder.build(16)
    head = torch.nn.Sequential(torch.nn.LayerNorm(768), torch.nn.Linear(768, 16))
    optimizer = torch.optim.AdamW([*encoder.parameters(), *head.parameters()], lr=1e-3)
    losses = []
    for _ in range(40):
        text = F.normalize(encoder(batch.arrays), dim=1)
        target = F.normalize(head(targets.arrays["embedding"]), dim=1)
        loss = F.cross_entropy(text @ target.T / 0.1, torch.arange(len(text)))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    # Guessing among 48 materials costs log 48 = 3.87; 3.23 was seen.
    assert losses[-1] < 3.5 < losses[0]


def training_batch(workspace: Workspace, featurizer: TextTokens | TextEmbedding):
    dataset = workspace.dataset("mp408")
    records: pd.DataFrame = Manifest.load(dataset).records(dataset)
    with_both = records["has_text"] & records["has_text_embedding"]
    train = records.index[(records["split"] == "train") & with_both][:48].to_numpy()
    source = Source(dataset, None, {"text": featurizer})
    table = source.features(take(records, train))
    return collate(table, {"text": featurizer}).modalities["text"]


@pytest.mark.parametrize("name", ["tokenizer.json", "tokenizer-card.json"])
def test_a_damaged_tokenizer_is_named(name, fitted):
    path = fitted.with_name(name)
    whole = path.read_bytes()
    for data in (whole[:-9], whole[: len(whole) // 2] + b"?" + whole[len(whole) // 2 + 1 :]):
        path.write_bytes(data)
        with pytest.raises(UserError, match=rf"{fitted.parent}.*fit the tokenizer again"):
            read_fitted(fitted)
    path.unlink()
    with pytest.raises(UserError, match=rf"{fitted.parent} lacks .*{name}.*fit the"):
        read_fitted(fitted)
    path.write_bytes(whole)
    assert read_fitted(fitted) == fitted.read_text()
