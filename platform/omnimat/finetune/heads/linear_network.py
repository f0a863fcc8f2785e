"""One linear layer on the embeddings of all modalities side by side, zero where missing."""

from __future__ import annotations

from torch import Tensor, nn

from omnimat.finetune.heads.tokens import Tokens


class Linear(nn.Module):
    """The linear head."""

    def __init__(self, num_inputs: int, num_outputs: int) -> None:
        super().__init__()
        self.linear = nn.Linear(num_inputs, num_outputs)

    def forward(self, tokens: Tokens) -> Tensor:
        """Map the tokens of n materials to (n, num_outputs)."""
        outputs: Tensor = self.linear((tokens.values * tokens.present[..., None]).flatten(1))
        return outputs
