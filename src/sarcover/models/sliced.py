"""Attention and MLP on the CPU, in slices that stay in a core's cache.

Written with plain tensor operations, both make intermediates much larger than their input (attention scores,
hidden layer, and as much again in the backward pass). On a CPU the time then goes into fetching fresh memory
and moving it, not into arithmetic. These functions compute the same numbers slice by slice in small buffers
that are used again. Of attention the weights are kept for the backward pass: in windows they are few, and to
compute them anew costs more than to fetch them. Activations of the MLP are computed anew from what is kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

_SLICE = 1 << 18  # scores in a slice: 1 MB of float32
_HIDDEN = 1 << 21  # hidden activations in a slice of the MLP


class Segments(NamedTuple):
    """Where one group of equal segments lies among T tokens: `rows` x `copies` segments of `length` tokens.

    Segments with the same bias are neighbours: `rows` biases, each for `copies` segments.
    """

    start: int
    rows: int
    copies: int
    length: int


def attention(qkv: Tensor, segments: Sequence[Segments], biases: Sequence[Tensor]) -> Tensor:
    """Softmax attention within segments: softmax(q k^T / sqrt(d) + bias) v.

    Args:
        qkv: (T, 3, heads, d); 16-bit input is computed in float32.
        segments: the groups; together they cover all T tokens once.
        biases: for each group (rows, heads, length, length), -inf where a pair must not attend.

    Returns:
        (T, heads, d) in the dtype of qkv.
    """
    if torch.is_grad_enabled():
        out: Tensor = _Attention.apply(qkv, tuple(segments), *biases)  # type: ignore[no-untyped-call]
        return out
    return _attend(qkv.contiguous(), segments, biases, None)


def mlp(x: Tensor, weight1: Tensor, bias1: Tensor, weight2: Tensor, bias2: Tensor) -> Tensor:
    """gelu(x W1^T + b1) W2^T + b2, with the exact GELU. x: (..., C) -> (..., C)."""
    flat = x.reshape(-1, x.shape[-1])
    if torch.is_grad_enabled():
        out: Tensor = _Mlp.apply(flat, weight1, bias1, weight2, bias2)  # type: ignore[no-untyped-call]
    else:
        out = _mlp_forward(flat, weight1, bias1, weight2, bias2, None)
    return out.view(x.shape)


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, qkv: Tensor, segments: tuple[Segments, ...], *biases: Tensor) -> Tensor:
        qkv = qkv.contiguous()
        weights: list[Tensor] = []
        out = _attend(qkv, segments, biases, weights)
        ctx.save_for_backward(qkv, *biases, *weights)
        ctx.segments = segments
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_out: Tensor) -> tuple[Tensor | None, ...]:
        qkv, *rest = ctx.saved_tensors
        biases, kept = rest[: len(rest) // 2], rest[len(rest) // 2 :]
        grad_out, grad = grad_out.contiguous(), torch.empty_like(qkv)
        grad_biases = []
        for group, bias, weights in zip(ctx.segments, biases, kept, strict=True):
            part = _Part(group, qkv)
            grad_bias = torch.zeros_like(bias)
            for at in part.slices():
                part.backward(qkv, grad_out, grad, part.of(weights, at), grad_bias, at)
            grad_biases.append(grad_bias)
        return grad, None, *grad_biases


def _attend(
    qkv: Tensor, segments: Sequence[Segments], biases: Sequence[Tensor], kept: list[Tensor] | None
) -> Tensor:
    """The forward pass; each group's attention weights are added to `kept`, if that is wanted."""
    out = torch.empty_like(qkv[:, 0])
    for group, bias in zip(segments, biases, strict=True):
        part = _Part(group, qkv)
        weights = None if kept is None else part.new_weights(group.rows * group.copies)
        for at in part.slices():
            q, k, v = part.load(qkv, at)
            own = part.scores(q) if weights is None else part.of(weights, at)
            part.weigh(q, k, bias, at, own)
            part.store(torch.bmm(own, v, out=part.like(q)), out, at)
        if kept is not None and weights is not None:
            kept.append(weights)
    return out


class _Slice(NamedTuple):
    row: int
    rows: int
    copy: int
    copies: int


class _Part:
    """One group's attention: its buffers, and the work on a slice of its segments."""

    def __init__(self, group: Segments, qkv: Tensor) -> None:
        _, _, self.heads, self.dim = qkv.shape
        self.group = group
        self.step = max(1, _SLICE // (group.length**2 * self.heads))
        most = min(self.step, group.rows * group.copies)
        dtype = torch.float32 if qkv.dtype in (torch.bfloat16, torch.float16) else qkv.dtype
        self._tokens = qkv.new_empty(7, most * self.heads, group.length, self.dim, dtype=dtype)
        self._scores = self.new_weights(most)

    def new_weights(self, segments: int) -> Tensor:
        """Room for the attention weights of so many segments: (segments * heads, length, length)."""
        length = self.group.length
        return self._tokens.new_empty(segments * self.heads, length, length)

    def of(self, weights: Tensor, at: _Slice) -> Tensor:
        """The slice's part of what `new_weights` made for all segments of the group."""
        first = (at.row * self.group.copies + at.copy) * self.heads
        return weights[first : first + at.rows * at.copies * self.heads]

    def scores(self, q: Tensor) -> Tensor:
        """A buffer for the scores of a slice."""
        return self._scores[: q.shape[0]]

    def slices(self) -> Iterator[_Slice]:
        """As many segments at a time as a slice holds."""
        group, step = self.group, self.step
        if group.copies >= step:
            for row in range(group.rows):
                for copy in range(0, group.copies, step):
                    yield _Slice(row, 1, copy, min(step, group.copies - copy))
        else:
            rows = step // group.copies
            for row in range(0, group.rows, rows):
                yield _Slice(row, min(rows, group.rows - row), 0, group.copies)

    def _view(self, tokens: Tensor, at: _Slice) -> Tensor:
        """The slice's tokens of (T, ...) as (segments, length, ...): a view, for a slice is contiguous."""
        first = self.group.start + (at.row * self.group.copies + at.copy) * self.group.length
        count = at.rows * at.copies
        part = tokens[first : first + count * self.group.length]
        return part.view(count, self.group.length, *tokens.shape[1:])

    def _buffer(self, first: int, last: int, at: _Slice) -> Tensor:
        return self._tokens[first:last, : at.rows * at.copies * self.heads]

    def load(self, qkv: Tensor, at: _Slice) -> tuple[Tensor, Tensor, Tensor]:
        """Query, key and value (segments * heads, length, d), contiguous."""
        buffer = self._buffer(0, 3, at)
        source = self._view(qkv, at).permute(2, 0, 3, 1, 4)  # (3, segments, heads, length, d)
        buffer.view(source.shape).copy_(source)
        return buffer[0], buffer[1], buffer[2]

    def like(self, q: Tensor) -> Tensor:
        """A buffer for the result of a slice."""
        return self._tokens[3, : q.shape[0]]

    def store(self, value: Tensor, target: Tensor, at: _Slice) -> None:
        """(segments * heads, length, d) into its place in `target` (T, heads, d)."""
        place = self._view(target, at).transpose(1, 2)
        place.copy_(value.view(place.shape))

    def weigh(self, q: Tensor, k: Tensor, bias: Tensor, at: _Slice, weights: Tensor) -> None:
        """Writes softmax(q k^T / sqrt(d) + bias) into `weights` (segments * heads, length, length)."""
        torch.baddbmm(weights, q, k.transpose(1, 2), beta=0, alpha=self.dim**-0.5, out=weights)
        self._by_row(weights, at).add_(bias[at.row : at.row + at.rows, None])
        torch.softmax(weights, -1, out=weights)

    def _by_row(self, scores: Tensor, at: _Slice) -> Tensor:
        return scores.view(at.rows, at.copies, self.heads, self.group.length, self.group.length)

    def backward(
        self, qkv: Tensor, grad_out: Tensor, grad: Tensor, weights: Tensor, grad_bias: Tensor, at: _Slice
    ) -> None:
        """Writes the slice's part of `grad` (as qkv) and adds to `grad_bias`."""
        q, k, v = self.load(qkv, at)
        above = self._buffer(3, 4, at)[0]
        source = self._view(grad_out, at).transpose(1, 2)
        above.view(source.shape).copy_(source)
        grads = self._buffer(4, 7, at)
        torch.bmm(weights.transpose(1, 2), above, out=grads[2])
        inner = torch.bmm(above, v.transpose(1, 2), out=self.scores(q))
        torch._softmax_backward_data(inner, weights, -1, weights.dtype, grad_input=inner)
        grad_bias[at.row : at.row + at.rows] += self._by_row(inner, at).sum(1)
        scale = self.dim**-0.5
        torch.baddbmm(grads[0], inner, k, beta=0, alpha=scale, out=grads[0])
        torch.baddbmm(grads[1], inner.transpose(1, 2), q, beta=0, alpha=scale, out=grads[1])
        place = self._view(grad, at).permute(2, 0, 3, 1, 4)
        place.copy_(grads.view(place.shape))


class _Mlp(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight1: Tensor, bias1: Tensor, weight2: Tensor, bias2: Tensor
    ) -> Tensor:
        hidden = x.new_empty(len(x), len(bias1))
        ctx.save_for_backward(x, hidden, weight1, weight2)
        return _mlp_forward(x, weight1, bias1, weight2, bias2, hidden)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_out: Tensor) -> tuple[Tensor, ...]:
        x, hidden, weight1, weight2 = ctx.saved_tensors
        grad_out, grad_x = grad_out.contiguous(), torch.empty_like(x)
        grad1, grad2 = torch.zeros_like(weight1), torch.zeros_like(weight2)
        grad_bias1 = hidden.new_zeros(hidden.shape[1])
        step = max(1, _HIDDEN // hidden.shape[1])
        active, inner = hidden.new_empty(2, min(step, len(x)), hidden.shape[1])
        for start in range(0, len(x), step):
            at = slice(start, start + step)
            rows = hidden[at]
            a, b = active[: len(rows)], inner[: len(rows)]
            torch.ops.aten.gelu.out(rows, out=a)
            grad2.addmm_(grad_out[at].T, a)
            torch.mm(grad_out[at], weight2, out=a)
            torch.ops.aten.gelu_backward.grad_input(a, rows, grad_input=b)
            grad1.addmm_(b.T, x[at])
            grad_bias1 += b.sum(0)
            torch.mm(b, weight1, out=grad_x[at])
        return grad_x, grad1, grad_bias1, grad2, grad_out.sum(0)


def _mlp_forward(
    x: Tensor, weight1: Tensor, bias1: Tensor, weight2: Tensor, bias2: Tensor, hidden: Tensor | None
) -> Tensor:
    """The MLP of (T, C) in slices of T; what enters the GELU is left in `hidden`, if that is wanted."""
    out = torch.empty_like(x)
    step = max(1, _HIDDEN // len(bias1))
    active = x.new_empty(min(step, len(x)), len(bias1))
    before = active if hidden is None else hidden
    for start in range(0, len(x), step):
        at = slice(start, start + step)
        rows = before[: len(x[at])] if hidden is None else before[at]
        torch.addmm(bias1, x[at], weight1.T, out=rows)
        gelu = torch.ops.aten.gelu.out(rows, out=active[: len(rows)])
        torch.addmm(bias2, gelu, weight2.T, out=out[at])
    return out


def usable(x: Tensor) -> bool:
    """Whether slicing is right for `x`: on the CPU, run as written (not compiled or traced)."""
    return x.device.type == "cpu" and not torch.compiler.is_compiling() and not torch._C._get_tracing_state()
