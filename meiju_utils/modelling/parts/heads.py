"""Heads: from a task's tokens [B, M, H] to the logits of its classes [B, C]. Imports torch."""

from torch import Tensor, nn

from meiju_utils.components import Rate


class MlpHead(nn.Module):
    """All tokens side by side, two hidden layers of H and H/2 units, as published."""

    def __init__(self, tokens: int, hidden: int, classes: int, *, dropout: Rate = 0.2) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *(nn.Flatten(), nn.Linear(tokens * hidden, hidden), nn.ReLU(), nn.Dropout(dropout)),
            *(nn.Linear(hidden, hidden // 2), nn.ReLU(), nn.Dropout(dropout)),
            nn.Linear(hidden // 2, classes),
        )

    def forward(self, tokens: Tensor) -> Tensor:
        logits: Tensor = self.layers(tokens)
        return logits
