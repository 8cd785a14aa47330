"""What the model says when it is asked again, with and without one of its inputs; and its training data."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from explain_helpers import CODES, LEGEND, backscatter, landscape, write_map, write_raster, write_scene
from torch import Tensor

from sarcover.bundle import Bundle
from sarcover.config import ExplainSettings, PrepareSettings
from sarcover.errors import SarcoverError
from sarcover.explain import sources as sources_module
from sarcover.explain.evidence import collect
from sarcover.explain.probe import Probe, withheld
from sarcover.models.segmenter import Inputs, Segmenter
from sarcover.patches import prepare
from sarcover.radar import db_to_linear

INDEX = landscape()
RADAR = backscatter(INDEX)[:1].astype(np.float32)
LEVELS = np.array([-22.0, -5.0, -13.0, -7.5, -10.0], np.float32)
CLEAR = np.random.default_rng(3).random(INDEX.shape) < 0.8
BRIGHT = np.where(CLEAR, np.random.default_rng(4).uniform(0.05, 0.6, INDEX.shape), np.nan).astype(np.float32)


class Nearest(Segmenter):
    """The class whose level is nearest to the radar and, where it is clear, five times the optical band."""

    optional_inputs = ("sar", "optical")

    def __init__(self, optical_bands: int = 1) -> None:
        super().__init__(
            name="nearest", size="tiny", sar_bands=1, optical_bands=optical_bands, num_classes=5, settings={}
        )
        self.register_buffer("levels", torch.tensor(LEVELS))
        self.sar_norm.set([-12.0], [5.0])

    def segment(self, inputs: Inputs) -> Tensor:
        band = inputs.sar[:, :1] * 5 - 12
        if inputs.optical is not None:
            band = band + 5 * inputs.optical[:, :1]
        return -((band - self.levels[:, None, None]) ** 2) / 20


class Telling(Nearest):
    """The same, telling that a clear optical pixel has a quarter of the weight."""

    def contributions(self, batch: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        inputs, _ = self.prepare(batch)
        assert inputs.optical_valid is not None
        optical = 0.25 * inputs.optical_valid.float()
        share = torch.stack([optical, 1 - optical], 1) * inputs.valid[:, None]
        return self.segment(inputs), share


def with_bundle(model: Segmenter, optical: bool = True) -> Segmenter:
    model.bundle = Bundle(
        kind="segmenter",
        architecture=model.architecture,
        legend=LEGEND,
        bands=("HH",),
        unit="db",
        radiometry="gamma0",
        optical_bands=("red",) if optical else (),
        patch=32,
        normalisation={"sar": {"mean": [-12.0], "std": [5.0]}},
        training={},
        metrics=None,
    )
    return model.eval()


def logits(radar: np.ndarray | float, optical: np.ndarray | float) -> np.ndarray:
    return -((radar + 5 * optical - LEVELS[:, None, None]) ** 2) / 20


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("probe")
    mapped = logits(RADAR[0], np.nan_to_num(BRIGHT)).argmax(0).astype(np.uint8)
    mapped[INDEX == 255] = 255
    mapped[10:20, 10:20] = 3  # the map was changed by hand here
    return {
        "map": str(write_map(folder / "map.tif", mapped)),
        "scene": str(write_scene(folder / "scene.tif", RADAR)),
        "optical": str(write_raster(folder / "optical.tif", BRIGHT, descriptions=("red",))),
    }


def mapped_classes(files: dict[str, str]) -> np.ndarray:
    import rasterio

    with rasterio.open(files["map"]) as file:
        codes: np.ndarray = LEGEND.index_of_codes(file.read(1))
    return codes


def explain_with(
    model: Segmenter, files: dict[str, str], monkeypatch: pytest.MonkeyPatch, **changes: Any
) -> dict[str, Any]:
    monkeypatch.setattr(sources_module, "load_model", lambda path: model)
    given = {
        "map": files["map"],
        "model": "m",
        "scenes": (files["scene"],),
        "device": "cpu",
        "batch": 3,
    } | changes
    return collect(ExplainSettings(**given))


def test_confidence_entropy_and_modalities_are_those_of_the_model(
    files: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = explain_with(with_bundle(Telling()), files, monkeypatch, optical=(files["optical"],))
    facts = made["areas"]["map"]
    mapped, there = mapped_classes(files), INDEX != 255
    full, none, blind = (
        logits(RADAR[0], np.nan_to_num(BRIGHT)),
        logits(RADAR[0], 0.0),
        logits(-12.0, np.nan_to_num(BRIGHT)),
    )
    p = np.exp(full - full.max(0))
    p /= p.sum(0)
    entropy = -(p * np.log(p)).sum(0) / np.log(5)
    said, without_optical, without_radar = full.argmax(0), none.argmax(0), blind.argmax(0)
    for where, found in [(there, facts)] + [
        (mapped == k, facts["classes"].get(f"C{k + 1}")) for k in range(5)
    ]:
        if not where.any():
            continue
        assert found["confidence"]["mean"] == pytest.approx(p.max(0)[where].mean(), abs=0.003)
        assert found["entropy"]["mean"] == pytest.approx(entropy[where].mean(), abs=0.003)
        modality = found["modality"]
        assert modality["agreement"] == pytest.approx((said == mapped)[where].mean(), abs=1e-5)
        assert modality["optical"] == pytest.approx(0.25 * CLEAR[where].mean(), abs=1e-4)
        assert modality["radar"] == pytest.approx(1 - 0.25 * CLEAR[where].mean(), abs=1e-4)
        assert modality["changed_without_optical"] == pytest.approx(
            (without_optical != said)[where].mean(), abs=1e-5
        )
        assert modality["changed_without_radar"] == pytest.approx(
            (without_radar != said)[where].mean(), abs=1e-5
        )
    assert made["sources"]["confidence"] == "model"
    assert facts["model"] == {"HH": {"mean": -12.0, "std": 5.0}}
    band = facts["classes"]["C1"]["backscatter"]["HH"]
    assert band["above_model"] == pytest.approx((band["median"] + 12) / 5, rel=1e-4)


def test_a_model_of_radar_alone_has_no_modalities(
    files: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = with_bundle(Nearest(optical_bands=0), optical=False)
    facts = explain_with(model, files, monkeypatch, optical=(files["optical"],))["areas"]["map"]
    assert set(facts["modality"]) == {"agreement"}
    assert facts["optical"]["valid_share"] == pytest.approx(
        CLEAR[mapped_classes(files) != 255].mean(), abs=1e-4
    )


def test_a_model_of_both_without_a_companion_maps_by_radar(
    files: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = with_bundle(Telling())
    monkeypatch.setattr(Bundle, "optional_inputs", ("sar", "optical"))
    facts = explain_with(model, files, monkeypatch)["areas"]["map"]
    said = logits(RADAR[0], 0.0).argmax(0)
    there = INDEX != 255
    assert facts["modality"] == {
        "agreement": pytest.approx((said == mapped_classes(files))[there].mean(), abs=1e-5)
    }


def test_tiles_say_what_the_whole_map_says_there(
    files: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"optical": (files["optical"],)}
    whole = explain_with(with_bundle(Telling()), files, monkeypatch, **options)["areas"]["map"]
    parts = explain_with(with_bundle(Telling()), files, monkeypatch, tiles=40, **options)["areas"]
    weights = [part["pixels"]["mapped"] for part in parts.values()]
    for group, name in (("confidence", "mean"), ("modality", "changed_without_optical")):
        mean = np.average([part[group][name] for part in parts.values()], weights=weights)
        assert mean == pytest.approx(whole[group][name], rel=1e-4)


def test_withheld_pixels_are_nowhere_valid() -> None:
    batch = {
        "sar": torch.zeros(2, 1, 4, 4),
        "valid": torch.ones(2, 4, 4, dtype=torch.bool),
        "optical": torch.zeros(2, 3, 4, 4),
    }
    blind = withheld(batch, "radar")
    assert bool(blind["sar"].isnan().all())
    assert not blind["valid"].any()
    assert blind["optical"] is batch["optical"]
    cloudy = withheld(batch, "optical")
    assert cloudy["optical_valid"].shape == (2, 4, 4)
    assert not cloudy["optical_valid"].any()
    assert batch["valid"].all()


@pytest.mark.parametrize("training", [True, False])
def test_the_probe_leaves_the_model_as_it_was(training: bool) -> None:
    model = Telling().train(training)
    assert Probe(model, True).training == training
    batch = {"sar": torch.zeros(1, 1, 4, 4), "optical": torch.zeros(1, 1, 4, 4)}
    assert Probe(model, True)(batch).shape == (1, 5 + 2 + 10, 4, 4)
    assert Probe(Nearest(), True)(batch).shape == (1, 15, 4, 4)
    assert Probe(Nearest(0), False)({"sar": batch["sar"]}).shape == (1, 5, 4, 4)


def test_the_real_claire_tells_its_contributions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from sarcover.models import build_model

    torch.manual_seed(0)
    model = build_model("claire", size="tiny", sar_bands=1, optical_bands=1, num_classes=5)
    small = {
        "map": str(write_map(tmp_path / "map.tif", INDEX[:32, :32])),
        "scene": str(write_scene(tmp_path / "scene.tif", RADAR[:, :32, :32])),
        "optical": str(write_raster(tmp_path / "optical.tif", BRIGHT[:32, :32], descriptions=("red",))),
    }
    area = explain_with(with_bundle(model), small, monkeypatch, optical=(small["optical"],))["areas"]["map"]
    assert area["modality"]["optical"] + area["modality"]["radar"] == pytest.approx(1, abs=1e-3)
    assert 0 < area["modality"]["optical"] < 1
    assert 0 <= area["modality"]["changed_without_optical"] <= 1


def test_a_model_of_other_classes_is_refused(files: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    model = with_bundle(Nearest(0), optical=False)
    other = type(LEGEND)("other", "", "", LEGEND.classes[::-1])
    object.__setattr__(model.bundle, "legend", other)
    with pytest.raises(SarcoverError, match="knows other classes"):
        explain_with(model, files, monkeypatch)
    with pytest.raises(SarcoverError, match="name the scene that was mapped"):
        explain_with(with_bundle(Nearest(0), optical=False), files, monkeypatch, scenes=())


@pytest.fixture(scope="module")
def store(
    tmp_path_factory: pytest.TempPathFactory, files: dict[str, str]
) -> tuple[str, np.ndarray, np.ndarray]:
    """A store of another scene: labels and dB of its only training scene."""
    import json

    folder = tmp_path_factory.mktemp("store")
    labels = landscape((64, 64), seed=9)
    db = backscatter(labels, seed=10)[:1] + 2.0
    codes = np.where(labels == 255, 255, np.array([*CODES, *[255] * 251])[labels]).astype(np.uint8)
    write_scene(folder / "train.tif", db)
    write_raster(folder / "labels.tif", codes, nodata=255)
    (folder / "five.yaml").write_text(json.dumps(LEGEND.to_dict()))
    prepare(
        PrepareSettings(
            out=str(folder / "store"),
            scenes=(str(folder / "train.tif"),),
            labels=(str(folder / "labels.tif"),),
            legend=str(folder / "five.yaml"),
            patch=32,
            split="none",
        )
    )
    return str(folder / "store"), labels, db


def test_classes_are_held_against_their_training_pixels(
    files: dict[str, str], store: tuple[str, np.ndarray, np.ndarray]
) -> None:
    path, labels, db = store
    facts = collect(ExplainSettings(map=files["map"], scenes=(files["scene"],), data=path))["areas"]["map"]
    mapped = mapped_classes(files)
    for k in range(5):
        if not (mapped == k).any():
            continue
        found = facts["classes"][f"C{k + 1}"]["backscatter"]["HH"]
        trained, own = db[0][labels == k], RADAR[0][(mapped == k) & np.isfinite(RADAR[0])]
        assert found["training"]["pixels"] == (labels == k).sum()
        assert found["training"]["median"] == pytest.approx(np.median(trained), abs=0.05)
        assert found["training"]["above"] == pytest.approx(np.median(own) - np.median(trained), abs=0.1)
        low, high = np.quantile(trained, [0.1, 0.9])
        assert found["training"]["within"] == pytest.approx(((own >= low) & (own <= high)).mean(), abs=0.05)


def test_training_texture_stays_within_patches(store: tuple[str, np.ndarray, np.ndarray]) -> None:
    from sarcover.explain.training_statistics import training_backscatter
    from sarcover.patches import open_store

    path, labels, db = store
    found = training_backscatter(open_store(path), ["HH"])
    power = db_to_linear(db[0])
    expected: dict[int, list[float]] = {}
    for top in (0, 32):
        for left in (0, 32):
            for row in range(top + 3, top + 29):
                for column in range(left + 3, left + 29):
                    window = np.s_[row - 3 : row + 4, column - 3 : column + 4]
                    if np.unique(labels[window]).size == 1 and labels[row, column] != 255:
                        expected.setdefault(int(labels[row, column]), []).append(
                            float(power[window].std() / power[window].mean())
                        )
    assert expected
    for k, values in expected.items():
        assert found.of_class(k)["HH"]["texture"] == pytest.approx(np.mean(values), rel=1e-4)
        assert found.of_class(k)["HH"]["texture_pixels"] == len(values)


def test_a_store_that_does_not_fit_is_an_error(
    files: dict[str, str], store: tuple[str, np.ndarray, np.ndarray], tmp_path: Path
) -> None:
    scene = write_scene(tmp_path / "scene.tif", RADAR, bands=("VV",))
    with pytest.raises(SarcoverError, match="has no band VV"):
        collect(ExplainSettings(map=files["map"], scenes=(str(scene),), data=store[0]))
    with pytest.raises(SarcoverError, match="--data without --scenes"):
        collect(ExplainSettings(map=files["map"], data=store[0]))
