"""Stores a trained encoder as ``model.safetensors`` and ``card.json``, without a pickle."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

from pydantic import ValidationError, field_validator
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import nn
from upath import UPath

from omnimat.base.errors import UserError
from omnimat.base.registry import OneOf
from omnimat.base.settings import Settings
from omnimat.modalities.encoder import EncoderSettings
from omnimat.modalities.registry import ModalityName, all_encoder_classes
from omnimat.nn.projector import ProjectedEncoder

WEIGHTS_FILE = "model.safetensors"
CARD_FILE = "card.json"


class Card(Settings):
    """What is needed to use an exported encoder and to know where it comes from.

    Attributes:
        modality: modality that it encodes.
        encoder: settings that rebuild the module.
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
        """Keep the shape of a language model instead of the path of its original weights."""
        return encoder.exported()

    def build(self) -> nn.Module:
        """Build the encoder as it was before training, with random weights."""
        encoder = self.encoder.build(self.embedding_dim)
        return ProjectedEncoder(encoder, self.embedding_dim) if self.projected else encoder


def save(directory: UPath, module: nn.Module, card: Card) -> None:
    """Write a module that ``card.build`` built to ``directory``, and the card after it."""
    directory.mkdir(parents=True, exist_ok=True)
    state = {k: v.detach().cpu().contiguous() for k, v in module.state_dict().items()}
    (directory / WEIGHTS_FILE).write_bytes(save_tensors(state))
    (directory / CARD_FILE).write_text(card.model_dump_json(indent=2))


def load(directory: UPath) -> tuple[nn.Module, Card]:
    """Rebuild an exported encoder in evaluation mode on the CPU.

    Raises:
        UserError: the directory does not hold an export that this version can read.
    """
    card = read_card(directory)
    with _readable(directory):
        state = load_tensors((directory / WEIGHTS_FILE).read_bytes())
        module = card.build()
        module.load_state_dict(state)
    return module.eval(), card


def read_card(directory: UPath) -> Card:
    """Read the card of an exported encoder.

    Raises:
        UserError: the directory does not hold an export that this version can read.
    """
    with _readable(directory):
        return Card.model_validate_json((directory / CARD_FILE).read_text())


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
    except (ValidationError, SafetensorError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise UserError(
            f"{directory} holds an encoder that this version cannot read: {reason}"
        ) from error
