"""The three real L-band scenes with the splits they come with."""

import numpy as np
import pytest
import rasterio
from patch_helpers import make_store, write_legend

SCENES = {"airsar_flevoland": 14, "airsar_sanfrancisco": 5, "alos1_sanfrancisco": 4}


@pytest.mark.parametrize("name", SCENES)
@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_every_labelled_pixel_of_a_real_scene_is_in_its_split_once(shared_data, tmp_path, name):
    folder = shared_data / name
    store, summary = make_store(
        tmp_path / "store",
        folder / "hh_hv_vv.tif",
        labels=folder / "label.tif",
        legend=write_legend(tmp_path / "legend.yaml", tuple(range(1, SCENES[name] + 1))),
        split="raster",
        split_raster=folder / "split.tif",
        patch=256,
        min_valid=0.1,
        min_labelled=0.001,
        bands=("HH",),
    )
    with rasterio.open(folder / "hh_hv_vv.tif") as scene:
        power = scene.read(1)
    label, split = (rasterio.open(folder / f"{layer}.tif").read(1) for layer in ("label", "split"))
    for code, part in ((2, "val"), (3, "test")):
        counted = np.bincount(label[(split == code) & (label > 0)], minlength=SCENES[name] + 1)[1:]
        assert store.meta.class_counts[part] == counted.tolist()
    with np.errstate(invalid="ignore"):
        db = 10 * np.log10(power[(split == 1) & (power > 0)].astype(np.float64))
    assert store.meta.statistics["mean"][0] == pytest.approx(db.mean(), abs=0.5)  # some patches are dropped
    assert summary["proof"]["labelled_pixels_in_two_splits"] == 0
    assert summary["proof"]["radar_pixels_in_two_splits"] == 0
    assert summary["proof"]["smallest_distance"]["pixels"] > 3
