"""The settings of an MLP for frozen sentence embeddings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

from pydantic import PositiveInt

from omnimat.modalities.encoder import EncoderSettings
from omnimat.modalities.layout import Featurizer
from omnimat.modalities.text.embedding import TextEmbedding
from omnimat.modalities.text.huggingface_embedding import HuggingFaceEmbedding


class TextMlpSettings(EncoderSettings):
    """Settings of the text MLP; the paper preset with 128 outputs has 722,048 parameters.

    ``input_norm`` puts a layer norm before the first layer, for sentence encoders whose vectors
    vary greatly in length.

    Attributes:
        input_width: number of numbers of a text, which is that of the featurizer.
        hidden_widths: widths of the hidden layers.
        input_norm: whether a layer norm comes first.
    """

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": {},
        "tiny": {"hidden_widths": (64,)},
    }
    network: ClassVar[str] = "omnimat.modalities.text.mlp_network:TextMlp"
    type: Literal["text_mlp"] = "text_mlp"
    input_width: PositiveInt = 768
    hidden_widths: tuple[PositiveInt, ...] = (512, 512)
    input_norm: bool = False

    def fitted_to(self, featurizer: Featurizer) -> Self:
        """Insist on vectors of the input's width.

        Raises:
            ValueError: the featurizer gives tokens, or vectors of another width.
        """
        if not isinstance(featurizer, TextEmbedding | HuggingFaceEmbedding):
            raise ValueError(
                f"the encoder {self.type} cannot read what {featurizer.type} gives: set "
                "featurizer.type to text_embedding or huggingface_embedding"
            )
        if featurizer.width != self.input_width:
            raise ValueError(
                f"the featurizer gives {featurizer.width} numbers a text, the encoder takes "
                f"{self.input_width}: set encoder.input_width to {featurizer.width}"
            )
        return self
