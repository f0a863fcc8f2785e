"""Sizes that suit a number of records, so that a first result is a matter of minutes."""

from __future__ import annotations

from dataclasses import dataclass

MOST_FOR_TINY = 20_000
"""Training records up to which the small encoders are taken."""
MOST_ATOMS_FOR_SUMS = 60
"""Atoms of a cell up to which every pair of atoms is an edge of the graph."""

_PRETRAINED = 9_600  # records that pretraining goes through, unless they are too few or too many
_FINETUNED = 6_400


@dataclass(frozen=True, slots=True)
class Sizes:
    """How long and in what batches a network is trained.

    Attributes:
        num_epochs: how often it goes through the training records.
        batch_size: how many records a step takes.
    """

    num_epochs: int
    batch_size: int


def pretrain_sizes(num_train: int) -> Sizes:
    """Choose 10 to 60 epochs, and four batches or more of 2 to 256 records, a power of two."""
    fitting = max(2, 1 << max(1, num_train // 4).bit_length() - 1)
    return Sizes(_between(10, _PRETRAINED // max(1, num_train), 60), min(256, fitting))


def finetune_sizes(num_train: int) -> Sizes:
    """Choose 5 to 30 epochs of batches of 32 to 128 records; few records give smaller ones."""
    batch_size = 128 if num_train > 10_000 else 64 if num_train > 1_000 else 32
    fitting = max(2, num_train // 4)
    return Sizes(_between(5, _FINETUNED // max(1, num_train), 30), min(batch_size, fitting))


def preset(num_train: int) -> str:
    """Choose the size of the encoders."""
    return "tiny" if num_train <= MOST_FOR_TINY else "paper"


def _between(least: int, number: int, most: int) -> int:
    return max(least, min(number, most))
