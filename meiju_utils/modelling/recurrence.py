"""The recurrence of an LSTM on the CPU, for both tasks at once.

What a step takes from its input is a matrix product over all steps and does not belong here: it is
made at once, over real steps alone, and without a gradient for features that need none. Torch's own
LSTM makes that gradient always and runs over padding too. Imports torch only.
"""

from typing import Any

import torch
from torch import Tensor


class Recurrence(torch.autograd.Function):
    """Hidden states of every step from the gates' inputs, by hand both ways.

    `inputs` [n, G·4H] has what the features of each real step and biases give to the gates, of each
    task in torch's order entry, forget, candidate, output; `place` [n] says where the step is in
    `shape` (T, B), flattened. `weight` [G, H, 4H] is multiplied with the last hidden state. Returns
    [T, G, B, H]. The gradient of `weight` is one matrix product of each task, over all steps.
    """

    @staticmethod
    def forward(
        ctx: Any, inputs: Tensor, place: Tensor, shape: tuple[int, int], weight: Tensor
    ) -> Tensor:
        steps, clips = shape
        tasks, h, width = weight.shape
        empty = inputs.new_zeros(steps * clips, tasks * width)
        gates = empty.index_copy_(0, place, inputs).view(*shape, tasks, width).transpose(1, 2)
        cells = inputs.new_zeros(steps + 1, tasks, clips, h)
        hidden = inputs.new_zeros(steps + 1, tasks, clips, h)
        squashed = inputs.new_empty(steps, tasks, clips, h)  # tanh of the cells
        for t in range(steps):
            step = gates[t]
            if t:
                step.baddbmm_(hidden[t], weight)
            step[..., : 2 * h].sigmoid_()
            step[..., 2 * h : 3 * h].tanh_()
            step[..., 3 * h :].sigmoid_()
            entry, forget, candidate, output = step.chunk(4, dim=2)
            torch.mul(forget, cells[t], out=cells[t + 1]).addcmul_(entry, candidate)
            torch.tanh(cells[t + 1], out=squashed[t])
            torch.mul(output, squashed[t], out=hidden[t + 1])
        ctx.save_for_backward(place, gates, cells, hidden, squashed, weight)
        return hidden[1:]

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, Tensor]:
        place, gates, cells, hidden, squashed, weight = ctx.saved_tensors
        (outer,) = gradients
        three = 3 * weight.shape[1]
        by_gate = (*hidden.shape[1:3], 3, weight.shape[1])
        entry, forget, candidate, output = gates.chunk(4, dim=3)
        # Derivatives of all steps at once: the loop is left what runs backwards through time, and
        # makes of them the gradients in place, as these tensors are a training's largest.
        of_cell = output * (1 - squashed**2)
        found = torch.empty_like(gates)
        of_entry, of_forget, of_candidate, of_output = found.chunk(4, dim=3)
        torch.mul(candidate * entry, 1 - entry, out=of_entry)
        torch.mul(cells[:-1] * forget, 1 - forget, out=of_forget)
        torch.mul(entry, 1 - candidate**2, out=of_candidate)
        torch.mul(squashed * output, 1 - output, out=of_output)
        transposed = weight.mT.contiguous()
        to_hidden = torch.zeros_like(hidden[0])
        to_cell = torch.zeros_like(hidden[0])
        for t in range(len(gates) - 1, -1, -1):
            to_hidden = to_hidden + outer[t]
            to_cell.addcmul_(to_hidden, of_cell[t])
            # Entry, forget gate and candidate act on the cell, the output gate on the hidden state.
            found[t][..., :three].view(*by_gate).mul_(to_cell.unsqueeze(2))
            of_output[t].mul_(to_hidden)
            to_cell.mul_(forget[t])
            to_hidden = torch.bmm(found[t], transposed)
        before = hidden[:-1].transpose(0, 1).flatten(1, 2)  # [G, T·B, H]
        steps = found.transpose(1, 2).flatten(0, 1)  # [T·B, G, 4H], as it lies in memory
        of_weight = torch.stack([states.T @ steps[:, g] for g, states in enumerate(before)])
        return steps.flatten(1)[place], None, None, of_weight
