"""What a head is, and the registry of heads."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from omnimat.base.registry import Registry
from omnimat.base.settings import Settings

if TYPE_CHECKING:
    from torch import nn


class HeadSettings(Settings):
    """The settings of a head; a package that adds a head derives from this class.

    Attributes:
        takes_several: whether the head takes several modalities.
        type: the name of the head in a job file, which a head makes a literal.
    """

    takes_several: ClassVar[bool] = True
    type: str

    @abstractmethod
    def build(self, modalities: Sequence[str], embedding_dim: int, num_outputs: int) -> nn.Module:
        """Build a module that maps the ``Tokens`` of n materials to (n, num_outputs).

        Args:
            modalities: the modalities, in the order of the tokens.
            embedding_dim: the width of each token.
            num_outputs: how many numbers the head gives for a material.
        """


HEADS: Registry[type[HeadSettings]] = Registry(
    "omnimat.heads",
    {
        "mlp": "omnimat.finetune.heads.mlp:MlpSettings",
        "linear": "omnimat.finetune.heads.linear:LinearSettings",
        "concat": "omnimat.finetune.heads.concat:ConcatSettings",
        "gated": "omnimat.finetune.heads.gated:GatedSettings",
        "attention": "omnimat.finetune.heads.attention:AttentionSettings",
    },
)
