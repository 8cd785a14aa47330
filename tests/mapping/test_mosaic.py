"""Several scenes into one map: on one grid, each mapped by itself, seamless where they are one picture."""

import logging
import shutil
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import torch
from affine import Affine
from mapping_helpers import (
    CODES,
    LEVELS,
    Convolutions,
    NearestLevel,
    backscatter,
    expected_codes,
    read_map,
    with_bundle,
    write_scene,
)
from pyproj import Transformer
from rasterio.shutil import copy
from torch import Tensor

from sarcover import map_blocks
from sarcover.errors import SarcoverError
from sarcover.mapping import MapResult, map_scene
from sarcover.models.segmenter import Inputs
from sarcover.scene import open_scene

LEFT, TOP = 400_000, 4_000_000


def at(row: int, column: int, size: float = 10) -> Affine:
    return Affine(size, 0, LEFT + size * column, 0, -size, TOP - size * row)


def mapped(model: Any, scenes: Any, out: Path, **settings: Any) -> MapResult:
    return map_scene(with_bundle(model), scenes, out, device="cpu", **settings)


def cut(folder: Path, db: np.ndarray, rows: list[int], columns: list[int]) -> list[Path]:
    """A scene as files side by side."""
    paths = []
    for top, bottom in pairwise(rows):
        for left, right in pairwise(columns):
            path = folder / f"part_{top:03}_{left:03}.tif"
            paths.append(write_scene(path, db[top:bottom, left:right].copy(), transform=at(top, left)))
    return paths


@pytest.mark.parametrize("combine", ["newest", "first", "average"])
def test_a_scene_cut_into_files_gives_the_map_of_the_scene(tmp_path: Path, combine: Any) -> None:
    """Windows on the cuts see both sides: no seam, for a model that looks around."""
    db = backscatter((118, 140))
    db[30:50, 40:100] = np.nan
    whole = write_scene(tmp_path / "whole.tif", db, transform=at(0, 0))
    expected = mapped(Convolutions(), whole, tmp_path / "expected.tif")
    folder = tmp_path / "parts"
    folder.mkdir()
    cut(folder, db, [0, 61, 118], [0, 47, 95, 140])
    result = mapped(Convolutions(), folder, tmp_path / "map.tif", combine=combine)
    np.testing.assert_array_equal(read_map(result.path), read_map(expected.path))
    assert len(result.scenes) == 6
    assert (result.windows, result.skipped) == (expected.windows, expected.skipped)
    with rasterio.open(result.path) as one, rasterio.open(expected.path) as other:
        assert one.transform == other.transform


def test_files_in_a_vrt_are_one_scene(tmp_path: Path) -> None:
    db = backscatter((60, 70))
    parts = cut(tmp_path, db, [0, 60], [0, 30, 70])
    sources = "".join(
        f'<SimpleSource><SourceFilename relativeToVRT="1">{path.name}</SourceFilename>'
        "<SourceBand>1</SourceBand>"
        f'<SrcRect xOff="0" yOff="0" xSize="{size}" ySize="60"/>'
        f'<DstRect xOff="{left}" yOff="0" xSize="{size}" ySize="60"/></SimpleSource>'
        for path, left, size in zip(parts, (0, 30), (30, 40), strict=True)
    )
    (tmp_path / "all.vrt").write_text(
        '<VRTDataset rasterXSize="70" rasterYSize="60"><SRS>EPSG:32654</SRS>'
        f"<GeoTransform>{LEFT}, 10, 0, {TOP}, 0, -10</GeoTransform>"
        f'<VRTRasterBand dataType="Float32" band="1"><Description>HH</Description>{sources}</VRTRasterBand>'
        "</VRTDataset>"
    )
    result = mapped(NearestLevel(), tmp_path / "all.vrt", tmp_path / "map.tif", unit="db")
    np.testing.assert_array_equal(read_map(result.path), expected_codes(db))


def two_dates(folder: Path) -> tuple[list[Path], list[np.ndarray]]:
    """Two scenes that overlap by half, the second one newer; both with holes."""
    fields = [backscatter((50, 60), seed) for seed in (1, 2)]
    fields[0][20:30, 35:45] = np.nan
    fields[1][5:15, 5:25] = np.nan
    paths = [
        write_scene(folder / f"S1_{date}_{name}.tif", db, transform=at(0, column))
        for name, db, column, date in (("a", fields[0], 0, "20220101"), ("b", fields[1], 30, "20230101"))
    ]
    canvas = [np.full((50, 90), np.nan, np.float32) for _ in fields]
    canvas[0][:, :60] = fields[0]
    canvas[1][:, 30:] = fields[1]
    return paths, canvas


def pixelwise(canvas: list[np.ndarray]) -> np.ndarray:
    """What NearestLevel maps of the first that is valid, by NumPy."""
    db = canvas[0]
    for other in canvas[1:]:
        db = np.where(np.isfinite(db), db, other)
    return expected_codes(db, np.isfinite(db))


def test_the_newest_or_the_first_counts_where_scenes_overlap(tmp_path: Path) -> None:
    paths, canvas = two_dates(tmp_path)
    for combine, scenes, order in (
        ("newest", paths, [1, 0]),
        ("newest", paths[::-1], [1, 0]),
        ("first", paths, [0, 1]),
        ("first", paths[::-1], [1, 0]),
    ):
        out = tmp_path / "map.tif"
        result = mapped(NearestLevel(), scenes, out, combine=combine, overwrite=True)
        np.testing.assert_array_equal(read_map(out), pixelwise([canvas[number] for number in order]))
        assert result.scenes == tuple(paths[number].stem for number in order)


def test_averages_are_of_probabilities(tmp_path: Path) -> None:
    paths, canvas = two_dates(tmp_path)
    mapped(NearestLevel(), paths, tmp_path / "map.tif", combine="average", confidence=True)
    total, count = np.zeros((4, 50, 90)), np.zeros((50, 90))
    for db in canvas:
        valid = np.isfinite(db)
        logits = -((np.nan_to_num(db).astype(np.float64) - np.array(LEVELS)[:, None, None]) ** 2)
        scores = np.exp(logits - logits.max(0))
        total += np.where(valid, scores / scores.sum(0), 0)
        count += valid
    mean = total / np.maximum(count, 1)
    expected = np.where(count > 0, np.array(CODES, np.uint8)[mean.argmax(0)], 255)
    found = read_map(tmp_path / "map.tif")
    np.testing.assert_array_equal(found == 255, expected == 255)
    close = np.sort(mean, 0)[-1] - np.sort(mean, 0)[-2] < 1e-4  # two levels are equally near
    np.testing.assert_array_equal(found[~close], expected[~close])
    percent = read_map(tmp_path / "confidence.tif")
    np.testing.assert_allclose(percent[count > 0], 100 * mean.max(0)[count > 0], atol=0.51)


def test_what_a_newer_scene_covers_is_not_computed_of_the_older(tmp_path: Path) -> None:
    db = backscatter((60, 60))
    old = write_scene(tmp_path / "20200101.tif", db, transform=at(0, 0))
    new = write_scene(tmp_path / "20210101.tif", backscatter((60, 60), 1), transform=at(0, 0))
    model, alone = NearestLevel(), NearestLevel()
    mapped(model, [old, new], tmp_path / "map.tif")
    mapped(alone, new, tmp_path / "alone.tif")
    assert model.passes == alone.passes
    np.testing.assert_array_equal(read_map(tmp_path / "map.tif"), read_map(tmp_path / "alone.tif"))
    both = NearestLevel()
    mapped(both, [old, new], tmp_path / "both.tif", combine="average")
    assert both.passes == 2 * alone.passes


def test_a_window_holds_no_two_acquisitions_where_the_first_is_valid(tmp_path: Path) -> None:
    """Two scenes of constant backscatter, 20 dB apart: a model that looks around sees one of them alone."""
    seen: list[torch.Tensor] = []

    class Watch(Convolutions):
        def forward(self, batch: Any) -> torch.Tensor:
            seen.append(batch["sar"])
            return super().forward(batch)

    newer = write_scene(tmp_path / "20230101.tif", np.full((80, 80), -5, np.float32), transform=at(0, 0))
    older = write_scene(tmp_path / "20220101.tif", np.full((80, 80), -25, np.float32), transform=at(0, 40))
    mapped(
        Watch(), [newer, older], tmp_path / "map.tif", bounds=(LEFT + 100, TOP - 700, LEFT + 350, TOP - 100)
    )
    windows = torch.cat(seen)
    assert (windows == -5).all(), "far from the border of the newer one"


def test_a_date_that_is_not_known_is_the_oldest_and_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fields = [backscatter((30, 30), seed) for seed in (1, 2)]
    undated = write_scene(tmp_path / "a.tif", fields[0])
    dated = write_scene(tmp_path / "b_20150101.tif", fields[1])
    with caplog.at_level(logging.WARNING, "sarcover"):
        mapped(NearestLevel(), [undated, dated], tmp_path / "map.tif")
    assert "no date of acquisition is known of a: older than any other" in caplog.text
    np.testing.assert_array_equal(read_map(tmp_path / "map.tif"), expected_codes(fields[1]))


def test_files_of_one_scene_are_still_one_scene(tmp_path: Path) -> None:
    """Polarisations by their file names; by their band names; in order, where nothing names them."""
    db = backscatter((2, 40, 50))
    model = with_bundle(NearestLevel(sar_bands=2), bands=("HV", "HH"))
    for number, (names, bands) in enumerate(
        (
            (("scene_HH", "scene_HV"), (None, None)),
            (("first", "second"), (("HH",), ("HV",))),
            (("one", "two"), (None, None)),
        )
    ):
        paths = [
            write_scene(tmp_path / f"{name}.tif", values, bands=band)
            for name, values, band in zip(names, db, bands, strict=True)
        ]
        out = tmp_path / f"map_{number}.tif"
        result = map_scene(model, paths, out, device="cpu")
        assert len(result.scenes) == 1
        np.testing.assert_array_equal(read_map(out), expected_codes(db[0 if number == 2 else 1]))


def test_pairs_of_polarisations_of_several_scenes(tmp_path: Path) -> None:
    db = backscatter((2, 2, 40, 50))
    for scene, column in ((0, 0), (1, 50)):
        for band, name in enumerate(("VV", "VH")):
            write_scene(
                tmp_path / f"2022010{scene + 1}_{name}.tif",
                db[scene, band],
                bands=None,
                transform=at(0, column),
            )
    model = with_bundle(NearestLevel(sar_bands=2), bands=("VH", "VV"))
    result = map_scene(model, sorted(tmp_path.glob("*.tif")), tmp_path / "map.tif", device="cpu")
    assert len(result.scenes) == 2
    np.testing.assert_array_equal(
        read_map(tmp_path / "map.tif"), expected_codes(np.concatenate([db[0, 1], db[1, 1]], 1))
    )


def test_scenes_that_lack_a_band_are_refused_by_name(tmp_path: Path) -> None:
    good = write_scene(tmp_path / "a.tif", backscatter((2, 20, 20)), bands=("HH", "HV"))
    poor = write_scene(tmp_path / "b.tif", backscatter((1, 25, 20)), bands=("HH",))
    model = with_bundle(NearestLevel(sar_bands=2), bands=("HH", "HV"))
    with pytest.raises(SarcoverError, match=r"b does not have the bands that the model needs; .*got HH;"):
        map_scene(model, [good, poor], tmp_path / "map.tif", device="cpu")


def test_opened_scenes_and_paths_go_together(tmp_path: Path) -> None:
    db = backscatter((40, 60))
    first, second = cut(tmp_path, db, [0, 40], [0, 25, 60])
    mapped(NearestLevel(), [open_scene(first), second], tmp_path / "map.tif", combine="first")
    np.testing.assert_array_equal(read_map(tmp_path / "map.tif"), expected_codes(db))


def test_parts_of_a_map_fit_together_without_a_seam(tmp_path: Path) -> None:
    """Maps of neighbouring bounds, each made by itself, are the map of both: a grid that was asked for."""
    db = backscatter((150, 160))
    scene = write_scene(tmp_path / "scene.tif", db, transform=at(0, 0))
    asked = {"resolution": 10.0, "margin": 1}
    whole = mapped(Convolutions(), scene, tmp_path / "whole.tif", **asked)
    codes = read_map(whole.path)
    for row, bottom in ((0, 70), (70, 150)):
        for column, right in ((0, 33), (33, 160)):
            bounds = (LEFT + 10 * column, TOP - 10 * bottom, LEFT + 10 * right, TOP - 10 * row)
            out = tmp_path / f"{row}_{column}.tif"
            mapped(Convolutions(), scene, out, bounds=bounds, **asked)
            np.testing.assert_array_equal(read_map(out), codes[row:bottom, column:right])
            with rasterio.open(out) as part:
                assert part.bounds == bounds


def test_bounds_alone_cut_a_part_out_of_the_scenes_own_map(tmp_path: Path) -> None:
    db = backscatter((90, 110))
    scene = write_scene(tmp_path / "scene.tif", db, transform=at(0, 0))
    whole = mapped(Convolutions(), scene, tmp_path / "whole.tif")
    bounds = (LEFT + 305, TOP - 899, LEFT + 5000, TOP - 431)
    part = mapped(Convolutions(), scene, tmp_path / "part.tif", bounds=bounds)
    assert part.shape == (90 - 43, 110 - 30)
    np.testing.assert_array_equal(read_map(part.path), read_map(whole.path)[43:, 30:])
    assert part.windows < whole.windows


def test_an_area_that_no_scene_reaches_costs_nothing_and_is_not_written(tmp_path: Path) -> None:
    model = NearestLevel()
    scene = write_scene(tmp_path / "scene.tif", backscatter((40, 40)), transform=at(0, 0))
    bounds = (LEFT + 10_000, TOP - 400, LEFT + 10_400, TOP)
    out = tmp_path / "new" / "map.tif"
    for grid in ({}, {"resolution": 10.0}, {"crs": "EPSG:32654", "resolution": 20.0}):
        result = mapped(model, scene, out, bounds=bounds, **grid)
        assert not result.covered
        assert result.skipped == result.windows > 0
        assert result.valid_share == 0
    assert model.passes == 0
    assert not out.parent.exists()


def test_a_map_in_another_system_shows_the_classes_where_they_are(tmp_path: Path) -> None:
    """Four quarters of one level each, in UTM, mapped in degrees at half the resolution."""
    db = np.kron(np.array([[-24.0, -18], [-12, -6]]), np.ones((60, 60))).astype(np.float32)
    scene = write_scene(tmp_path / "scene.tif", db, transform=at(0, 0))
    left, top = Transformer.from_crs("EPSG:32654", "EPSG:4326", always_xy=True).transform(LEFT, TOP)
    result = mapped(
        NearestLevel(),
        scene,
        tmp_path / "map.tif",
        crs="EPSG:4326",
        resolution=2e-4,
        bounds=(left - 0.002, top - 0.012, left + 0.015, top + 0.001),
    )
    with rasterio.open(result.path) as raster:
        assert raster.crs == "EPSG:4326"
        assert raster.transform.a == -raster.transform.e == 2e-4
        codes, transform = raster.read(1), raster.transform
    rows, columns = np.mgrid[: codes.shape[0], : codes.shape[1]] + 0.5
    lons, lats = transform.c + 2e-4 * columns, transform.f - 2e-4 * rows
    xs, ys = Transformer.from_crs("EPSG:4326", "EPSG:32654", always_xy=True).transform(lons, lats)
    row, column = (TOP - ys) / 10, (xs - LEFT) / 10
    inside = (row > 3) & (row < 117) & (column > 3) & (column < 117)
    clear = inside & (np.abs(row - 60) > 3) & (np.abs(column - 60) > 3)
    expected = np.array(CODES)[2 * (row > 60) + (column > 60)]
    np.testing.assert_array_equal(codes[clear], expected[clear])
    outside = (row < -3) | (row > 123) | (column < -3) | (column > 123)
    assert (codes[outside] == 255).all()
    assert outside.mean() > 0.2
    assert clear.mean() > 0.3


def test_a_companion_is_laid_on_the_maps_grid_and_around_it(tmp_path: Path) -> None:
    db = backscatter((80, 90))
    reflectance = np.random.default_rng(0).uniform(0, 5, (1, 80, 90)).astype(np.float32)
    scene = write_scene(tmp_path / "scene.tif", db, transform=at(0, 0))
    optical = write_scene(tmp_path / "optical.tif", reflectance, bands=("n",), unit=None, transform=at(0, 0))
    model = with_bundle(NearestLevel(optical_bands=1), optical_bands=("n",))
    bounds = (LEFT + 200, TOP - 600, LEFT + 700, TOP - 100)
    for name, grid in (("own", {}), ("lattice", {"resolution": 10.0})):
        out = tmp_path / f"{name}.tif"
        map_scene(model, scene, out, optical=optical, bounds=bounds, device="cpu", **grid)
        np.testing.assert_array_equal(
            read_map(out), expected_codes(db + reflectance[0])[10:60, 20:70], err_msg=name
        )


def test_blocks_are_the_map(tmp_path: Path) -> None:
    """For those who write their own sink: every pixel once, codes and probabilities."""
    db = backscatter((100, 90))
    db[60:, :40] = np.nan
    parts = cut(tmp_path, db, [0, 100], [0, 50, 90])
    codes = np.zeros((100, 90), np.uint8)
    times = np.zeros((100, 90), int)
    probabilities = np.zeros((4, 100, 90), np.float32)
    model = with_bundle(NearestLevel()).train()
    for block in map_blocks(model, parts, batch=2, device="cpu"):
        rows, columns = block.window.toslices()
        codes[rows, columns] = block.classes
        probabilities[:, rows, columns] = block.probabilities
        times[rows, columns] += 1
        assert block.shape == (100, 90)
        assert block.crs == "EPSG:32654"
        assert block.transform == at(rows.start, columns.start)
    assert (times == 1).all()
    assert model.training
    valid = np.isfinite(db)
    np.testing.assert_array_equal(codes, expected_codes(db, valid))
    assert np.isnan(probabilities[:, ~valid]).all()
    logits = -((db[valid][:, None].astype(np.float64) - np.array(LEVELS)) ** 2)
    scores = np.exp(logits - logits.max(1, keepdims=True))
    np.testing.assert_allclose(probabilities[:, valid].T, scores / scores.sum(1, keepdims=True), atol=1e-5)


def test_blocks_tell_classes_apart_that_are_nearly_alike(tmp_path: Path) -> None:
    """As a map's file does: probabilities of float32 may be alike where logits are not."""

    class NearlyAlike(NearestLevel):
        def segment(self, inputs: Inputs) -> Tensor:
            logits = torch.tensor([0.0, 5e-9, -9.0, -9.0])[:, None, None]
            return logits.expand(len(inputs.sar), 4, *inputs.sar.shape[-2:])

    scene = write_scene(tmp_path / "scene.tif", backscatter((20, 20)), transform=at(0, 0))
    mapped(NearlyAlike(), scene, tmp_path / "map.tif")
    (block,) = map_blocks(with_bundle(NearlyAlike()), scene, device="cpu")
    np.testing.assert_array_equal(block.classes, read_map(tmp_path / "map.tif"))


def test_blocks_say_at_once_what_is_wrong_and_end_where_nothing_is(tmp_path: Path) -> None:
    scene = write_scene(tmp_path / "scene.tif", backscatter((20, 20)), transform=at(0, 0))
    with pytest.raises(SarcoverError, match="batch; expected at least 1"):
        map_blocks(with_bundle(NearestLevel()), scene, batch=0)
    with pytest.raises(TypeError, match="nonsense"):
        map_blocks(with_bundle(NearestLevel()), scene, nonsense=1)
    far = (LEFT + 9000.0, TOP - 100.0, LEFT + 9100.0, float(TOP))
    assert not list(map_blocks(with_bundle(NearestLevel()), scene, bounds=far, device="cpu"))
    model = with_bundle(NearestLevel()).train()
    blocks = map_blocks(model, scene, device="cpu", patch=8, batch=1)
    next(blocks)
    blocks.close()  # type: ignore[attr-defined]
    assert model.training
    broken = with_bundle(NearestLevel())
    broken.levels[1] = float("nan")
    with pytest.raises(SarcoverError, match="not finite, near row 0, column 0"):
        next(iter(map_blocks(broken, scene, device="cpu")))


def test_a_folder_with_products_and_a_moved_copy(tmp_path: Path) -> None:
    """The same file named twice is one scene."""
    db = backscatter((30, 30))
    scene = write_scene(tmp_path / "scene.tif", db)
    folder = tmp_path / "copies"
    folder.mkdir()
    shutil.copy(scene, folder / "copy.tif")
    copy(str(scene), str(folder / "tiled.tif"), driver="GTiff", TILED="YES")
    result = mapped(NearestLevel(), [scene, scene, folder], tmp_path / "map.tif", combine="first")
    assert result.scenes == ("scene", "copy", "tiled")
    np.testing.assert_array_equal(read_map(tmp_path / "map.tif"), expected_codes(db))
