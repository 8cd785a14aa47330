"""The demo: the whole job in one verb, here on a landscape of a few blocks."""

import json
from pathlib import Path
from typing import Any

import pytest
import rasterio

from sarcover import SarcoverError, cli, demo
from sarcover.bundle import load_model
from sarcover.config import DemoSettings

TINY = {
    "SIDE": 320,
    "PATCH": 64,
    "BLOCK": 64,
    "GUARD": 4,
    "PRETRAIN_STEPS": 1,
    "VALIDATIONS": 1,
    "OVERLAP": 16,
}


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A finished demo, and what it says."""
    folder = tmp_path_factory.mktemp("demo") / "demo"
    with pytest.MonkeyPatch.context() as patch:
        for name, value in TINY.items():
            assert hasattr(demo, name)
            patch.setattr(demo, name, value)
        return folder, cli.plain(demo.demo(DemoSettings(str(folder), steps=2)))


def test_it_leaves_the_results_where_the_manual_says(done: tuple[Path, dict[str, Any]]) -> None:
    folder, result = done
    for name in (
        "data",
        "store",
        "pretrained/bundle",
        "model/bundle",
        "map.tif",
        "metrics.json",
        "report.html",
    ):
        assert (folder / name).exists(), name
    assert result["report"] == str(folder / "report.html")
    assert load_model(folder / "model").bundle.legend.num_classes == 9


def test_its_figures_are_those_of_its_files(done: tuple[Path, dict[str, Any]]) -> None:
    folder, result = done
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["split"] == "test"
    assert result["evaluation_on_test_patches"]["miou"] == metrics["miou"]
    report = (folder / "report.html").read_text()
    assert f"{metrics['miou']:.3f}" in report
    assert f"{result['map_against_truth_everywhere']['oa']:.3f}" in report


def test_the_map_is_compared_with_the_truth_pixel_by_pixel(done: tuple[Path, dict[str, Any]]) -> None:
    folder, result = done
    from sarcover.legend import load_legend
    from sarcover.scene import OnGrid

    legend = load_legend("jaxa-hrlulc-9")
    with rasterio.open(folder / "map.tif") as source:
        mapped = legend.index_of_codes(source.read(1))
        (labels,) = (folder / "data" / "labels").glob("*.tif")
        truth = legend.encode(OnGrid(labels, source.crs, source.transform, source.shape).read())
    counted = (truth != 255) & (mapped != 255)
    everywhere = result["map_against_truth_everywhere"]
    assert everywhere["n_pixels"] == counted.sum()
    assert everywhere["oa"] == pytest.approx((mapped == truth)[counted].mean())
    assert 0 < result["map_against_truth_on_test_blocks"]["n_pixels"] < everywhere["n_pixels"]


def test_an_existing_folder_is_refused(done: tuple[Path, dict[str, Any]]) -> None:
    with pytest.raises(SarcoverError, match="exists already; choose another name or add --overwrite"):
        demo.demo(DemoSettings(str(done[0])))
