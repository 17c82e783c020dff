"""Encoders: a stream of features in, one token a clip out.

[B, T, D] → [B, H]; of clip b the first `lengths[b]` steps are real, the others zero. A clip of
length 0 may give anything finite: a learned token takes its place. Imports torch.
"""

from typing import Annotated, Any

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn
from torch.nn import functional as F

from meiju_utils.components import Rate
from meiju_utils.modelling.streams import padding


class LstmEncoder(nn.Module):
    """One-layer, one-directional LSTM and the maximum over time, as published.

    Padding is behind the last real step, where an LSTM that runs forward never sees it: it is only
    left out of the maximum. Packing sequences says the same and takes three times as long on CPUs
    (`benchmarks/joint_training.py --only parts`).
    """

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.rnn = nn.LSTM(width, hidden, batch_first=True)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        if x.shape[1] > 1:
            steps: Tensor = self.rnn(x)[0].masked_fill(padding(x, lengths), -torch.inf)
            # A clip without a step has no maximum.
            return steps.amax(dim=1).masked_fill((lengths == 0).unsqueeze(1), 0)
        # From the zero state the first step takes nothing of the recurrence but its bias.
        weight, _, bias, recurrent_bias = self.rnn.all_weights[0]
        gates = F.linear(x[:, 0], weight, bias + recurrent_bias)
        entry, _, candidate, output = gates.chunk(4, dim=1)
        return output.sigmoid() * (entry.sigmoid() * candidate.tanh()).tanh()


class TextCnn(nn.Module):
    """Convolutions over time with H filters of each height, ReLU, maximum, one linear layer.

    A text shorter than a kernel counts as padded with zeros to the kernel's height.
    Source: the published code; Kim 2014.
    """

    def __init__(
        self,
        width: int,
        hidden: int,
        *,
        heights: Annotated[tuple[PositiveInt, ...], Field(min_length=1)] = (2, 3, 4),
        dropout: Rate = 0.5,
    ) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(nn.Conv1d(width, hidden, height) for height in heights)
        self.dropout = nn.Dropout(dropout)
        self.project = nn.Linear(hidden * len(heights), hidden)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        highest = torch.cat([self._highest(x, lengths, c) for c in self.convolutions], dim=1)
        return F.relu(self.project(self.dropout(F.relu(highest))))

    def _highest(self, x: Tensor, lengths: Tensor, convolution: Any) -> Tensor:
        """The largest response of each filter over a clip's own windows: [B, H]."""
        height = convolution.kernel_size[0]
        if x.shape[1] == 1:  # only a kernel's first row meets a step
            return F.linear(x[:, 0], convolution.weight[:, :, 0], convolution.bias)
        padded = F.pad(x, (0, 0, 0, max(0, height - x.shape[1])))
        windows: Tensor = convolution(padded.transpose(1, 2))  # [B, H, windows]
        # A text of n steps has n - height + 1 windows, and always one.
        last = (lengths - height).clamp(min=0).unsqueeze(1)
        beyond = torch.arange(windows.shape[2], device=x.device) > last
        return windows.masked_fill(beyond.unsqueeze(1), -torch.inf).amax(dim=2)
