"""The simulated Sentinel-1 and Sentinel-2: files, spectra, and polarisations that tell classes apart."""

import numpy as np
import pytest
import rasterio
from scipy.special import polygamma

from sarcover.config import SimulateSettings
from sarcover.radar import dn_to_db
from sarcover.simulate import simulate
from sarcover.simulate.landcover import BARE, EBF, WATER
from sarcover.simulate.sentinel import BANDS, VH, VV, spectrum

SIZE = 384


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("sentinel") / "land"
    return simulate(
        SimulateSettings(
            out=str(out), size=SIZE, sensor="sentinel", optical=True, cloud_cover=0.0, noise_floor=-40.0
        )
    )


def read(folder, pattern):
    with rasterio.open(next(folder.glob(pattern))) as file:
        return file.read(), file.descriptions, file.tags()


def bands_of(folder):
    """VV and VH in dB."""
    found = [read(folder, f"scenes/*{band}.tif")[0][0] for band in ("VV", "VH")]
    return [dn_to_db(values.astype(np.float64)) for values in found]


def test_files_are_two_polarisations_and_twelve_bands(folder):
    assert sorted(path.name for path in (folder / "scenes").iterdir()) == [
        "N36E138_20220915_VH.tif",
        "N36E138_20220915_VV.tif",
    ]
    optical, names, tags = read(folder, "optical/*.tif")
    assert names == BANDS
    assert optical.shape == (12, SIZE, SIZE)
    assert optical.min() >= 1
    assert tags["SCALE"] == "10000"
    assert read(folder, "scenes/*VV.tif")[2]["SENSOR"] == "simulated C-band"


def test_volumes_scatter_into_vh_and_surfaces_do_not(folder):
    codes = read(folder, "labels/*.tif")[0][0]
    vv, vh = bands_of(folder)
    present = [code for code in np.unique(codes) if (codes == code).sum() > 3000 and code != WATER]
    assert len(present) >= 3
    for code in present:  # slopes brighten and darken both alike
        ratio = np.median((vv - vh)[codes == code])
        assert ratio == pytest.approx(VV[code][0] - VH[code][0], abs=1.0)
    assert VV[EBF][0] - VH[EBF][0] < VV[BARE][0] - VH[BARE][0] - 3
    assert VV[WATER][0] < min(level for code, (level, *_) in VV.items() if code != WATER)


def test_polarisations_speckle_independently(folder):
    """What the ground makes of neighbouring pixels drops out of the ratio of both; speckle does not."""
    vv, vh = (np.diff(db, axis=1) for db in bands_of(folder))
    one = 10 / np.log(10) * np.sqrt(polygamma(1, 4))  # dB, of four looks
    assert np.std(vv - vh) == pytest.approx(2 * one, rel=0.15)  # two pixels in two bands


def test_spectrum_keeps_the_four_bands_and_rises_at_the_red_edge_of_leaves():
    class Ground:
        code = np.array([[EBF, BARE]])

    visible = np.array([[[0.02, 0.12]], [[0.04, 0.15]], [[0.025, 0.175]], [[0.29, 0.23]]], np.float32)
    bands = dict(zip(BANDS, spectrum(visible, Ground()), strict=True))
    for name, band in zip(("B02", "B03", "B04", "B08"), visible, strict=True):
        np.testing.assert_array_equal(bands[name], band)
    share = (bands["B06"] - bands["B04"]) / (bands["B08"] - bands["B04"])
    np.testing.assert_allclose(share, [[0.78, 0.42]], atol=0.02)
    assert bands["B11"][0, 0] < bands["B08"][0, 0]  # water in leaves
    assert bands["B11"][0, 1] > bands["B08"][0, 1]  # dry ground
