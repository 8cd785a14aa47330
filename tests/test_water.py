"""One logit, all the way: the water detector in training, bundle, scores and map."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch
from affine import Affine
from torch import Tensor

from sarcover.bundle import load_model, save_bundle
from sarcover.config import EvaluateSettings, FinetuneSettings, MapSettings, PrepareSettings
from sarcover.errors import SarcoverError
from sarcover.legend import load_legend
from sarcover.mapping import map_scene, map_with
from sarcover.models import build_model
from sarcover.models.segmenter import Inputs, Segmenter
from sarcover.patches import open_store, prepare
from sarcover.training import evaluate
from sarcover.training.initialise import start_model

WATER = load_legend("jaxa-water")
THRESHOLDS = (0.2, 0.5, 0.8)


class Darkness(Segmenter):
    """One logit: how many dB a pixel lies below the mean of the training data."""

    binary = True

    def __init__(self) -> None:
        super().__init__(
            name="alos2-water", size="tiny", sar_bands=1, optical_bands=0, num_classes=2, settings={}
        )
        self.sar_norm.set([-12.0], [1.0])

    def segment(self, inputs: Inputs) -> Tensor:
        return -inputs.sar


def write(path: Path, values: np.ndarray, **profile: object) -> Path:
    with rasterio.open(
        path, "w", driver="GTiff", height=values.shape[0], width=values.shape[1], count=1, dtype=values.dtype,
        crs="EPSG:32654", transform=Affine(10, 0, 400_000, 0, -10, 4_000_000), **profile,
    ) as raster:  # fmt: skip
        raster.write(values, 1)
        raster.update_tags(UNIT="db")
        raster.descriptions = ("HH",) if values.dtype == np.float32 else ("label",)
    return path


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with sar.tif (dB; darker where there is water, never far from the threshold) and label.tif."""
    folder = tmp_path_factory.mktemp("water")
    random = np.random.default_rng(0)
    codes = np.where(np.kron(random.random((8, 12)) < 0.4, np.ones((16, 16))) > 0, 1, 5).astype(np.uint8)
    db = np.where(codes == 1, -13.0, -11.0) + random.normal(0, 2, codes.shape)
    codes[random.random(codes.shape) < 0.1] = 255
    write(folder / "sar.tif", db.astype(np.float32), nodata=np.nan)
    write(folder / "label.tif", codes)
    split = np.ones(codes.shape, np.uint8)
    split[:, 128:] = 3
    write(folder / "split.tif", split)
    return folder


@pytest.fixture(scope="module")
def store(scene: Path) -> str:
    settings = PrepareSettings(
        out=str(scene / "store"), scenes=(str(scene / "sar.tif"),), labels=(str(scene / "label.tif"),),
        legend="jaxa-water", patch=64, split="raster", split_raster=str(scene / "split.tif"),
    )  # fmt: skip
    prepare(settings)
    return settings.out


def save(model: Segmenter, path: Path) -> str:
    save_bundle(
        path, model, kind="segmenter", legend=WATER, bands=("HH",), unit="db", radiometry="unknown",
        optical_bands=(), patch=64, training={}, metrics=None,
    )  # fmt: skip
    return str(path)


@pytest.fixture
def darkness(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A bundle of Darkness."""
    monkeypatch.setattr("sarcover.bundle.build_model", lambda *args, **settings: Darkness())
    return save(Darkness(), tmp_path / "darkness")


def read(path: Path) -> np.ndarray:
    with rasterio.open(path) as raster:
        values: np.ndarray = raster.read(1)
    return values


def truly_water(db: np.ndarray, threshold: float) -> np.ndarray:
    return 1 / (1 + np.exp(db.astype(np.float64) + 12)) >= threshold


def test_scores_count_what_the_threshold_calls_water(scene, store, darkness, tmp_path):
    """Confusion, rows reference: against NumPy on the files."""
    db, codes = read(scene / "sar.tif")[:, 128:], read(scene / "label.tif")[:, 128:]
    for threshold in THRESHOLDS:
        out = tmp_path / f"{threshold}.json"
        metrics = evaluate(EvaluateSettings(darkness, store, str(out), threshold=threshold, device="cpu"))
        water, known = truly_water(db, threshold), codes != 255
        expected = [
            [int(((codes == code) & known & (water == is_water)).sum()) for is_water in (False, True)]
            for code in (5, 1)
        ]
        assert metrics["confusion"] == expected
        assert [row["name"] for row in metrics["classes"]] == ["Non-water", "Water"]


def test_map_is_water_where_the_threshold_says_so(scene, darkness, tmp_path):
    db = read(scene / "sar.tif")
    maps = {}
    for threshold in THRESHOLDS:
        out = tmp_path / f"{threshold}.tif"
        settings = MapSettings(
            darkness, str(out), (str(scene / "sar.tif"),), threshold=threshold, device="cpu", confidence=True,
            overwrite=True,
        )  # fmt: skip
        map_with(settings)
        maps[threshold] = read(out)
        np.testing.assert_array_equal(maps[threshold], truly_water(db, threshold).astype(np.uint8))
        confidence = read(tmp_path / f"{threshold}_confidence.tif")
        assert confidence.min() >= 50
        if threshold == 0.5:
            probability = 1 / (1 + np.exp(-np.abs(db + 12)))
            np.testing.assert_allclose(confidence, 100 * probability, atol=0.51)
    assert maps[0.2].sum() > maps[0.5].sum() > maps[0.8].sum() > 0


def test_the_detector_itself_goes_through_bundle_scores_and_map(scene, store, settle, tmp_path):
    torch.manual_seed(0)
    model = build_model("alos2-water", size="tiny", num_classes=2, image_size=64)
    model.sar_norm.set([-12.0], [2.2])
    settle(model, {"sar": -12 + 2.2 * torch.randn(2, 1, 64, 64)})
    bundle = save(model, tmp_path / "bundle")
    counts = {}
    for threshold in (1e-6, 0.5, 1 - 1e-6):
        settings = EvaluateSettings(
            bundle, store, str(tmp_path / "m.json"), threshold=threshold, device="cpu", overwrite=True
        )
        confusion = np.array(evaluate(settings)["confusion"])
        counts[threshold] = int(confusion[:, 1].sum())
        assert confusion.sum() == (read(scene / "label.tif")[:, 128:] != 255).sum()
    assert counts[1e-6] > counts[0.5] > counts[1 - 1e-6] == 0
    result = map_scene(load_model(bundle), scene / "sar.tif", tmp_path / "map.tif", device="cpu")
    assert set(result.counts) == {"Non-water", "Water"}
    assert set(np.unique(read(tmp_path / "map.tif"))) <= {0, 1}


def test_finetune_begins_with_one_logit_for_a_legend_of_two_classes(store, tmp_path):
    settings = FinetuneSettings(store, str(tmp_path / "run"), model="alos2-water", size="tiny", device="cpu")
    model, taken = start_model(settings, open_store(store))
    assert model({"sar": torch.full((1, 1, 8, 8), -12.0)}).shape == (1, 1, 8, 8)
    assert model.architecture["num_classes"] == 2
    assert taken == "random weights"


def test_thresholds_that_cannot_be_used_are_refused(scene, store, darkness, tmp_path):
    settings = EvaluateSettings(darkness, store, str(tmp_path / "m.json"), threshold=1.5, device="cpu")
    with pytest.raises(SarcoverError, match=r"threshold; expected a probability between 0 and 1; got 1.5"):
        evaluate(settings)
    with pytest.raises(SarcoverError, match="threshold"):
        map_scene(load_model(darkness), scene / "sar.tif", tmp_path / "map.tif", threshold=0.0)
    unet = save(build_model("unet", size="tiny", num_classes=2), tmp_path / "unet")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sarcover.bundle.build_model", build_model)
        with pytest.raises(SarcoverError, match="most probable class, not by a threshold"):
            evaluate(replace(settings, model=unet, threshold=0.4))
        with pytest.raises(SarcoverError, match="most probable class, not by a threshold"):
            map_scene(load_model(unet), scene / "sar.tif", tmp_path / "map.tif", threshold=0.4)
    assert not (tmp_path / "map.tif").exists()
