"""Finds language models of the Hugging Face hub as folders of data on this machine.

Only a model's JSON, vocabulary and safetensors files are downloaded, so no code of a model is ever
run or unpickled. The packages belong to the extra ``text``, so they are imported where they are
used.
"""

from __future__ import annotations

import hashlib
import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from omnimat.base.errors import UserError
from omnimat.base.paths import expanded_path

_FILES = ("*.json", "*.txt", "*.model", "*.safetensors")
_BLOCK_BYTES = 2**24


def require_text_extra() -> None:
    """Check that the optional packages for language models and their tokenizers are installed.

    Raises:
        UserError: one of them is not installed.
    """
    for package in ("tokenizers", "transformers"):
        if find_spec(package) is None:
            raise UserError(f"{package} is not installed; run: pip install 'omnimat[text]'")


def model_folder(model: str, key: str) -> Path:
    """Find a model's local folder, which holds a ``config.json``, or download it from the hub.

    Args:
        model: path of a folder (``$NAME`` and ``~`` are expanded), or a name on the hub.
        key: key of the job file that names the model, for messages.

    Raises:
        UserError: there is no such folder, and the hub does not provide such a model.
    """
    local = Path(expanded_path(model, key).path)
    if (local / "config.json").is_file():
        return local
    require_text_extra()
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(model, allow_patterns=list(_FILES)))
    except (OSError, ValueError) as error:
        reason = str(error).strip().split("\n")[0]
        raise UserError(
            f"{key}: {model} is no folder of a Hugging Face model, and the hub does not give it "
            f"({reason}); give the path of your copy"
        ) from error


def model_config(model: str, key: str) -> dict[str, Any]:
    """Read a model's ``config.json``."""
    config: dict[str, Any] = json.loads((model_folder(model, key) / "config.json").read_text())
    return config


def weights_sha256(model: str, key: str) -> str:
    """Return the SHA-256 hash of a model's weights.

    Raises:
        UserError: the model has no weights in the safetensors format; pickled ones are refused.
    """
    folder = model_folder(model, key)
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise UserError(
            f"{key}: {folder} holds no *.safetensors, and pickled weights are never loaded; "
            "convert them with save_pretrained of transformers"
        )
    digest = hashlib.sha256()
    for path in files:
        with path.open("rb") as file:
            while block := file.read(_BLOCK_BYTES):
                digest.update(block)
    return digest.hexdigest()


def tokenizer_json(model: str, key: str) -> str:
    """Return a model's fast tokenizer in the JSON format of the ``tokenizers`` package.

    Raises:
        UserError: the model has no tokenizer that can be converted to a fast one.
    """
    folder = model_folder(model, key)
    if (folder / "tokenizer.json").is_file():
        return (folder / "tokenizer.json").read_text()
    require_text_extra()
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        )
        text: str = tokenizer.backend_tokenizer.to_str()
    except (OSError, ValueError, AttributeError) as error:
        raise UserError(f"{key}: {folder} holds no tokenizer of a known kind") from error
    return text
