"""The moving strip gives what blending whole arrays gives, piece by piece."""

import threading
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from sarcover.mapping import tiling
from sarcover.mapping.carry import Carry
from sarcover.mapping.combine import combined
from sarcover.mapping.stream import Part, Piece, Reader, pieces, pieces_per_row

CPU = torch.device("cpu")


class Echo(nn.Module):
    """Two logits: the first band, and its negative; remembers the shapes that it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.shapes: list[tuple[int, ...]] = []

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        self.shapes.append(tuple(batch["sar"].shape))
        return torch.stack([batch["sar"][:, 0], -batch["sar"][:, 0]], 1)


class Places(nn.Module):
    """Two logits that depend on the place within the window, so that blending shows."""

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        ramp = torch.arange(batch["sar"].shape[-1], dtype=torch.float32)
        logit = batch["sar"] + ramp[:, None] * 2 + ramp
        return torch.cat([logit, -logit], 1)


def reader(scene: np.ndarray, valid: np.ndarray) -> Reader:
    def read(row: int, column: int, height: int, width: int) -> dict[str, Any]:
        where = np.s_[row : row + height, column : column + width]
        assert scene[where].shape == (height, width), "only what is inside the scene is asked for"
        return {"sar": np.where(valid, scene, np.nan)[None, *where].copy(), "valid": valid[where].copy()}

    return read


def assembled(found: list[Piece], shape: tuple[int, int]) -> np.ndarray:
    """The pieces' logits as one array (K, H, W); each pixel must come exactly once."""
    classes = next(piece.logits.shape[0] for piece in found if piece.logits is not None)
    whole = np.full((classes, *shape), np.nan, dtype=np.float32)
    times = np.zeros(shape, dtype=int)
    for piece in found:
        height, width = piece.valid.shape
        where = np.s_[piece.row : piece.row + height, piece.column : piece.column + width]
        times[where] += 1
        if piece.logits is not None:
            whole[:, *where] = piece.logits.numpy()
    assert (times == 1).all()
    return whole


def blended_at_once(
    model: nn.Module, scene: np.ndarray, rows: tiling.Axis, columns: tiling.Axis
) -> np.ndarray:
    """The same by the textbook: weight each window, add it to an array as large as the scene."""
    patch = rows.patch
    height, width = scene.shape
    padded = np.pad(scene, ((0, max(0, patch - height)), (0, max(0, patch - width))))
    total: Any = 0.0
    for i, top in enumerate(rows.starts):
        for j, left in enumerate(columns.starts):
            window = torch.from_numpy(padded[top : top + patch, left : left + patch][None, None])
            logits = model({"sar": window})[0].numpy()
            placed = np.zeros((logits.shape[0], *padded.shape))
            weights = np.outer(rows.weights[i], columns.weights[j])
            placed[:, top : top + patch, left : left + patch] = logits * weights
            total = total + placed
    return np.asarray(total)[:, :height, :width]


@st.composite
def layouts(draw: st.DrawFn) -> tuple[tuple[int, int], int, int, tiling.Blend, int, int]:
    """shape, patch, overlap, kind, margin, batch."""
    patch = draw(st.integers(1, 12))
    overlap = draw(st.integers(0, patch - 1))
    shape = (draw(st.integers(1, 45)), draw(st.integers(1, 45)))
    kind: tiling.Blend = draw(st.sampled_from(("hann", "cosine", "linear", "none")))
    return shape, patch, overlap, kind, draw(st.integers(0, overlap // 2)), draw(st.integers(1, 5))


@given(layouts(), st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None)
def test_the_strip_equals_blending_the_whole_scene(layout: Any, seed: int) -> None:
    shape, patch, overlap, kind, margin, batch = layout
    scene = np.random.default_rng(seed).uniform(-30, 0, shape).astype(np.float32)
    rows, columns = (tiling.axis(length, patch, overlap, kind, margin) for length in shape)
    found = list(
        pieces(Places(), reader(scene, np.ones(shape, bool)), rows, columns, batch=batch, device=CPU)
    )
    expected = blended_at_once(Places(), scene, rows, columns)
    np.testing.assert_allclose(assembled(found, shape), expected, atol=1e-4)
    assert sum(piece.windows for piece in found) == len(rows) * len(columns)


@given(layouts(), st.integers(0, 2**32 - 1), st.floats(0, 1))
@settings(max_examples=60, deadline=None)
def test_skipped_windows_leave_no_trace_in_valid_pixels(layout: Any, seed: int, share: float) -> None:
    """Whole regions are invalid; the model that returns its input gives it back wherever it is valid."""
    shape, patch, overlap, kind, margin, batch = layout
    random = np.random.default_rng(seed)
    scene = random.uniform(-30, 0, shape).astype(np.float32)
    coarse = random.uniform(size=(-(-shape[0] // 9), -(-shape[1] // 9))) < share
    valid = np.kron(coarse, np.ones((9, 9), bool)).astype(bool)[: shape[0], : shape[1]]
    rows, columns = (tiling.axis(length, patch, overlap, kind, margin) for length in shape)
    found = list(pieces(Echo(), reader(scene, valid), rows, columns, batch=batch, device=CPU))
    mask = np.zeros(shape, bool)
    for piece in found:
        height, width = piece.valid.shape
        mask[piece.row : piece.row + height, piece.column : piece.column + width] = piece.valid
    np.testing.assert_array_equal(mask, valid)
    corners = tiling.windows(*shape, patch, overlap)
    empty = [not valid[row : row + patch, column : column + patch].any() for row, column in corners]
    assert sum(piece.skipped for piece in found) == sum(empty)
    if valid.any():
        logits = assembled(found, shape)
        np.testing.assert_allclose(logits[0][valid], scene[valid], atol=1e-4)
        np.testing.assert_allclose(logits[1][valid], -scene[valid], atol=1e-4)


def test_forward_passes_are_made_of_one_window_row_each() -> None:
    """5 x 7 windows in batches of at most 3: each row is 3 + 3 + 1, whatever the other rows hold."""
    rows, columns = tiling.axis(40, 8, 0), tiling.axis(56, 8, 0)
    scene, valid = np.zeros((40, 56), np.float32), np.ones((40, 56), bool)
    valid[8:16] = False  # the second window row, whole
    valid[16:24, :24] = False  # three windows of the third
    model = Echo()
    found = list(pieces(model, reader(scene, valid), rows, columns, batch=3, device=CPU))
    assert [shape[0] for shape in model.shapes] == [3, 3, 1, 3, 1, 3, 3, 1, 3, 3, 1]
    assert [piece.skipped for piece in found if piece.row == 8] == [3, 3, 1]


def test_small_scenes_are_padded_with_invalid_pixels() -> None:
    given_to_the_model: dict[str, Tensor] = {}

    class Watch(Echo):
        def forward(self, batch: dict[str, Tensor]) -> Tensor:
            given_to_the_model.update(batch)
            return super().forward(batch)

    scene = np.full((3, 5), -7.0, np.float32)
    axes = tiling.axis(3, 8, 2), tiling.axis(5, 8, 2)
    (piece,) = pieces(Watch(), reader(scene, np.ones((3, 5), bool)), *axes, batch=4, device=CPU)
    assert given_to_the_model["sar"].shape == (1, 1, 8, 8)
    assert given_to_the_model["valid"].sum() == 15
    assert given_to_the_model["sar"].isnan().sum() == 64 - 15
    assert piece.logits is not None
    np.testing.assert_allclose(piece.logits[0].numpy(), scene, atol=1e-6)


@given(layouts(), st.data())
@settings(max_examples=40, deadline=None)
def test_a_part_of_a_map_is_that_part_of_the_whole_map(layout: Any, data: st.DataObject) -> None:
    shape, patch, overlap, kind, margin, batch = layout
    scene = np.random.default_rng(1).uniform(-30, 0, shape).astype(np.float32)
    read = reader(scene, np.ones(shape, bool))
    rows, columns = (tiling.axis(length, patch, overlap, kind, margin) for length in shape)
    whole = assembled(list(pieces(Places(), read, rows, columns, batch=batch, device=CPU)), shape)
    (top, bottom), (left, right) = (
        sorted(data.draw(st.lists(st.integers(0, length), min_size=2, max_size=2, unique=True)))
        for length in shape
    )
    parts = pieces(
        Places(),
        lambda row, column, height, width: read(row + top, column + left, height, width),
        rows.crop(top, bottom),
        columns.crop(left, right),
        batch=batch,
        device=CPU,
    )
    part = assembled(list(parts), (bottom - top, right - left))
    np.testing.assert_allclose(part, whole[:, top:bottom, left:right], atol=1e-4)


@given(layouts(), st.data())
@settings(max_examples=30, deadline=None)
def test_going_on_from_any_piece_gives_the_same_pixels(layout: Any, data: st.DataObject) -> None:
    """To the last bit, with the edges of the pieces before; and without those, some window rows earlier."""
    shape, patch, overlap, kind, margin, batch = layout
    scene = np.random.default_rng(2).uniform(-30, 0, shape).astype(np.float32)
    read = reader(scene, np.ones(shape, bool))
    rows, columns = (tiling.axis(length, patch, overlap, kind, margin) for length in shape)
    whole = list(pieces(Places(), read, rows, columns, batch=batch, device=CPU))
    first = data.draw(st.integers(0, len(whole)))
    per_row = pieces_per_row(columns, batch)
    carry = Carry(per_row)
    before = pieces(Places(), read, rows, columns, batch=batch, device=CPU, carry=carry)
    for _ in range(first):
        next(before)
    before.close()
    reach = -(-overlap // (patch - overlap))
    earlier = max(0, first // per_row - reach) * per_row
    for start, edges in ((first, carry), (earlier, None)):
        rest = pieces(Places(), read, rows, columns, batch=batch, device=CPU, carry=edges, first=start)
        again = {piece.number: piece for piece in rest}
        assert list(again) == list(range(start, len(whole)))
        for piece in whole[first:]:
            assert piece.logits is not None or piece.valid.size == 0
            if piece.logits is not None:
                assert torch.equal(piece.logits, again[piece.number].logits)


def layers(scenes: list[np.ndarray], valid: list[np.ndarray]) -> Reader:
    """Scenes that lie on top of one another; each has its own valid pixels."""

    def read(row: int, column: int, height: int, width: int) -> list[Part]:
        where = np.s_[row : row + height, column : column + width]
        return [
            Part(
                number,
                {"sar": np.where(there, scene, np.nan)[None, *where].copy(), "valid": there[where]},
                there[where],
            )
            for number, (scene, there) in enumerate(zip(scenes, valid, strict=True))
            if there[where].any()
        ]

    return read


@pytest.mark.parametrize("average", [False, True])
def test_layers_are_blended_each_by_itself_and_then_combined(average: bool) -> None:
    random = np.random.default_rng(3)
    shape = (41, 53)
    scenes = [random.normal(size=shape).astype(np.float32) for _ in range(3)]
    valid = [np.zeros(shape, bool) for _ in range(3)]
    valid[0][:25, :30] = True
    valid[1][10:, 20:] = True
    valid[2][5:20] = True
    axes = [tiling.axis(length, 12, 5) for length in shape]
    found = list(pieces(Echo(), layers(scenes, valid), *axes, batch=2, device=CPU, average=average))
    anywhere = np.logical_or.reduce(valid)
    mask = np.zeros(shape, bool)
    for piece in found:
        height, width = piece.valid.shape
        mask[piece.row : piece.row + height, piece.column : piece.column + width] = piece.valid
    np.testing.assert_array_equal(mask, anywhere)
    probabilities = torch.from_numpy(assembled(found, shape)).softmax(0).numpy()[0]
    each = [1 / (1 + np.exp(-2 * scene)) for scene in scenes]  # softmax of x and -x
    if average:
        expected = sum(np.where(v, p, 0) for v, p in zip(valid, each, strict=True)) / np.maximum(
            sum(valid), 1
        )
    else:
        expected = np.select(valid, each)
    np.testing.assert_allclose(probabilities[anywhere], expected[anywhere], atol=1e-5)


def test_an_average_of_certain_and_impossible_is_still_a_number() -> None:
    """Probability exactly 0 in float32 has no logarithm: the logits stay finite and keep their order."""
    logits = torch.tensor([[[200.0]], [[0.0]], [[-200.0]]])
    result = combined([(logits, np.ones((1, 1), bool)), (logits, np.ones((1, 1), bool))], average=True)
    assert result is not None
    assert result[0].isfinite().all()
    assert result[0][:, 0, 0].argmax() == 0
    np.testing.assert_allclose(result[0].softmax(0)[:, 0, 0], [1, 0, 0], atol=1e-6)


def test_a_number_that_is_not_finite_shows_in_an_average_only_where_it_is_valid() -> None:
    good, bad = torch.zeros(2, 1, 2), torch.tensor([[[0.0, torch.nan]], [[0.0, 0.0]]])
    for there, finite in ((True, False), (False, True)):
        result = combined([(good, np.ones((1, 2), bool)), (bad, np.array([[True, there]]))], average=True)
        assert result is not None
        assert bool(result[0][:, 0, 1].isfinite().all()) == finite


def test_the_next_chunk_is_read_while_the_model_computes() -> None:
    """The model waits until the reader has begun the chunk after; without a second thread it never would."""
    begun: list[int] = []
    wanted = threading.Event()
    scene, valid = np.zeros((8, 80), np.float32), np.ones((8, 80), bool)
    inner = reader(scene, valid)

    def read(row: int, column: int, height: int, width: int) -> Any:
        begun.append(column)
        if len(begun) == 2:
            wanted.set()
        return inner(row, column, height, width)

    class Waits(Echo):
        def forward(self, batch: dict[str, Tensor]) -> Tensor:
            assert wanted.wait(20), "nothing is read while the model computes"
            return super().forward(batch)

    axes = tiling.axis(8, 8, 0), tiling.axis(80, 8, 0)
    found = list(pieces(Waits(), read, *axes, batch=5, device=CPU))
    assert [piece.windows for piece in found] == [5, 5]
