"""Where each token sits while the encoder works on it, and which tokens see one another.

A window transformer that partitions and reverses windows in every block copies all tokens twice a block. Here
the tokens of a stage are put once into an order in which those that attend to one another lie side by side;
every other layer works token by token and does not mind. Merging into the next stage gathers each token's
four children straight into that stage's order.

In masked pretraining a window holds tokens of two images, and a token attends to those of its own image alone
(masked attention of MixMAE, arXiv 2205.13137). Instead of computing all pairs and masking half of them, the
tokens of the two images in a window become two segments that attend apart. Segments of equal length form one
group.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from sarcover.models.uncompiled import uncompiled


class TokenGroup(NamedTuple):
    """Segments of one length, side by side in the stage's order; attention runs within each segment.

    start: position of the first token.
    rows, copies, length: rows * copies segments of `length` tokens; the copies of a row are neighbours and
        share its bias.
    bias_index: (rows, length, length) int64, rows of the relative position table.
    blocked: (rows, length, length) bool, pairs that must not attend; None where all may.
    """

    start: int
    rows: int
    copies: int
    length: int
    bias_index: Tensor
    blocked: Tensor | None


class StagePlan(NamedTuple):
    """One stage's order of T tokens: those of one image, or under a mask those of the whole batch.

    enter: int64, what to gather from the order before: (T,) row-major positions for the first stage, (4 T,)
        positions of each token's children for the others.
    leave: (T,) int64, gathers the stage's order back into row-major order.
    groups: the segments, covering all T tokens in order.
    """

    enter: Tensor
    leave: Tensor
    groups: tuple[TokenGroup, ...]


_Order = tuple[Tensor, tuple[TokenGroup, ...]]


def relative_position_index(window: int, side: int | None = None) -> Tensor:
    """Rows of Swin's bias table, (n*n, n*n) int64: (dy + w - 1)(2w - 1) + (dx + w - 1), query minus key.

    Args:
        window: w, the window side that the table is for.
        side: n <= w, the side of the windows to index; default: w.
    """
    side = side or window
    rows, columns = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    rows, columns = rows.flatten(), columns.flatten()
    dy = rows[:, None] - rows[None, :] + window - 1
    dx = columns[:, None] - columns[None, :] + window - 1
    return dy * (2 * window - 1) + dx


def reach(windows: Sequence[int], patch: int) -> int:
    """Pixels that height and width must be multiples of, so that the windows tile every stage."""
    return math.lcm(*(patch * 2**stage * window for stage, window in enumerate(windows)))


@uncompiled
@lru_cache(maxsize=32)
def plain_plan(
    grid: tuple[int, int], windows: tuple[int, ...], tables: tuple[int, ...], device: torch.device
) -> tuple[StagePlan, ...]:
    """The plan without a mask, for each image of a batch alike: every window is a segment.

    Args:
        grid: rows and columns of tokens in the first stage; halved from stage to stage.
        windows: window side of each stage, tokens; must divide the stage's grid.
        tables: window side that each stage's bias table is for, at least that of its windows.
        device: where the indices are needed.
    """
    with torch.inference_mode(False):  # the indices outlive this call and may be saved for a backward pass
        orders = [
            _whole_windows(_windows(_stage_grid(grid, stage), window), relative_position_index(table, window))
            for stage, (window, table) in enumerate(zip(windows, tables, strict=True))
        ]
        return _assemble(grid, orders, 1, device)


@uncompiled
def masked_plan(
    grid: tuple[int, int],
    windows: Sequence[int],
    mask: Tensor,
    images: int,
    *,
    apart: bool,
    device: torch.device,
) -> tuple[StagePlan, ...]:
    """The plan of a whole batch under a mixing mask: tokens of different images do not attend to one another.

    Args:
        grid: rows and columns of tokens in the first stage.
        windows: window side of each stage, tokens.
        mask: (1, h, w) bool, one for the batch, or (B, h, w), one for each mixed image.
        images: number B of mixed images.
        apart: True: the two images' tokens are segments of their own. False: segments stay whole windows and
            carry `blocked` pairs: fixed shapes, as compiled code wants them.
        device: where the indices are needed.
    """
    mask = mask.detach().bool().cpu()
    orders = [_masked_order(_stage_grid(grid, i), w, mask, images, apart) for i, w in enumerate(windows)]
    return _assemble(grid, orders, images, device)


def _masked_order(grid: tuple[int, int], window: int, mask: Tensor, images: int, apart: bool) -> _Order:
    rows, columns = grid
    tokens = _windows(grid, window)
    of_image = torch.arange(images)[:, None, None] * (rows * columns) + tokens  # (B, windows, w*w)
    index = relative_position_index(window)
    cell = (rows // mask.shape[1], columns // mask.shape[2])
    if (
        cell[0] % window == 0 and cell[1] % window == 0
    ):  # a window lies in one cell: one image, nothing to mask
        return _whole_windows(of_image.flatten(0, 1), index)
    labels = mask.repeat_interleave(cell[0], 1).repeat_interleave(cell[1], 2).flatten(1)[:, tokens]
    labels = labels.flatten(0, 1)  # (windows or B * windows, w*w)
    # Under one mask, a window's copies in all images share its labels; else each stands alone.
    segments = of_image.transpose(0, 1) if len(mask) == 1 else of_image.flatten(0, 1)[:, None]
    if apart:
        return _split_windows(segments, labels, index)
    blocked = labels[:, :, None] != labels[:, None, :]
    group = TokenGroup(0, len(segments), segments.shape[1], window**2, index.expand_as(blocked), blocked)
    return segments.flatten(), (group,)


def _whole_windows(tokens: Tensor, index: Tensor) -> _Order:
    """tokens: (windows, w*w) positions."""
    return tokens.flatten(), (TokenGroup(0, 1, len(tokens), tokens.shape[1], index[None], None),)


def _split_windows(tokens: Tensor, labels: Tensor, index: Tensor) -> _Order:
    """Each window's tokens as two segments, by label; segments of equal length become one group.

    Args:
        tokens: (rows, copies, w*w) positions; copies share their row's labels.
        labels: (rows, w*w) bool.
        index: (w*w, w*w) rows of the bias table.
    """
    size, copies = tokens.shape[2], tokens.shape[1]
    counts = torch.stack([(~labels).sum(1), labels.sum(1)])  # (2, rows)
    order: list[Tensor] = []
    groups: list[TokenGroup] = []
    start = 0
    for length in sorted(set(counts.flatten().tolist()) - {0}):
        places, moved = [], []
        for label in (0, 1):
            rows = counts[label] == length
            places.append((labels[rows] == bool(label)).nonzero()[:, 1].view(-1, length))
            moved.append(tokens[rows].gather(2, places[-1][:, None].expand(-1, copies, -1)).flatten())
        inside = torch.cat(places)  # (segments, length): places within the window
        count = len(inside)
        if length == size:  # whole windows share the whole bias
            group = TokenGroup(start, 1, count * copies, length, index[None], None)
        else:
            bias_index = index[inside[:, :, None], inside[:, None, :]]
            group = TokenGroup(start, count, copies, length, bias_index, None)
        order += moved
        groups.append(group)
        start += count * copies * length
    return torch.cat(order), tuple(groups)


def _assemble(
    grid: tuple[int, int], orders: list[_Order], images: int, device: torch.device
) -> tuple[StagePlan, ...]:
    plans: list[StagePlan] = []
    leave = torch.empty(0, dtype=torch.int64)
    for stage, (order, groups) in enumerate(orders):
        children = _children(_stage_grid(grid, stage), images)[order] if stage else order
        enter = leave[children].flatten() if stage else order
        leave = torch.empty_like(order)
        leave[order] = torch.arange(len(order))
        plans.append(
            StagePlan(enter.to(device), leave.to(device), tuple(_to(group, device) for group in groups))
        )
    return tuple(plans)


def _to(group: TokenGroup, device: torch.device) -> TokenGroup:
    blocked = None if group.blocked is None else group.blocked.to(device)
    return group._replace(bias_index=group.bias_index.to(device), blocked=blocked)


def _stage_grid(grid: tuple[int, int], stage: int) -> tuple[int, int]:
    return grid[0] >> stage, grid[1] >> stage


def _windows(grid: tuple[int, int], window: int) -> Tensor:
    """Row-major token positions of each window, (windows, w*w)."""
    rows, columns = grid
    tokens = torch.arange(rows * columns).view(rows // window, window, columns // window, window)
    return tokens.transpose(1, 2).reshape(-1, window * window)


def _children(grid: tuple[int, int], images: int) -> Tensor:
    """Row-major positions, in the finer grid, of each token's children: (images * rows * columns, 4).

    In the order (row, column) = (0,0), (1,0), (0,1), (1,1), as patch merging concatenates them.
    """
    rows, columns = grid
    fine = torch.arange(images * rows * columns * 4).view(images, rows, 2, columns, 2)
    return fine.permute(0, 1, 3, 4, 2).reshape(-1, 4)
