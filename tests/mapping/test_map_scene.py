"""A map is what the model says of each pixel, on the scene's grid, whatever the sizes, files and windows."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import torch
from affine import Affine
from mapping_helpers import (
    CODES,
    LEGEND,
    Convolutions,
    NearestLevel,
    backscatter,
    expected_codes,
    read_map,
    with_bundle,
    write_scene,
)
from rasterio.windows import Window
from torch import Tensor

import sarcover
from sarcover.bundle import save_bundle
from sarcover.config import MapSettings
from sarcover.errors import SarcoverError
from sarcover.mapping import map_scene, map_with, predict, tiling
from sarcover.mapping.stream import pieces
from sarcover.models import build_model
from sarcover.models.segmenter import Inputs


@pytest.mark.parametrize("shape", [(1, 1), (5, 7), (32, 32), (33, 33), (1, 100), (300, 517)])
def test_scenes_of_any_size_map_to_the_last_border_pixel(tmp_path: Path, shape: tuple[int, int]) -> None:
    db = backscatter(shape)
    scene = write_scene(tmp_path / "scene.tif", db)
    result = map_scene(with_bundle(NearestLevel()), scene, tmp_path / "map.tif", device="cpu")
    codes = read_map(result.path)
    np.testing.assert_array_equal(codes, expected_codes(db))
    assert result.shape == shape
    assert list(result.counts.values()) == [int((codes == code).sum()) for code in CODES]
    assert list(result.counts) == LEGEND.names
    assert result.valid_share == 1.0
    assert result.windows == len(tiling.windows(*shape, 32, 8))


@pytest.mark.parametrize(
    ("crs", "transform"),
    [
        ("EPSG:32654", Affine(10, 0, 400_000, 0, -10, 4_000_000)),
        ("EPSG:4326", Affine(1 / 12_000, 0, 138, 0, -1 / 12_000, 36)),
        ("EPSG:32654", Affine(8, 6, 400_000, 6, -8, 4_000_000)),  # rotated
        (None, Affine(2, 0, 30, 0, -2, 50)),
        (None, None),
    ],
)
def test_the_map_lies_exactly_where_the_scene_lies(tmp_path: Path, crs: Any, transform: Any) -> None:
    db = backscatter((50, 70))
    scene = write_scene(tmp_path / "scene.tif", db, crs=crs, transform=transform)
    map_scene(with_bundle(NearestLevel()), scene, tmp_path / "map.tif", device="cpu")
    with rasterio.open(scene) as source, rasterio.open(tmp_path / "map.tif") as mapped:
        assert mapped.crs == source.crs
        assert mapped.transform == source.transform
        assert mapped.shape == source.shape
    np.testing.assert_array_equal(read_map(tmp_path / "map.tif"), expected_codes(db))


@pytest.mark.parametrize("flipped", [(-1, 1), (1, -1), (-1, -1)])
def test_a_scene_from_south_to_north_or_east_to_west_maps_like_its_north_up_twin(
    tmp_path: Path, flipped: tuple[int, int]
) -> None:
    """The model sees the ground as it was trained to, and the map is from north to south."""
    db = backscatter((83, 101))
    model = with_bundle(Convolutions())
    north_up = Affine(10, 0, 400_000, 0, -10, 4_000_000)
    twin = write_scene(tmp_path / "twin.tif", db, transform=north_up)
    down, right = flipped
    corner = 400_000 + (0 if right > 0 else 1010), 4_000_000 - (0 if down > 0 else 830)
    odd = Affine(10 * right, 0, corner[0], 0, -10 * down, corner[1])
    scene = write_scene(tmp_path / "scene.tif", db[::down, ::right].copy(), transform=odd)
    for name, path in (("expected", twin), ("map", scene)):
        map_scene(model, path, tmp_path / f"{name}.tif", device="cpu")
    np.testing.assert_array_equal(read_map(tmp_path / "map.tif"), read_map(tmp_path / "expected.tif"))
    with rasterio.open(tmp_path / "map.tif") as mapped:
        assert mapped.transform == north_up


def test_nodata_islands_stay_nodata_exactly_and_empty_windows_cost_nothing(tmp_path: Path) -> None:
    db = backscatter((150, 170))
    valid = np.random.default_rng(1).uniform(size=db.shape) > 0.05
    valid[:60, :90] = False
    valid[149, 169] = False
    scene = write_scene(tmp_path / "scene.tif", np.where(valid, db, np.nan).astype(np.float32))
    result = map_scene(with_bundle(NearestLevel()), scene, tmp_path / "map.tif", device="cpu")
    np.testing.assert_array_equal(read_map(result.path), expected_codes(db, valid))
    corners = tiling.windows(150, 170, 32, 8)
    assert result.skipped == sum(not valid[r : r + 32, c : c + 32].any() for r, c in corners) > 0
    assert result.valid_share == pytest.approx(valid.mean())


def test_a_scene_without_a_valid_pixel_gives_a_map_of_nodata_and_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    scene = write_scene(tmp_path / "empty.tif", np.full((90, 40), np.nan, np.float32))
    model = NearestLevel()
    with caplog.at_level(logging.WARNING, "sarcover"):
        result = map_scene(with_bundle(model), scene, tmp_path / "map.tif", confidence=True, device="cpu")
    assert (read_map(result.path) == 255).all()
    assert (read_map(tmp_path / "confidence.tif") == 255).all()
    assert model.passes == 0
    assert result.skipped == result.windows
    assert "empty has no valid pixel" in caplog.text


@pytest.mark.parametrize(
    "profile",
    [
        {"tiled": True, "blockxsize": 64, "blockysize": 64, "compress": "deflate"},
        {"tiled": False, "blockysize": 1},
    ],
)
def test_the_layout_of_the_scenes_file_does_not_matter(tmp_path: Path, profile: dict[str, Any]) -> None:
    db = backscatter((130, 210))
    scene = write_scene(tmp_path / "scene.tif", db, **profile)
    map_scene(with_bundle(NearestLevel()), scene, tmp_path / "map.tif", device="cpu")
    np.testing.assert_array_equal(read_map(tmp_path / "map.tif"), expected_codes(db))


def test_digital_numbers_are_calibrated_and_zero_is_nodata(tmp_path: Path) -> None:
    dn = np.random.default_rng(2).integers(0, 9000, (80, 90)).astype(np.uint16)
    dn[:10] = 0
    scene = write_scene(tmp_path / "dn.tif", dn, unit=None)
    model = with_bundle(NearestLevel(), unit="dn")
    map_scene(model, scene, tmp_path / "map.tif", unit="dn", device="cpu")
    db = 20 * np.log10(np.maximum(dn, 1).astype(np.float64)) - 83
    np.testing.assert_array_equal(read_map(tmp_path / "map.tif"), expected_codes(db, dn > 0))


def test_one_file_a_polarisation_in_any_order(tmp_path: Path) -> None:
    first, second = backscatter((40, 50), 1), backscatter((40, 50), 2)
    paths = [
        write_scene(tmp_path / f"scene_{name}.tif", values, bands=None)
        for name, values in (("HH", first), ("HV", second))
    ]
    model = with_bundle(NearestLevel(sar_bands=2), bands=("HV", "HH"))
    map_scene(model, paths, tmp_path / "map.tif", device="cpu")
    np.testing.assert_array_equal(read_map(tmp_path / "map.tif"), expected_codes(second))


def test_an_opened_scene_maps_too(tmp_path: Path) -> None:
    db = backscatter((2, 40, 50))
    scene = sarcover.open_scene(write_scene(tmp_path / "scene.tif", db, bands=("VV", "HH")))
    map_scene(with_bundle(NearestLevel()), scene, str(tmp_path / "map.tif"), device="cpu")
    np.testing.assert_array_equal(read_map(tmp_path / "map.tif"), expected_codes(db[1]))


def test_the_batch_size_does_not_change_the_map(tmp_path: Path) -> None:
    scene = sarcover.open_scene(write_scene(tmp_path / "scene.tif", backscatter((140, 150))))
    rows, columns = (tiling.axis(length, 32, 8) for length in scene.shape)
    model = with_bundle(Convolutions()).eval()
    maps, logits = [], []
    for batch in (1, 3, 8):
        map_scene(model, scene, tmp_path / f"{batch}.tif", batch=batch, device="cpu")
        maps.append(read_map(tmp_path / f"{batch}.tif"))
        logits.append(whole_logits(model, scene, rows, columns, batch=batch))
    for other in (1, 2):
        np.testing.assert_allclose(logits[other], logits[0], atol=1e-5)
        np.testing.assert_array_equal(maps[other], maps[0])


def test_the_number_of_threads_does_not_change_the_map(tmp_path: Path) -> None:
    scene = sarcover.open_scene(write_scene(tmp_path / "scene.tif", backscatter((100, 90))))
    rows, columns = (tiling.axis(length, 32, 8) for length in scene.shape)
    model = with_bundle(Convolutions()).eval()
    before = torch.get_num_threads()
    logits = []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            logits.append(whole_logits(model, scene, rows, columns, batch=4))
    finally:
        torch.set_num_threads(before)
    for other in logits[1:]:
        np.testing.assert_allclose(other, logits[0], atol=1e-5)


@pytest.mark.parametrize("blend", ["hann", "cosine", "linear", "none"])
def test_tiled_equals_whole_where_the_margin_covers_the_receptive_field(
    tmp_path: Path, blend: tiling.Blend
) -> None:
    """Radius 4: a margin of 4 gives the logits of one forward pass over the scene, to 1e-5; none does not."""
    db = backscatter((61, 93))
    scene = sarcover.open_scene(write_scene(tmp_path / "scene.tif", db))
    model = Convolutions().eval()
    with torch.inference_mode():
        whole = model({"sar": torch.from_numpy(db[None, None])})[0].numpy()

    def tiled(margin: int) -> np.ndarray:
        rows, columns = (tiling.axis(length, 32, 10, blend, margin) for length in scene.shape)
        return whole_logits(model, scene, rows, columns, batch=4)

    np.testing.assert_allclose(tiled(4), whole, atol=1e-5)
    assert np.abs(tiled(0) - whole).max() > 1e-2


def whole_logits(model: Any, scene: Any, rows: tiling.Axis, columns: tiling.Axis, batch: int) -> np.ndarray:
    def read(row: int, column: int, height: int, width: int) -> dict[str, np.ndarray]:
        sar, valid = scene.read(Window(column, row, width, height))
        return {"sar": sar, "valid": valid}

    whole = np.full((4, *scene.shape), np.nan, np.float32)
    for piece in pieces(model, read, rows, columns, batch=batch, device=torch.device("cpu")):
        assert piece.logits is not None
        height, width = piece.valid.shape
        whole[:, piece.row : piece.row + height, piece.column : piece.column + width] = piece.logits.numpy()
    return whole


def test_confidence_is_the_softmax_of_the_mapped_class_in_percent(tmp_path: Path) -> None:
    db = backscatter((40, 60))
    valid = np.ones(db.shape, bool)
    valid[10:20, 30:] = False
    scene = write_scene(tmp_path / "scene.tif", np.where(valid, db, np.nan).astype(np.float32))
    result = map_scene(
        with_bundle(NearestLevel()), scene, tmp_path / "map.tif", confidence=True, device="cpu"
    )
    logits = -((db[..., None].astype(np.float64) - np.array([-24.0, -18.0, -12.0, -6.0])) ** 2)
    scores = np.exp(logits - logits.max(-1, keepdims=True))
    percent = 100 * (scores.max(-1) / scores.sum(-1))
    assert result.confidence == tmp_path / "confidence.tif"
    mapped = read_map(tmp_path / "confidence.tif")
    assert (mapped[~valid] == 255).all()
    np.testing.assert_allclose(mapped[valid], percent[valid], atol=0.51)
    assert mapped[valid].min() >= 25
    assert mapped[valid].max() == 100


def test_half_precision_maps_nearly_the_same(tmp_path: Path) -> None:
    scene = write_scene(tmp_path / "scene.tif", backscatter((64, 64)))
    model = with_bundle(Convolutions())
    for precision in ("float32", "bf16"):
        map_scene(model, scene, tmp_path / f"{precision}.tif", precision=precision, device="cpu")
    assert (read_map(tmp_path / "float32.tif") == read_map(tmp_path / "bf16.tif")).mean() > 0.95


def test_mapping_leaves_the_model_and_the_process_as_they_were(tmp_path: Path) -> None:
    scene = write_scene(tmp_path / "scene.tif", backscatter((20, 20)))
    model = with_bundle(NearestLevel()).train()
    map_scene(model, scene, tmp_path / "map.tif", device="cpu")
    assert model.training
    assert torch.tensor(1e-310, dtype=torch.float64) * 1 > 0


def test_the_verb_loads_the_model_and_maps(tmp_path: Path) -> None:
    """map_with: a bundle on disk, settings as the command line gives them."""
    db = backscatter((70, 80))
    scene = write_scene(tmp_path / "scene.tif", db)
    model = build_model("unet", size="tiny", num_classes=4)
    save_bundle(
        tmp_path / "bundle", model, kind="segmenter", legend=LEGEND, bands=("HH",), unit="db",
        radiometry="unknown", optical_bands=(), patch=64, training={}, metrics=None,
    )  # fmt: skip
    out = tmp_path / "new" / "map.tif"
    settings = MapSettings(str(tmp_path / "bundle"), str(out), (str(scene),), batch=2, device="cpu")
    result = map_with(settings)
    assert result.path == out
    codes = read_map(out)
    assert set(np.unique(codes)) <= set(CODES)
    loaded = sarcover.load_model(tmp_path / "bundle")
    map_scene(loaded, scene, tmp_path / "again.tif", overlap=16, batch=2, device="cpu")
    np.testing.assert_array_equal(read_map(tmp_path / "again.tif"), codes)
    with pytest.raises(SarcoverError, match="exists already"):
        map_with(settings)


def test_progress_is_told_every_window_and_begins_where_a_run_broke_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[int, list[int]]] = []

    @contextmanager
    def watched(title: str, total: int) -> Iterator[Any]:
        told.append((total, []))
        yield told[-1][1].append

    class Stops(NearestLevel):
        stop = 3

        def segment(self, inputs: Inputs) -> Tensor:
            if self.passes == self.stop:
                raise KeyboardInterrupt
            return super().segment(inputs)

    monkeypatch.setattr(predict, "progress", watched)
    scene = write_scene(tmp_path / "scene.tif", backscatter((100, 120)))
    model = with_bundle(Stops())
    with pytest.raises(KeyboardInterrupt):
        map_scene(model, scene, tmp_path / "map.tif", batch=3, device="cpu")
    model.stop = -1
    result = map_scene(model, scene, tmp_path / "map.tif", batch=3, device="cpu")
    windows = len(tiling.windows(100, 120, 32, 8))
    assert [total for total, _ in told] == [windows, windows]
    assert told[0][1] == [0, 3, 2, 3]
    assert told[1][1][0] == result.resumed == 8
    assert sum(told[1][1]) == windows
