"""Fitting a tokenizer on the descriptions of a data set's training split."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from upath import UPath

from omnimat.base.checked_json import read_checked_json, write_checked_json
from omnimat.base.errors import UserError
from omnimat.base.files import write_atomically
from omnimat.base.lease import Lease
from omnimat.base.workspace import Workspace
from omnimat.modalities.text.tokenizer import (
    CARD_FILE,
    TokenizerSettings,
    fit_tokenizer,
    read_fitted,
)
from omnimat.shards.manifest import Manifest
from omnimat.stream.training_records import training_records


class TokenizerFitSettings(TokenizerSettings):
    """What to fit on, and how.

    Attributes:
        dataset: name of an ingested data set; its training split is read.
    """

    dataset: str


def fit_on_dataset(settings: TokenizerFitSettings, name: str, workspace: Workspace) -> UPath:
    """Fit the tokenizer ``name``, unless that is done.

    Returns:
        Its JSON file; beside it lies a card that says what it was fitted on.

    Raises:
        UserError: another tokenizer has this name, another process is fitting it, or no training
            record has a text.
    """
    dataset = workspace.dataset(settings.dataset)
    manifest = Manifest.load(dataset)
    path = workspace.tokenizer(name)
    asked = {
        "fingerprint": settings.fingerprint(),
        "dataset_fingerprint": manifest.dataset_fingerprint,
    }
    if not path.exists():
        with Lease.acquire(path.parent, f"tokenizer {name}") as lease:
            if not path.exists():  # while this process waited
                _fit(settings, dataset, path, asked, lease)
                return path
    _check_same(path, asked)
    return path


def _fit(
    settings: TokenizerFitSettings,
    dataset: UPath,
    path: UPath,
    asked: Mapping[str, Any],
    lease: Lease,
) -> None:
    texts = [r.parts["text"] for r in training_records(dataset, ("text",)) if "text" in r.parts]
    if not texts:
        raise UserError(
            f"dataset: no training record of data set {settings.dataset!r} has a text; "
            "ingest it with missing_text, or from a source that has texts"
        )
    tokenizer = fit_tokenizer(texts, settings)
    card = {
        **asked,
        "settings": settings.model_dump(mode="json"),
        "num_texts": len(texts),
        "num_tokens": len(json.loads(tokenizer)["model"]["vocab"]),
        "sha256": hashlib.sha256(tokenizer.encode()).hexdigest(),
    }
    lease.check()
    write_checked_json(path.with_name(CARD_FILE), card)
    write_atomically(path, tokenizer.encode())


def _check_same(path: UPath, asked: Mapping[str, Any]) -> None:
    read_fitted(path)
    card = read_checked_json(path.with_name(CARD_FILE), f"delete {path.parent}")
    if asked != {key: card.get(key) for key in asked}:
        raise UserError(
            f"name: tokenizer {path.parent.name!r} was fitted under other settings or on another "
            f"data set; choose another name or delete {path.parent}"
        )
    print(f"{path.parent.name}: finished, nothing to do ({path.parent})", flush=True)
