"""Stores a trained encoder as ``model.safetensors`` and ``card.json``, without a pickle."""

from __future__ import annotations

import functools
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import ValidationError, field_validator
from safetensors import SafetensorError
from upath import UPath

from omnimat.base.checked_json import read_checked_json, write_checked_json
from omnimat.base.errors import RunError, UserError
from omnimat.base.files import read_file
from omnimat.base.registry import OneOf
from omnimat.base.settings import Settings
from omnimat.base.stored_file import StoredFile
from omnimat.modalities.encoder import EncoderSettings
from omnimat.modalities.registry import ModalityName, all_encoder_classes

if TYPE_CHECKING:
    from torch import nn

WEIGHTS_FILE = "model.safetensors"
CARD_FILE = "card.json"


_WEIGHTS = "weights"
_REMEDY = "restore the export from a copy, or pretrain the run again"


class Card(Settings):
    """What is needed to use an exported encoder and to know where it comes from.

    Attributes:
        modality: modality that it encodes.
        encoder: settings that rebuild the module (``EncoderSettings.exported``).
        featurizer: settings of the featurizer on whose arrays it was trained.
        embedding_dim: width of its output.
        projected: whether the encoder ends in a projector, whose output is the embedding.
        parent_run: name of the run that trained it.
        config_hash: hash of that run's resolved job.
        dataset_fingerprint: fingerprint of the data set on which it was trained.
        samples_seen: how many materials were drawn in training, counting repetitions.
    """

    modality: ModalityName
    encoder: Annotated[EncoderSettings, OneOf(all_encoder_classes())]
    featurizer: dict[str, Any]
    embedding_dim: int
    projected: bool = False
    parent_run: str
    config_hash: str
    dataset_fingerprint: str
    samples_seen: int

    @field_validator("encoder")
    @classmethod
    def _needs_no_other_file(cls, encoder: EncoderSettings) -> EncoderSettings:
        """Refuse what leads elsewhere: whoever wrote a card must not choose what is opened."""
        if encoder.outside is not None:
            raise ValueError(f"it names {encoder.outside!r}, but a card names nothing outside it")
        return encoder

    def build(self) -> nn.Module:
        """Build the encoder as it was before training, with random weights."""
        from omnimat.nn.projector import ProjectedEncoder

        encoder = self.encoder.build(self.embedding_dim)
        return ProjectedEncoder(encoder, self.embedding_dim) if self.projected else encoder


def save(directory: UPath, module: nn.Module, card: Card) -> None:
    """Write a module that ``card.build`` built to ``directory``, and the card after it.

    The file of the card also holds the hash and the size of the weights.
    """
    from safetensors.torch import save as save_tensors

    state = {k: v.detach().cpu().contiguous() for k, v in module.state_dict().items()}
    data = save_tensors(state)
    directory.mkdir(parents=True, exist_ok=True)
    (directory / WEIGHTS_FILE).write_bytes(data)
    content = card.model_dump(mode="json") | {_WEIGHTS: StoredFile.of(data).model_dump()}
    write_checked_json(directory / CARD_FILE, content)


def load(directory: UPath) -> tuple[nn.Module, Card]:
    """Rebuild an exported encoder in evaluation mode on the CPU.

    The weights are read once. The network that the card describes is compared with them before it
    is built.

    Raises:
        UserError: the directory does not hold an export that this version can read, its weights are
            not those that were written, or they do not fit the card.
        RunError: the storage did not answer.
    """
    from safetensors.torch import load as load_tensors

    from omnimat.models.header import filled

    path = directory / WEIGHTS_FILE
    with _readable(directory):
        card, weights = _read(directory)
        data = read_file(path)
        if weights is None:
            _say_unchecked(str(path))
        elif weights != StoredFile.of(data):
            raise UserError(f"{path} was changed after it was written (sha256): {_REMEDY}")
        module = filled(card.build, load_tensors(data))
    return module.eval(), card


def read_card(directory: UPath) -> Card:
    """Read the card of an exported encoder.

    Raises:
        UserError: the directory does not hold an export that this version can read.
        RunError: the storage did not answer.
    """
    with _readable(directory):
        return _read(directory)[0]


def _read(directory: UPath) -> tuple[Card, StoredFile | None]:
    """Read a card and what it says of its weights, which a card of an older omnimat does not."""
    content = read_checked_json(directory / CARD_FILE, _REMEDY)
    weights = content.pop(_WEIGHTS, None)
    card = Card.model_validate(content)
    return card, None if weights is None else StoredFile.model_validate(weights)


@functools.cache
def _say_unchecked(path: str) -> None:
    print(
        f"{path} is not checked: an older omnimat wrote its card, which holds no hash",
        file=sys.stderr,
        flush=True,
    )


@contextmanager
def _readable(directory: UPath) -> Iterator[None]:
    """Raise an error that says in one sentence why an export cannot be read."""
    try:
        yield
    except FileNotFoundError as error:
        raise UserError(
            f"{directory} holds no exported encoder ({WEIGHTS_FILE} and {CARD_FILE}); "
            "give the folder of one modality inside a run's export/"
        ) from error
    except (UserError, RunError):
        raise
    except (ValidationError, SafetensorError, RuntimeError, ValueError, TypeError) as error:
        reason = " ".join(str(error).split())
        raise UserError(
            f"{directory} holds an encoder that this version cannot read: {reason}; {_REMEDY}"
        ) from error
