"""Fusion: a task's tokens look at each other. [B, M, H] → [B, M, H]. Imports torch."""

from pydantic import PositiveInt
from torch import Tensor, nn

from meiju_utils.components import Rate
from meiju_utils.errors import TrainingError


class TransformerFusion(nn.Module):
    """One post-norm Transformer encoder layer without positions, as published."""

    def __init__(
        self,
        hidden: int,
        *,
        heads: PositiveInt = 2,
        feed_forward: PositiveInt = 2048,
        dropout: Rate = 0.1,
    ) -> None:
        super().__init__()
        if hidden % heads:
            raise TrainingError(f"{heads} fusion heads do not divide {hidden} hidden units.")
        self.layer = nn.TransformerEncoderLayer(
            hidden, heads, feed_forward, dropout, batch_first=True
        )

    def forward(self, tokens: Tensor) -> Tensor:
        fused: Tensor = self.layer(tokens)
        return fused
