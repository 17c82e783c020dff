"""Interaction: what a task's tokens [B, M, H] take from the other's [B, M, H']. Imports torch."""

from torch import Tensor, nn


class GatedInteraction(nn.Module):
    """Q + B ⊙ σ(A + B), A the attention of Q over the other's tokens, B of Q over A (published)."""

    def __init__(self, hidden: int, other_hidden: int) -> None:
        super().__init__()
        self.inter_attention = nn.MultiheadAttention(
            hidden, 1, kdim=other_hidden, vdim=other_hidden, batch_first=True
        )
        self.hence_attention = nn.MultiheadAttention(hidden, 1, batch_first=True)
        self.gate = nn.Sigmoid()

    def forward(self, own: Tensor, other: Tensor) -> Tensor:
        first, _ = self.inter_attention(own, other, other, need_weights=False)
        second, _ = self.hence_attention(own, first, first, need_weights=False)
        gated: Tensor = second * self.gate(first + second)
        return own + gated
