"""The sieve of a file against that of an array, and against objects counted by SciPy."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.features import sieve
from scipy import ndimage

from sarcover.mapping.sieve import sieve_raw


def sieved(folder: Path, codes: np.ndarray, size: int) -> np.ndarray:
    """Through files; nothing but the two raw ones may be left."""
    folder.mkdir(exist_ok=True)
    source, target = folder / "a & b.raw", folder / "out.raw"
    source.write_bytes(codes.tobytes())
    sieve_raw(source, target, codes.shape, size)  # type: ignore[arg-type]
    assert sorted(path.name for path in folder.iterdir()) == ["a & b.raw", "out.raw"]
    assert source.read_bytes() == codes.tobytes()
    return np.fromfile(target, np.uint8).reshape(codes.shape)


def objects(codes: np.ndarray) -> list[tuple[int, int]]:
    """Code and size of each object of pixels that touch at their sides, nodata left out."""
    found = []
    for code in np.unique(codes[codes != 255]):
        labels, _ = ndimage.label(codes == code)
        found += [(int(code), int(size)) for size in np.bincount(labels.ravel())[1:]]
    return found


@pytest.mark.parametrize("size", [2, 5, 40])
def test_a_file_is_sieved_like_an_array(tmp_path: Path, size: int) -> None:
    random = np.random.default_rng(size)
    codes = np.repeat(np.repeat(random.integers(0, 4, (60, 50)), 4, 0), 3, 1).astype(np.uint8)
    codes[random.random(codes.shape) < 0.1] = 254
    codes[random.random(codes.shape) < 0.02] = 255
    codes[100:140, 20:70] = 255
    found = sieved(tmp_path, codes, size)
    wanted = sieve(codes, size, mask=codes != 255, connectivity=4)
    np.testing.assert_array_equal(found, wanted)
    assert (found != codes).any()
    np.testing.assert_array_equal(found == 255, codes == 255)


@settings(max_examples=40, deadline=None)
@given(data=st.data(), height=st.integers(1, 12), width=st.integers(1, 12), size=st.integers(2, 9))
def test_the_sieve_keeps_what_is_large_and_leaves_nodata(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, height: int, width: int, size: int
) -> None:
    cells = data.draw(
        st.lists(st.sampled_from([0, 1, 7, 255]), min_size=height * width, max_size=height * width)
    )
    codes = np.array(cells, np.uint8).reshape(height, width)
    found = sieved(tmp_path_factory.mktemp("sieve"), codes, size)
    np.testing.assert_array_equal(found == 255, codes == 255)
    for code in np.unique(codes[codes != 255]):
        labels, count = ndimage.label(codes == code)
        for label in range(1, count + 1):
            if (labels == label).sum() >= size:
                assert (found[labels == label] == code).all()


def test_an_object_goes_to_its_largest_neighbour_however_far_that_reaches(tmp_path: Path) -> None:
    """To the left of a pixel 5 rows of one class, to the right 3 rows which are wider: no window tells."""
    codes = np.full((5, 400), 255, np.uint8)
    codes[:, :20] = 1
    codes[1:4, 21:] = 2
    codes[2, 20] = 3
    assert sieved(tmp_path / "wide", codes, 2)[2, 20] == 2
    codes[:, 40:] = 255
    assert sieved(tmp_path / "narrow", codes, 2)[2, 20] == 1


def test_pixels_that_touch_at_corners_are_apart(tmp_path: Path) -> None:
    codes = np.ones((6, 6), np.uint8)
    codes[2, 2] = codes[3, 3] = 9
    assert objects(sieved(tmp_path, codes, 2)) == [(1, 36)]


def test_a_size_beyond_the_map_changes_nothing(tmp_path: Path) -> None:
    codes = np.array([[1, 1, 2], [3, 1, 255]], np.uint8)
    for size in (6, 7, 10**9):
        np.testing.assert_array_equal(sieved(tmp_path, codes, size), codes)


def test_islands_in_nodata_stay(tmp_path: Path) -> None:
    codes = np.full((6, 6), 255, np.uint8)
    codes[1, 1] = 4
    np.testing.assert_array_equal(sieved(tmp_path, codes, 5), codes)
    np.testing.assert_array_equal(
        sieved(tmp_path / "none", np.full((3, 2), 255, np.uint8), 5), np.full((3, 2), 255)
    )
