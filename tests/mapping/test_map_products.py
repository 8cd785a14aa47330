"""Maps of products as delivered: what their masks mark can be left out; radar geometry lies on the map."""

import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from fleet_helpers import fleet, write_bundle
from mapping_helpers import NearestLevel, backscatter, expected_codes, read_map, with_bundle

from sarcover import SarcoverError
from sarcover.mapping import map_scene
from sarcover.mapping.job import prepare_job

sys.path.append(str(Path(__file__).parents[1] / "scene"))
from ceos_writer import ALOS2, write_ceos

TRANSFORM = Affine(25, 0, 412_000, 0, -25, 3_984_000)


def write(path: Path, values: np.ndarray, transform: Affine = TRANSFORM) -> None:
    height, width = values.shape
    with rasterio.open(
        path, "w", driver="GTiff", count=1, dtype=values.dtype, height=height, width=width,
        crs="EPSG:32654", transform=transform,
    ) as file:  # fmt: skip
        file.write(values, 1)


@pytest.mark.parametrize(("kinds", "lost"), [((), 0), (("ocean",), 70), (("ocean", "layover"), 73)])
def test_what_a_mosaics_mask_marks_is_not_mapped(tmp_path: Path, kinds: tuple[str, ...], lost: int) -> None:
    db = backscatter((50, 70))
    mask = np.full(db.shape, 255, np.uint8)
    mask[20], mask[25, 1:4] = 50, 100
    write(tmp_path / "N35E139_20_sl_HH_F02DAR.tif", np.rint(10 ** ((db + 83) / 20)).astype(np.uint16))
    write(tmp_path / "N35E139_20_mask_F02DAR.tif", mask)
    model = with_bundle(NearestLevel(), radiometry="gamma0")
    map_scene(model, tmp_path, tmp_path / "out.tif", leave_out=kinds, patch=32, device="cpu")
    codes = read_map(tmp_path / "out.tif")
    assert (codes == 255).sum() == lost
    expected = expected_codes(db, (mask != 50) | (not kinds))
    assert (codes == expected).mean() > 0.99


def test_what_no_scene_marks_cannot_be_left_out_of_a_map(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    dn = np.rint(10 ** ((backscatter((50, 70)) + 83) / 20)).astype(np.uint16)
    for name in ("a/N35E139", "b/N35E140"):
        (tmp_path / name).parent.mkdir()
        write(tmp_path / f"{name}_20_sl_HH_F02DAR.tif", dn)
    model, out = with_bundle(NearestLevel(), radiometry="gamma0"), tmp_path / "out.tif"
    kinds, options = ("ocean",), {"patch": 32, "device": "cpu"}
    with pytest.raises(SarcoverError, match="ocean cannot be left out: none of the scenes has a mask"):
        map_scene(model, tmp_path / "a", out, leave_out=kinds, **options)
    write(tmp_path / "b/N35E140_20_mask_F02DAR.tif", np.full(dn.shape, 50, np.uint8))
    map_scene(model, [tmp_path / "a", tmp_path / "b"], out, leave_out=kinds, **options)
    assert "ocean is not left out of 1 of 2 scenes, which do not mark it: N35E139_20" in caplog.text


def test_a_tile_whose_scenes_have_no_mask_is_made_beside_one_whose_scenes_have(tmp_path: Path) -> None:
    dn = np.rint(10 ** ((backscatter((64, 64)) + 83) / 20)).astype(np.uint16)
    (tmp_path / "scenes").mkdir()
    for number in range(2):
        place = Affine(10, 0, 384_000 + 640 * number, 0, -10, 3_840_000)
        write(tmp_path / "scenes" / f"N35E{139 + number}_20_sl_HH_F02DAR.tif", dn, place)
    mask = tmp_path / "scenes" / "N35E140_20_mask_F02DAR.tif"
    given = {"tile": "64", "leave_out": ("ocean",)}
    model, scenes = write_bundle(tmp_path / "bundle"), [str(tmp_path / "scenes")]
    with pytest.raises(SarcoverError, match="ocean cannot be left out: none of the scenes has a mask"):
        fleet(model, scenes, tmp_path / "out", **given)
    write(mask, np.full(dn.shape, 50, np.uint8), place)
    result = fleet(model, scenes, tmp_path / "out", **given)
    assert (result.made - result.empty, result.missing, result.valid_share) == (2, 0, 0.5)
    write(mask, np.full(dn.shape, 255, np.uint8), place)
    result = fleet(model, scenes, tmp_path / "out", overwrite=True, **given)
    assert result.valid_share == 1, "another mask makes another tile"


def test_an_archive_is_the_same_scene_for_the_next_process(tmp_path: Path) -> None:
    """Which unpacks it somewhere else."""
    dn = np.rint(10 ** ((backscatter((50, 70)) + 83) / 20)).astype(np.uint16)
    write(tmp_path / "N35E139_20_sl_HH_F02DAR.tif", dn)
    write(tmp_path / "N35E139_20_mask_F02DAR.tif", np.full(dn.shape, 255, np.uint8))
    with tarfile.open(tmp_path / "N35E139_20.tar.gz", "w:gz") as archive:
        for file in sorted(tmp_path.glob("*.tif")):
            archive.add(file, file.name)
    model = with_bundle(NearestLevel(), radiometry="gamma0")
    first, second = (
        prepare_job(model, tmp_path / "N35E139_20.tar.gz", device="cpu").identity({}) for _ in range(2)
    )
    assert first == second


def test_a_ceos_product_is_mapped_on_its_own_grid(tmp_path: Path) -> None:
    db = backscatter((50, 70))
    corners = [(36.0, 137.9999), (36.0, 138.0086), (35.9945, 138.0086), (35.9945, 137.9999)]
    dn = np.rint(10 ** ((db + 82.3) / 20)).astype(np.uint16)
    write_ceos(tmp_path / "p", {"HH": dn}, corners)
    model = with_bundle(NearestLevel(), radiometry="sigma0")
    map_scene(model, tmp_path / "p" / f"IMG-HH-{ALOS2}", tmp_path / "out.tif", patch=32, device="cpu")
    codes = read_map(tmp_path / "out.tif")
    assert codes.shape[0] >= 50
    assert set(np.unique(codes)) - {255} == set(np.unique(expected_codes(db)))
