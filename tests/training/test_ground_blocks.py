"""Blocks of ground: what is resampled together."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from rasterio.crs import CRS

from sarcover.training.ground import default_side, ground_blocks

PATCH = 16
UTM = CRS.from_epsg(32654).to_wkt()


def store(scenes, **settings):
    """What ground_blocks looks at: scenes {name: (transform, crs)} of 8 x 8 patches each."""
    described = [
        {"name": name, "shape": [8 * PATCH, 8 * PATCH], "transform": list(transform), "crs": crs}
        for name, (transform, crs) in scenes.items()
    ]
    offsets = [(PATCH * row, PATCH * col) for row in range(8) for col in range(8)]
    rows = [(name, *offset) for name in scenes for offset in offsets]
    index = pd.DataFrame(rows, columns=["scene", "row_off", "col_off"])
    meta = SimpleNamespace(scenes=described, patch=PATCH, settings=settings)
    return SimpleNamespace(meta=meta, index=index)


def test_a_block_is_a_square_of_neighbouring_patches():
    toy = store({"plain": ((1, 0, 0, 0, 1, 0), None)})
    numbers, names = ground_blocks(toy, range(64), 4 * PATCH)
    assert len(names) == len(set(names)) == 4
    assert [name.split()[0] for name in names] == ["plain"] * 4
    numbers = numbers.reshape(8, 8)
    for corner in (numbers[:4, :4], numbers[:4, 4:], numbers[4:, :4], numbers[4:, 4:]):
        assert len(np.unique(corner)) == 1
    assert len(np.unique(numbers)) == 4


def test_only_the_patches_asked_for_make_blocks():
    toy = store({"plain": ((1, 0, 0, 0, 1, 0), None)})
    numbers, names = ground_blocks(toy, [63, 62, 0], 4 * PATCH)
    assert names == ("plain 1 1", "plain 0 0")
    assert numbers.tolist() == [0, 0, 1]


def test_the_same_ground_is_in_the_same_block_at_any_date_and_in_any_scene():
    here = (10, 0, 300_000, 0, -10, 4_000_000)
    shifted = (10, 0, 300_000 + 40 * 10, 0, -10, 4_000_000)  # 40 px east
    far = (10, 0, 700_000, 0, -10, 4_000_000)
    toy = store({"july": (here, UTM), "august": (here, UTM), "east": (shifted, UTM), "far": (far, UTM)})
    numbers, names = ground_blocks(toy, range(256), 4 * PATCH)
    july, august, east, far_off = numbers.reshape(4, 64)
    np.testing.assert_array_equal(july, august)
    assert not set(july) & set(far_off)
    # The middle of column c in the east lies between the middles of columns c + 2 and c + 3 in july.
    grid = july.reshape(8, 8)
    for column in range(5):
        ground = {grid[0, column + 2], grid[0, column + 3]}
        assert east.reshape(8, 8)[0, column] in ground
    assert len(names) == numbers.max() + 1


def test_scenes_without_georeference_have_blocks_of_their_own():
    plain = ((1, 0, 0, 0, 1, 0), None)
    numbers, _ = ground_blocks(store({"one": plain, "two": plain}), range(128), 4 * PATCH)
    assert not set(numbers[:64]) & set(numbers[64:])


@pytest.mark.parametrize(
    ("settings", "side"),
    [
        ({}, 4 * PATCH),
        ({"split": "block", "block": 256}, 256),
        ({"split": "block", "block": 16}, 4 * PATCH),
        ({"split": "stratified", "block": 256}, 256),
        ({"split": "month", "block": 1024}, 4 * PATCH),
    ],
)
def test_blocks_are_four_patches_or_those_of_the_split(settings, side):
    assert default_side(store({}, **settings)) == side
