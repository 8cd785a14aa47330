"""What other programs find in a map: a valid COG with overviews, colours, class names and provenance."""

import errno
import re
import subprocess
import sys
import textwrap
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch
from affine import Affine
from mapping_helpers import (
    CODES,
    LEGEND,
    NearestLevel,
    backscatter,
    expected_codes,
    read_map,
    with_bundle,
    write_scene,
)
from rasterio.enums import Resampling

from sarcover.bundle import save_bundle
from sarcover.config import MapSettings
from sarcover.errors import SarcoverError
from sarcover.mapping import map_scene, map_with, read_legend
from sarcover.mapping.cog import map_look
from sarcover.mapping.raster import WorkingRaster
from sarcover.models import build_model
from sarcover.scene import open_scene
from sarcover.scene.disk import require_room
from sarcover.scene.raster import RasterFile


def make_map(folder: Path, shape: tuple[int, int] = (60, 70), **settings: object) -> Path:
    scene = write_scene(folder / "scene.tif", backscatter(shape))
    return map_scene(with_bundle(NearestLevel()), scene, folder / "map.tif", device="cpu", **settings).path  # type: ignore[arg-type]


def visible(folder: Path) -> list[str]:
    """What a user sees: the work of an unfinished map waits in a hidden folder."""
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


def test_a_map_says_its_colours_classes_legend_and_origin(tmp_path: Path) -> None:
    scene = write_scene(
        tmp_path / "S1_20220905.tif", backscatter((60, 70)), tags={"ACQUIRED": "2022-09-05T03:00:00"}
    )
    map_scene(with_bundle(NearestLevel()), scene, tmp_path / "map.tif", device="cpu")
    with rasterio.open(tmp_path / "map.tif") as raster:
        tags, band_tags, colours = raster.tags(), raster.tags(1), raster.colormap(1)
        assert raster.nodata == 255
        assert raster.dtypes == ("uint8",)
        assert raster.descriptions == ("land cover",)
    assert [colours[code][:3] for code in CODES] == [
        (0, 0, 255),
        (0, 255, 0),
        (255, 255, 0),
        (255, 0, 16),
    ]
    assert colours[255][3] == 0, "nodata is transparent"
    assert {key: band_tags[key] for key in band_tags if key.startswith("CLASS_")} == {
        f"CLASS_{code}": name for code, name in zip(CODES, LEGEND.names, strict=True)
    }
    assert tags["TIFFTAG_SOFTWARE"].startswith("sarcover ")
    assert tags["TIFFTAG_DATETIME"] == "2022:09:05 03:00:00"
    assert tags["SARCOVER_MODEL"] == "nearest-level tiny"
    assert tags["SARCOVER_LEGEND"] == "four-levels"
    assert tags["SARCOVER_SCENE"] == "S1_20220905"
    assert read_legend(tmp_path / "map.tif") == LEGEND
    with rasterio.open(tmp_path / "map.tif", "r+", IGNORE_COG_LAYOUT_BREAK="YES") as raster:
        raster.update_tags(SARCOVER_LEGEND_JSON="{")
    with pytest.raises(SarcoverError, match=r"its legend .* is damaged"):
        read_legend(tmp_path / "map.tif")


def test_the_fingerprint_tells_models_apart(tmp_path: Path) -> None:
    scene = write_scene(tmp_path / "scene.tif", backscatter((9, 9)))
    found = []
    for number, level in enumerate((-24.0, -24.0, -23.0)):
        model = with_bundle(NearestLevel())
        model.levels[0] = level
        map_scene(model, scene, tmp_path / f"{number}.tif", device="cpu")
        with rasterio.open(tmp_path / f"{number}.tif") as raster:
            found.append(raster.tags()["SARCOVER_MODEL_SHA256"])
    assert found[0] == found[1] != found[2]


def test_gdal_finds_the_category_names(tmp_path: Path) -> None:
    """GDAL's virtual format writes out what GDAL knows of a raster."""
    from rasterio.shutil import copy

    copy(str(make_map(tmp_path)), str(tmp_path / "view.vrt"), driver="VRT")
    names = (tmp_path / "view.vrt").read_text().split("<CategoryNames>")[1].split("</CategoryNames>")[0]
    categories = [line.strip() for line in names.strip().splitlines()]
    assert len(categories) == max(CODES) + 1
    for code, name in zip(CODES, LEGEND.names, strict=True):
        assert categories[code] == f"<Category>{name}</Category>"


@pytest.mark.parametrize(
    ("shape", "levels"),
    [((1, 1), [1]), ((1, 100), [2]), ((5, 7), [2]), ((600, 40), [2]), ((1100, 500), [2, 4])],
)
def test_a_map_is_a_valid_cog_with_overviews(
    tmp_path: Path, shape: tuple[int, int], levels: list[int]
) -> None:
    path = make_map(tmp_path, shape)
    with rasterio.open(path) as raster:
        assert raster.overviews(1) == levels
        assert raster.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
    cogeo = pytest.importorskip("rio_cogeo", reason="rio-cogeo is not installed")
    if shape != (1, 1):  # whose overview cannot be smaller than it is, which the validator asks for
        valid, errors, _ = cogeo.cog_validate(path)
        assert valid, errors


def test_overviews_show_the_commonest_class_and_ignore_nodata(tmp_path: Path) -> None:
    """2 x 2 pixels: three of one class and one of another; two of nodata and two of a class."""
    codes = np.array([[3, 3, 255, 255], [3, 7, 40, 40]], dtype=np.uint8)
    path = tmp_path / "raw.tif"
    with WorkingRaster(
        path, tmp_path / "map.tif", (2, 4), None, Affine.identity(), map_look(LEGEND, {})
    ) as raster:
        raster.write(codes, 0, 0)
        raster.publish(tmp_path / "map.tif")
    with rasterio.open(tmp_path / "map.tif", overview_level=0) as overview:
        np.testing.assert_array_equal(overview.read(1), [[3, 40]])


def test_a_map_leaves_nothing_else_behind(tmp_path: Path) -> None:
    make_map(tmp_path, confidence=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "confidence.qml",
        "confidence.tif",
        "map.json",
        "map.qml",
        "map.tif",
        "map.tif.aux.xml",
        "scene.tif",
    ]
    with rasterio.open(tmp_path / "confidence.tif") as raster:
        assert raster.nodata == 255
        assert raster.overviews(1) == [2]
        assert raster.descriptions == ("probability of the mapped class",)
        assert (raster.scales, raster.offsets) == ((0.01,), (0.0,))


def test_existing_results_are_kept_unless_told_otherwise(tmp_path: Path) -> None:
    path = make_map(tmp_path)
    before = path.read_bytes()
    db = backscatter((30, 30), seed=9)
    other = write_scene(tmp_path / "other.tif", db)
    model = with_bundle(NearestLevel())
    with pytest.raises(SarcoverError, match=r"map\.tif exists already; .*--overwrite"):
        map_scene(model, other, path, device="cpu")
    (tmp_path / "new_confidence.tif").write_text("mine")
    with pytest.raises(SarcoverError, match=r"new_confidence\.tif exists already"):
        map_scene(model, other, tmp_path / "new.tif", confidence=True, device="cpu")
    assert path.read_bytes() == before
    map_scene(model, other, path, device="cpu", overwrite=True)
    np.testing.assert_array_equal(read_map(path), expected_codes(db))


def test_a_map_never_replaces_its_scene_or_a_folder(tmp_path: Path) -> None:
    scene = write_scene(tmp_path / "scene.tif", backscatter((9, 9)))
    before = scene.read_bytes()
    with pytest.raises(SarcoverError, match="is the scene to be mapped"):
        map_scene(with_bundle(NearestLevel()), scene, scene, device="cpu", overwrite=True)
    assert scene.read_bytes() == before
    with pytest.raises(SarcoverError, match=r"is a folder; .*map\.tif"):
        map_scene(with_bundle(NearestLevel()), scene, tmp_path, device="cpu", overwrite=True)


def test_a_map_never_replaces_companion_mask_or_model(tmp_path: Path) -> None:
    db = backscatter((40, 40))
    scene = write_scene(tmp_path / "scene.tif", db)
    mask = write_scene(tmp_path / "mask.tif", np.ones((40, 40), np.uint8), unit=None)
    optical = write_scene(
        tmp_path / "confidence.tif", np.full((2, 40, 40), 900, np.uint16), bands=("red", "nir"), unit=None
    )
    torch.manual_seed(0)
    model = build_model("unet", size="tiny", sar_bands=1, optical_bands=2, num_classes=4)
    model.bundle = save_bundle(
        tmp_path / "bundle", model, kind="segmenter", legend=LEGEND, bands=("HH",), unit="db",
        radiometry="unknown", optical_bands=("red", "nir"), patch=32, training={}, metrics=None,
    )  # fmt: skip
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    again = {"optical": optical, "device": "cpu", "overwrite": True}
    with pytest.raises(SarcoverError, match=r"confidence\.tif is an optical companion of the scene"):
        map_scene(model, scene, tmp_path / "map.tif", confidence=True, **again)  # type: ignore[arg-type]
    masked = replace(open_scene(scene), mask=RasterFile(mask))
    with pytest.raises(SarcoverError, match=r"mask\.tif is the mask of the scene"):
        map_scene(model, masked, mask, **again)  # type: ignore[arg-type]
    weights = tmp_path / "bundle" / "model.safetensors"
    with pytest.raises(SarcoverError, match=r"model\.safetensors is a file of the model"):
        map_with(MapSettings(str(weights.parent), scenes=(str(scene),), out=str(weights), overwrite=True))
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_a_disk_that_is_full_for_the_class_names_leaves_no_map(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sarcover.mapping.cog as cog

    def full(legend: object) -> str:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(cog, "category_names", full)
    with pytest.raises(SarcoverError, match=r"map\.tif\.aux\.xml: the disk is full"):
        make_map(tmp_path, confidence=True)
    assert visible(tmp_path) == ["scene.tif"]


def test_an_interrupted_map_leaves_no_file_under_its_name(tmp_path: Path) -> None:
    class Interrupted(NearestLevel):
        def segment(self, inputs):  # type: ignore[no-untyped-def]
            if self.passes == 2:
                raise KeyboardInterrupt
            return super().segment(inputs)

    scene = write_scene(tmp_path / "scene.tif", backscatter((200, 200)))
    with pytest.raises(KeyboardInterrupt):
        map_scene(with_bundle(Interrupted()), scene, tmp_path / "map.tif", device="cpu")
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("sarcover-")]
    assert visible(tmp_path) == ["scene.tif"]


def test_room_is_asked_for_before_the_work_begins(tmp_path: Path) -> None:
    with pytest.raises(
        SarcoverError, match=r"map\.tif cannot be written: the disk is full; expected \d+ MiB"
    ):
        require_room(tmp_path / "map.tif", 1 << 60)


def test_a_disk_that_fills_up_is_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    """A limit on the size of files stands for the end of the disk.

    Random bytes, which compression makes larger, let it come anywhere: while pixels are written, while
    overviews are made, in the middle of the COG, and at its very end. GDAL itself reports only some of these.
    """
    pytest.importorskip("resource", reason="limits on file sizes need POSIX")
    program = textwrap.dedent(
        """
        import resource, signal, sys
        from pathlib import Path
        import numpy as np
        from affine import Affine
        from sarcover.errors import SarcoverError
        from sarcover.files import atomic_file
        from sarcover.mapping.raster import WorkingRaster, Look, working_bytes

        folder, out = Path(sys.argv[1]), Path(sys.argv[1]) / "map.tif"
        noise = np.random.default_rng(0).integers(0, 256, (1500, 1500), dtype=np.uint8)
        look = Look({}, "noise")

        def attempt(limit):
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
            raw = folder / "raw.tif"
            try:
                with (
                    atomic_file(out) as part,
                    WorkingRaster(raw, out, noise.shape, None, Affine.identity(), look) as raster,
                ):
                    raster.write(noise, 0, 0)
                    raster.publish(part)
                print(f"written {out.stat().st_size}", flush=True)
            except SarcoverError as error:
                print(f"refused {error}", flush=True)
            for file in (raw, raw.with_suffix(".plain.tif")):
                file.unlink(missing_ok=True)
            print(sorted(path.name for path in folder.iterdir()), flush=True)

        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        attempt(resource.RLIM_INFINITY)
        size = out.stat().st_size
        out.unlink()
        needed = working_bytes(noise.shape)
        assert size > needed + 200_000
        for limit in (needed // 3, noise.size + 100_000, needed - 100_000, needed + 100_000, size - 100):
            attempt(limit)
        """
    )
    folder = tmp_path / "disk"
    folder.mkdir()
    command = [sys.executable, "-c", program, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    lines = done.stdout.splitlines()
    assert lines[0].startswith("written ")
    assert lines[1] == "['map.tif']"
    assert len(lines) == 2 + 2 * 5
    for refused, names in zip(lines[2::2], lines[3::2], strict=True):
        assert re.search(r"map\.tif(:| cannot be written:) the disk", refused), refused
        assert refused.endswith("free some space and run again")
        assert names == "[]"


def test_what_a_file_does_not_hold_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """GDAL may end without an error: the published file is counted against what was written."""
    import sarcover.mapping.raster as room

    def lossy_copy(source: str, target: str, **options: object) -> None:
        with rasterio.open(source) as raster:
            values, profile = raster.read(), raster.profile
        values[:, :3] = 255
        with rasterio.open(target, "w", **profile) as raster:
            raster.write(values)

    monkeypatch.setattr(room, "copy", lossy_copy)
    scene = write_scene(tmp_path / "scene.tif", backscatter((20, 20)))
    with pytest.raises(SarcoverError, match="does not hold what was written"):
        map_scene(with_bundle(NearestLevel()), scene, tmp_path / "map.tif", device="cpu")
    assert visible(tmp_path) == ["scene.tif"]


def test_confidence_overviews_are_averages() -> None:
    from sarcover.mapping.cog import layer_look

    assert layer_look("confidence", LEGEND, {}).resampling == Resampling.average
