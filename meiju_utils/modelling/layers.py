"""The parts of the joint network, each for both tasks at once.

Emotion and intent have the same layers with weights of their own. They stand side by side in a
first dimension G = 2 of parameters and activations, so one batched matrix product serves both: a
network this small spends a third of its time on calls otherwise. Encoders get the real steps alone,
[n, D] of clip after clip, and where they stand, `valid` [B, T] (bool); None is one step of every
clip. Shapes: G tasks, B clips, T steps, D features, M modalities, H hidden units.
Imports torch and `recurrence`.
"""

import math
from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from meiju_utils.modelling.recurrence import Recurrence

G = 2  # tasks: emotion, intent


class Dropout(nn.Module):
    """Dropout; on the CPU its mask comes from 16-bit draws, three times as fast as torch's own.

    The rate is then a multiple of 2⁻¹⁶: 0.1 is 0.09999.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.rate == 0:
            return x
        if x.device.type != "cpu":
            return F.dropout(x, self.rate)
        draws = torch.empty(-(-x.numel() // 4), dtype=torch.int64).random_(-(2**63), None)
        levels = draws.view(torch.int16)[: x.numel()].view(x.shape)
        kept = levels >= round(self.rate * 2**16) - 2**15
        return x * kept.to(x.dtype).mul_(1 / (1 - self.rate))


class TaskLinear(nn.Module):
    """A linear layer for each task: [G, ..., in] → [G, ..., out], weights [G, in, out].

    Torch's own layers hold [out, in]; this way round gradients come out of the batched product as
    they are kept, and need no copy.
    """

    def __init__(self, width: int, out: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(G, width, out))
        self.bias = nn.Parameter(torch.empty(G, 1, out))
        uniform_fan_in(self.weight, width)
        uniform_fan_in(self.bias, width)

    def forward(self, x: Tensor) -> Tensor:
        flat = torch.baddbmm(self.bias, x.flatten(1, -2), self.weight)
        return flat.view(*x.shape[:-1], -1)


class TaskNorm(nn.Module):
    """Layer normalisation over the last dimension of [G, B, M, H], scaled for each task."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(G, 1, 1, hidden))
        self.bias = nn.Parameter(torch.zeros(G, 1, 1, hidden))

    def forward(self, x: Tensor) -> Tensor:
        return torch.addcmul(self.bias, F.layer_norm(x, x.shape[-1:]), self.weight)


class LstmEncoder(nn.Module):
    """One-layer, one-directional LSTM and the maximum over time: [n, D] → [G, B, H]."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.rnns = nn.ModuleList(nn.LSTM(width, hidden, batch_first=True) for _ in range(G))

    def forward(self, x: Tensor, valid: Tensor | None) -> Tensor:
        """Real steps, the first of their clip first."""
        if valid is None:
            return self._one_step(x)
        steps = self._steps(x, valid) if x.device.type == "cpu" else self._library_steps(x, valid)
        hidden = ~valid.unsqueeze(2)  # one that lies behind the last real step is never seen
        return steps.masked_fill(hidden, torch.finfo(steps.dtype).min).amax(dim=2)

    def _library_steps(self, x: Tensor, valid: Tensor) -> Tensor:
        """Hidden states [G, B, T, H] by torch's LSTM, which is fast on accelerators."""
        x = padded(x, valid)
        return torch.stack([rnn(x)[0] for rnn in self.rnns])

    def _steps(self, x: Tensor, valid: Tensor) -> Tensor:
        """The same by `Recurrence`, with one product of all real steps and both tasks' weights."""
        parts = [cast(nn.LSTM, rnn).all_weights[0] for rnn in self.rnns]
        weight = torch.cat([part[0] for part in parts])
        bias = torch.cat([part[2] + part[3] for part in parts])
        recurrent = torch.stack([part[1].mT for part in parts])
        clip, step = torch.nonzero(valid, as_tuple=True)
        place = step * len(valid) + clip
        inputs = F.linear(x, weight, bias)
        steps: Tensor = Recurrence.apply(inputs, place, tuple(valid.T.shape), recurrent)
        return steps.permute(1, 2, 0, 3)

    def _one_step(self, x: Tensor) -> Tensor:
        """The LSTM's first step from its zero state: the recurrence adds nothing but its bias."""
        gates = []
        for rnn in self.rnns:
            weight, _, bias, recurrent_bias = cast(nn.LSTM, rnn).all_weights[0]
            gates.append(F.linear(x, weight, bias + recurrent_bias))
        entry, _, candidate, output = torch.stack(gates).chunk(4, dim=2)
        return output.sigmoid() * (entry.sigmoid() * candidate.tanh()).tanh()


class TextCnn(nn.Module):
    """Convolutions over the full width, ReLU, maximum over time, one linear layer (TextCNN).

    [n, D] → [G, B, H], with H filters of each height. A convolution over the full width is a
    sum of matrix products, one for each row of its kernel, shifted in time. Row r of all kernels
    that are tall enough is one parameter [G, filters, D], so rows beyond the text's length cost
    nothing. A text shorter than a kernel counts as padded with zeros to the kernel's height.
    """

    def __init__(self, width: int, hidden: int, heights: tuple[int, ...], dropout: float) -> None:
        super().__init__()
        self.hidden = hidden
        self.heights = tuple(sorted(heights))
        self.rows = nn.ParameterList(
            torch.empty(G, hidden * sum(height > row for height in self.heights), width)
            for row in range(self.heights[-1])
        )
        self.bias = nn.Parameter(torch.empty(G, hidden * len(self.heights)))
        self.dropout = Dropout(dropout)
        self.project = TaskLinear(hidden * len(self.heights), hidden)
        for height, row in self.kernel_rows():
            uniform_fan_in(row, height * width)
        for height, bias in zip(self.heights, torch.split(self.bias, hidden, 1), strict=True):
            uniform_fan_in(bias, height * width)

    def kernel_rows(self) -> list[tuple[int, Tensor]]:
        """Every row [G, H, D] of every kernel as a view, with the kernel's height."""
        found = []
        for number, rows in enumerate(self.rows):
            # Kernels that are too low have no such row; they come first among the heights.
            tall = [height for height in self.heights if height > number]
            found += list(zip(tall, torch.split(rows, self.hidden, 1), strict=True))
        return found

    def forward(self, x: Tensor, valid: Tensor | None) -> Tensor:
        """Real steps, the first of their clip first."""
        if valid is None:
            products = F.linear(x, self.rows[0].flatten(0, 1)).view(len(x), G, -1)
            return self._pool(products.transpose(0, 1) + self.bias.unsqueeze(1))
        clips, steps = valid.shape
        # What each row of the kernels gives at each step, both tasks and all rows in one product.
        rows = [row.flatten(0, 1) for row in self.rows[: min(steps, len(self.rows))]]
        products = padded(F.linear(x, torch.cat(rows)), valid)
        by_task = [
            part.view(clips, steps, G, -1).movedim(2, 0)
            for part in torch.split(products, [len(row) for row in rows], dim=2)
        ]
        windows = by_task[0] + self.bias.view(G, 1, 1, -1)  # [G, B, T, H of each kernel]
        for number, row in enumerate(by_task[1:], start=1):
            lower = windows.shape[3] - row.shape[3]
            windows = windows + F.pad(row[:, :, number:], (lower, 0, 0, number))
        # A kernel of height h fits a text of n steps n - h + 1 times, and always once.
        heights = torch.tensor(self.heights, device=x.device)
        last = (valid.sum(dim=1, keepdim=True) - heights).clamp(min=0)  # [B, kernels]
        beyond = torch.arange(steps, device=x.device).view(1, -1, 1) > last.unsqueeze(1)
        hidden = beyond.repeat_interleave(self.hidden, dim=2)
        return self._pool(windows.masked_fill(hidden, torch.finfo(x.dtype).min).amax(dim=2))

    def _pool(self, highest: Tensor) -> Tensor:
        return F.relu(self.project(self.dropout(highest.relu())))


class Attention(nn.Module):
    """Multi-head attention of queries over a memory, [G, B, M, H] each, as torch defines it.

    `heads` of each task. The projection of queries stands apart from that of keys and values,
    since a query and its memory mostly differ here.
    """

    def __init__(self, hidden: int, heads: Sequence[int], dropout: float = 0.0) -> None:
        super().__init__()
        self.heads = tuple(heads)
        self.dropout = dropout
        self.query = TaskLinear(hidden, hidden)
        self.memory = TaskLinear(hidden, 2 * hidden)
        self.project = TaskLinear(hidden, hidden)
        self.reset_projections()

    def reset_projections(self) -> None:
        """Torch's initialisation: Xavier-uniform over queries, keys and values as one matrix."""
        bound = math.sqrt(6 / (4 * self.query.weight.shape[1]))
        for part in (self.query, self.memory):
            nn.init.uniform_(part.weight, -bound, bound)
        for part in (self.query, self.memory, self.project):
            nn.init.zeros_(part.bias)

    def forward(self, query: Tensor, memory: Tensor) -> Tensor:
        q = self.query(query)
        k, v = self.memory(memory).chunk(2, dim=3)
        if len(set(self.heads)) == 1:
            attended = self._attend(q, k, v, self.heads[0])
        else:
            attended = torch.stack(
                [self._attend(q[g], k[g], v[g], heads) for g, heads in enumerate(self.heads)]
            )
        projected: Tensor = self.project(attended)
        return projected

    def _attend(self, q: Tensor, k: Tensor, v: Tensor, heads: int) -> Tensor:
        """Scaled dot-product attention of [..., B, M, H], by heads."""
        shape = q.shape
        q, k, v = (
            part.reshape(-1, shape[-2], heads, shape[-1] // heads).transpose(1, 2)
            for part in (q, k, v)
        )
        rate = self.dropout if self.training else 0.0
        return (
            F.scaled_dot_product_attention(q, k, v, dropout_p=rate).transpose(1, 2).reshape(shape)
        )


class Fusion(nn.Module):
    """One post-norm Transformer encoder layer over the modality tokens, without positions."""

    def __init__(
        self, hidden: int, heads: Sequence[int], feed_forward: int, dropout: float
    ) -> None:
        super().__init__()
        self.attention = Attention(hidden, heads, dropout)
        self.widen = TaskLinear(hidden, feed_forward)
        self.narrow = TaskLinear(feed_forward, hidden)
        self.norm1 = TaskNorm(hidden)
        self.norm2 = TaskNorm(hidden)
        self.dropout = Dropout(dropout)

    def forward(self, tokens: Tensor) -> Tensor:
        tokens = self.norm1(tokens + self.dropout(self.attention(tokens, tokens)))
        hidden = self.narrow(self.dropout(F.relu(self.widen(tokens))))
        fused: Tensor = self.norm2(tokens + self.dropout(hidden))
        return fused


class Interaction(nn.Module):
    """Gated interaction: what each task's tokens [G, B, M, H] take from the other task's."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.inter_attention = Attention(hidden, heads=(1, 1))
        self.hence_attention = Attention(hidden, heads=(1, 1))

    def forward(self, tokens: Tensor) -> Tensor:
        first: Tensor = self.inter_attention(tokens, tokens.flip(0))
        second: Tensor = self.hence_attention(tokens, first)
        return tokens + second * torch.sigmoid(first + second)


class Classifiers(nn.Module):
    """Logits [B, classes] of each task from [G, B, width], over layers of H and H/2 units.

    A task with fewer classes than the other leaves its last outputs unused.
    """

    def __init__(self, width: int, hidden: int, classes: Sequence[int], dropout: float) -> None:
        super().__init__()
        self.classes = tuple(classes)
        self.first = TaskLinear(width, hidden)
        self.second = TaskLinear(hidden, hidden // 2)
        self.output = TaskLinear(hidden // 2, max(classes))
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor) -> list[Tensor]:
        x = self.dropout(F.relu(self.first(x)))
        x = self.output(self.dropout(F.relu(self.second(x))))
        return [logits[:, :count] for logits, count in zip(x, self.classes, strict=True)]


def padded(x: Tensor, valid: Tensor) -> Tensor:
    """[B, T, D] of the steps [n, D] that `valid` [B, T] marks, the others zero."""
    places = torch.nonzero(valid.flatten()).squeeze(1)
    empty = x.new_zeros(valid.numel(), x.shape[1])
    return empty.index_copy(0, places, x).view(*valid.shape, -1)


def uniform_fan_in(tensor: Tensor, fan_in: int) -> None:
    """Torch's default for weights and biases of linear layers and convolutions, in place."""
    bound = 1 / math.sqrt(fan_in)
    with torch.no_grad():
        tensor.uniform_(-bound, bound)
