"""Windows weighted and added up; what later windows still add to is handed on as edges."""

from __future__ import annotations

import torch
from torch import Tensor

from sarcover.mapping.carry import Edges
from sarcover.mapping.tiling import Axis


class Strip:
    """Adds the windows of a chunk to what its neighbours have handed on.

    Args:
        rows, columns: windows along the height and the width.
        device: where the logits are.
    """

    def __init__(self, rows: Axis, columns: Axis, device: torch.device) -> None:
        self._rows, self._columns = rows, columns
        self._weights = tuple(torch.from_numpy(axis.weights).to(device) for axis in (rows, columns))

    def add(
        self, place: tuple[int, int, int], kept: tuple[int, ...], logits: Tensor, before: Edges
    ) -> tuple[Tensor, Edges]:
        """What a chunk finishes, and what it hands on.

        Args:
            place: window row, first and end window column of the chunk.
            kept: its window columns that were computed.
            logits: (len(kept), K, P, P).
            before: lower edge of the chunk above and right edge of the chunk before; None where they have
                computed nothing: then all of it is invalid.

        Returns:
            (K, h, w) float32, the finished pixels; and the chunk's own edges.
        """
        row, first, end = place
        rows, columns = self._rows, self._columns
        left, right = columns.borders[first], columns.borders[end]
        done_rows, done_columns = rows.borders[row + 1] - rows.borders[row], right - left
        height, width = rows.end(row) - rows.borders[row], columns.end(end - 1) - left
        total = torch.zeros((logits.shape[1], height, width), device=logits.device)
        for column, window in zip(kept, logits, strict=True):
            self._add_window(total, row, column, left, window)
        if before.right is not None:
            total[:, :, : before.right.shape[2]] += before.right
        if before.below is not None:
            total[:, : before.below.shape[1], :done_columns] += before.below
        edges = Edges(
            total[:, done_rows:, :done_columns].clone() if row < len(rows) - 1 else None,
            total[:, :, done_columns:].clone() if end < len(columns) else None,
        )
        return total[:, :done_rows, :done_columns], edges

    def _add_window(self, total: Tensor, row: int, column: int, left: int, window: Tensor) -> None:
        """Adds one window, times its weights: `total` begins at its row's border and the column `left`."""
        rows, columns = self._rows, self._columns
        down, across = rows.shift(row), columns.shift(column)
        height, width = rows.end(row) - rows.borders[row], columns.end(column) - columns.borders[column]
        down_weights = self._weights[0][row, down : down + height, None]
        across_weights = self._weights[1][column, across : across + width]
        at = columns.borders[column] - left
        total[:, :, at : at + width].addcmul_(
            window[:, down : down + height, across : across + width].float(), down_weights * across_weights
        )
