"""Products as delivered, some of them not whole, without the mask asked for, or on a disk that is full."""

import errno
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
from patch_helpers import distinct_dn, make_store, write_raster
from pyproj import Transformer

from sarcover import SarcoverError

sys.path.append(str(Path(__file__).parents[1] / "scene"))
import ceos_writer as ceos
import safe_writer as safe

TO_DEGREES = Transformer.from_crs(32654, 4326, always_xy=True).transform
CORNERS = [TO_DEGREES(400_000 + x, 3_950_000 - y)[::-1] for x, y in ((5, 5), (315, 5), (315, 315), (5, 315))]


def ground(line, pixel):
    """Longitude and latitude of a pixel of 10 m."""
    return TO_DEGREES(412_000 + 10 * (pixel + 0.5), 3_984_000 - 10 * (line + 0.5))


def ceos_products(folder, number=3):
    for n in range(number):
        product = f"ALOS20410628{n}0-150226-UBSR2.1GUD"
        ceos.write_ceos(folder / f"p{n}", {"HH": distinct_dn(32, 32, first=500)}, CORNERS, product=product)
    return folder


def safe_products(folder, number=2):
    dn = {"VV": np.random.default_rng(0).integers(300, 900, (60, 80)).astype(np.uint16)}
    return [safe.write_grd(folder, dn, ground, name=f"{safe.NAME[:-1]}{n}") for n in range(number)]


def mosaic_tile(folder, tile, mask=True):
    """A tile of which row 0 is ocean; not more of it than that where there is no mask."""
    codes = np.full((16, 16), 255, np.uint8)
    codes[0] = 50
    write_raster(folder / f"{tile}_20_sl_HH_F02DAR.tif", distinct_dn(16, 16, first=500))
    if mask:
        write_raster(folder / f"{tile}_20_mask_F02DAR.tif", codes)
    return folder


def test_a_ceos_product_without_its_leader_is_listed_and_the_others_are_prepared(tmp_path):
    folder = ceos_products(tmp_path / "scenes")
    next((folder / "p1").glob("LED-*")).unlink()
    store, summary = make_store(tmp_path / "store", folder)
    assert len(store.meta.scenes) == 2
    (failed,) = summary["failed"]
    assert "LED-ALOS2041062810" in failed["error"]
    assert failed["windows"] is None


@pytest.mark.parametrize("lost", ["calibration-*", "../*.xml", "../../measurement/*"])
def test_a_safe_product_that_is_not_whole_is_listed_and_the_others_are_prepared(tmp_path, lost):
    whole, broken = safe_products(tmp_path / "scenes")
    for path in (broken / "annotation" / "calibration").resolve().glob(lost):
        path.unlink()
    store, summary = make_store(tmp_path / "store", tmp_path / "scenes")
    assert [scene["name"] for scene in store.meta.scenes] == [whole.stem]
    (failed,) = summary["failed"]
    assert failed["name"] == str(broken)
    assert "is not a whole product" in failed["error"]


def test_a_safe_product_whose_tables_make_no_sense_is_listed(tmp_path):
    _, broken = safe_products(tmp_path / "scenes")
    (table,) = (broken / "annotation" / "calibration").glob("calibration-*")
    table.write_text("<calibration/>")
    store, summary = make_store(tmp_path / "store", tmp_path / "scenes")
    assert len(store.meta.scenes) == 1
    assert "is no table" in summary["failed"][0]["error"]


def test_products_of_another_kind_are_still_refused(tmp_path):
    safe_products(tmp_path / "scenes", 1)
    (tmp_path / "scenes" / "S1A_IW_SLC__1SDV_20220901T205432.SAFE").mkdir()
    with pytest.raises(SarcoverError, match="is no Sentinel-1 GRD product"):
        make_store(tmp_path / "store", tmp_path / "scenes")


def test_scenes_of_which_something_cannot_be_left_out_are_named(tmp_path):
    tiles = [mosaic_tile(tmp_path / "a", "N35E139"), mosaic_tile(tmp_path / "b", "N35E140", mask=False)]
    store, summary = make_store(tmp_path / "store", tiles, leave_out=("ocean",))
    assert "ocean is not left out of 1 of 2 scenes, which do not mark it: N35E140_20" in summary["warnings"]
    lost = {row["scene"]: int((~store.read(n)["valid"]).sum()) for n, row in store.index.iterrows()}
    assert lost == {"N35E139_20": 16, "N35E140_20": 0}
    with pytest.raises(SarcoverError, match="ocean cannot be left out: none of the scenes has a mask"):
        make_store(tmp_path / "none", tiles[1], leave_out=("ocean",))
    _, summary = make_store(tmp_path / "all", tiles[0], leave_out=("ocean", "shadow"))
    assert not any("left out" in warning for warning in summary["warnings"])


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_disk_that_fills_up_while_archives_are_unpacked_ends_the_run(tmp_path, monkeypatch, code):
    archives = []
    for tile in ("N35E138", "N35E139"):
        archives.append(tmp_path / f"{tile}.tar.gz")
        with tarfile.open(archives[-1], "w:gz") as tar:
            for path in sorted(mosaic_tile(tmp_path / tile, tile).iterdir()):
                tar.add(path, path.name)
    extract, done = tarfile.TarFile.extract, []

    def until_full(self, member, *args, **kwargs):
        if len(done) == 3:
            raise OSError(code, "no room")
        done.append(member.name)
        return extract(self, member, *args, **kwargs)

    monkeypatch.setattr(tarfile.TarFile, "extract", until_full)
    with pytest.raises(SarcoverError, match=r"N35E139\.tar\.gz cannot be unpacked: the disk of .* is full"):
        make_store(tmp_path / "store", archives)
    assert not (tmp_path / "store").exists()
