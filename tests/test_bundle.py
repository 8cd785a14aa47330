"""A bundle gives back the very same model, and refuses everything that is not one."""

import pickle
from pathlib import Path

import huggingface_hub
import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file
from torch import nn

from sarcover.bundle import load_encoder, load_model, save_bundle
from sarcover.errors import SarcoverError
from sarcover.legend import LandClass, Legend, load_legend
from sarcover.metrics import scores
from sarcover.models import MODELS, Segmenter, build_model
from sarcover.models.mixmim import MixMIMEncoder, encoder_settings
from sarcover.models.normalise import Normalisation

LEGEND = Legend(
    name="three",
    title="Three classes",
    source="a test",
    classes=tuple(
        LandClass(code=code, name=name, colour=colour, sources=(code,))
        for code, name, colour in ((1, "water", "#0000ff"), (2, "forêt", "#00ff00"), (7, "bare", "#aa8800"))
    ),
    ignore=(0,),
)
WATER = load_legend("jaxa-water")


def segmenter(name="unet", bands=1, **settings):
    torch.manual_seed(0)
    classes = 2 if MODELS[name].binary else 3
    if "optical" in MODELS[name].optional_inputs:  # the batches here have none
        settings = {"optical_bands": 2, **settings}
    model = build_model(name, size="tiny", sar_bands=bands, num_classes=classes, **settings)
    model.sar_norm.set([-10.4327] * bands, [5.8041] * bands)
    return model.eval()


def save(path, model, **changes):
    optical = model.architecture["optical_bands"] if isinstance(model, Segmenter) else 0
    description = {
        "kind": "segmenter",
        "legend": WATER if getattr(model, "binary", False) else LEGEND,
        "bands": ("HH", "HV", "VV")[: model.sar_norm.channels],
        "unit": "dn",
        "radiometry": "gamma0",
        "optical_bands": ("red", "nir", "blue", "green")[:optical],
        "patch": 64,
        "training": {"settings": {"data": Path("store"), "betas": (0.9, 0.95)}, "step": np.int64(7)},
        "metrics": None,
    }
    save_bundle(path, model, **{**description, **changes})
    return path


def encoder(**settings):
    torch.manual_seed(0)
    made = MixMIMEncoder(64, in_chans=2, **encoder_settings("tiny"), **settings).eval()
    norm = Normalisation(2)
    norm.set([-8.0, -15.0], [3.0, 4.0])
    return nn.ModuleDict({"encoder": made, "sar_norm": norm, "decoder": nn.Linear(3, 3)})


def save_encoder(path):
    model = encoder()
    return model, save(path, model, kind="encoder", legend=None, bands=("HH", "HV"))


@pytest.mark.parametrize(("name", "bands"), [(name, bands) for name in MODELS for bands in (1, 3)])
def test_loaded_model_gives_bit_equal_logits(tmp_path, name, bands):
    model = segmenter(name, bands)
    batch = {"sar": -10 + 5 * torch.randn(2, bands, 64, 48)}
    loaded = load_model(save(tmp_path / "bundle", model))
    assert torch.equal(loaded(batch), model(batch))
    assert not loaded.training
    assert loaded.architecture == model.architecture


def test_description_comes_back(tmp_path):
    metrics = scores(torch.tensor([[5, 1, 0], [0, 3, 0], [0, 0, 0]]), LEGEND.names, "val")
    bundle = load_model(save(tmp_path / "bundle", segmenter(), metrics=metrics)).bundle
    assert bundle.kind == "segmenter"
    assert bundle.legend == LEGEND
    assert (bundle.bands, bundle.unit, bundle.radiometry) == (("HH",), "dn", "gamma0")
    assert (bundle.optical_bands, bundle.patch) == ((), 64)
    assert bundle.training == {"settings": {"data": "store", "betas": [0.9, 0.95]}, "step": 7}
    assert bundle.metrics == metrics
    assert bundle.normalisation["sar"]["mean"] == pytest.approx([-10.4327])


def test_statistics_and_optical_bands_travel_too(tmp_path):
    model = build_model("unet", size="tiny", optical_bands=2, num_classes=3).eval()
    model.optical_norm.set([0.1, 0.2], [0.05, 0.06])
    loaded = load_model(save(tmp_path / "bundle", model, optical_bands=("red", "nir")))
    assert loaded.bundle.optical_bands == ("red", "nir")
    assert loaded.optical_norm.std.tolist() == model.optical_norm.std.tolist()


def test_model_card_says_what_a_user_must_know(tmp_path):
    metrics = scores(torch.tensor([[5, 1, 0], [0, 3, 0], [0, 0, 0]]), LEGEND.names, "val")
    card = (save(tmp_path / "bundle", segmenter(), metrics=metrics) / "README.md").read_text(encoding="utf-8")
    front = yaml.safe_load(card.split("---")[1])
    assert front["library_name"] == "sarcover"
    assert "| HH | gamma0, dB | -10.43 | 5.804 |" in card
    assert "| 1 | 2 | forêt | #00ff00 | 0.750 |" in card
    assert "| 2 | 7 | bare | #aa8800 | - |" in card
    assert "overall accuracy 0.889" in card
    assert "9 pixels of the val split" in card


def test_run_folder_holds_the_bundle(tmp_path):
    save(tmp_path / "run" / "bundle", segmenter())
    assert load_model(tmp_path / "run").bundle.bands == ("HH",)


def test_existing_bundle_is_kept_unless_told(tmp_path):
    save(tmp_path / "bundle", segmenter())
    with pytest.raises(SarcoverError, match="exists already"):
        save(tmp_path / "bundle", segmenter())
    save(tmp_path / "bundle", segmenter(stem_stride=1), overwrite=True)
    assert load_model(tmp_path / "bundle").architecture["settings"]["stem_stride"] == 1


def test_interrupted_saving_leaves_nothing(tmp_path, monkeypatch):
    def fail(bundle):
        raise KeyboardInterrupt

    monkeypatch.setattr("sarcover.bundle.model_card", fail)
    with pytest.raises(KeyboardInterrupt):
        save(tmp_path / "bundle", segmenter())
    assert not list(tmp_path.iterdir())


def test_encoder_bundle_holds_encoder_and_statistics_alone(tmp_path):
    model, path = save_encoder(tmp_path / "bundle")
    assert {key.split(".")[0] for key in load_file(path / "model.safetensors")} == {"encoder", "sar_norm"}
    loaded, bundle = load_encoder(path)
    x = torch.randn(1, 2, 64, 64)
    assert torch.equal(loaded(x), model.encoder(x))
    assert not loaded.training
    assert (bundle.kind, bundle.legend, bundle.bands) == ("encoder", None, ("HH", "HV"))
    assert bundle.normalisation == {"sar": {"mean": [-8.0, -15.0], "std": [3.0, 4.0]}}


def test_encoder_of_a_segmenter_can_be_started_from(tmp_path):
    model = segmenter("swin-upernet", image_size=64)
    loaded, bundle = load_encoder(save(tmp_path / "bundle", model))
    x = torch.randn(1, 1, 64, 64)
    assert torch.equal(loaded(x), model.encoder(x))
    assert bundle.kind == "segmenter"
    with pytest.raises(SarcoverError, match="unet has no encoder"):
        load_encoder(save(tmp_path / "unet", segmenter()))


def test_encoder_is_no_segmentation_model(tmp_path):
    _, path = save_encoder(tmp_path / "bundle")
    with pytest.raises(SarcoverError, match=r"without a segmentation head; finetune it first"):
        load_model(path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"bands": ("HH", "HV")}, "radar bands do not fit the model; expected 1; got 2"),
        ({"optical_bands": ("red",)}, "optical bands do not fit the model; expected 0; got 1"),
        ({"legend": None}, "a segmenter has a legend"),
        ({"unit": "decibel"}, "unit; expected dn or linear_power"),
        ({"radiometry": "gamma"}, "radiometry; expected sigma0"),
    ],
)
def test_description_that_does_not_fit_is_not_written(tmp_path, changes, message):
    with pytest.raises(SarcoverError, match=message):
        save(tmp_path / "bundle", segmenter(), **changes)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".ckpt", ".bin"])
def test_pickles_are_refused_by_name(tmp_path, suffix):
    bundle = save(tmp_path / "bundle", segmenter())
    pickled = bundle / f"model{suffix}"
    (bundle / "model.safetensors").rename(pickled)
    for path in (pickled, bundle):
        with pytest.raises(SarcoverError, match=rf"model{suffix} is a pickle.*import-checkpoint"):
            load_model(path)


class Bomb:
    def __reduce__(self):
        return (pytest.fail, ("a pickle was opened",))


@pytest.mark.parametrize("disguise", ["pickle", "torch"])
def test_pickles_are_refused_by_their_first_bytes(tmp_path, disguise):
    weights = save(tmp_path / "bundle", segmenter()) / "model.safetensors"
    if disguise == "pickle":
        weights.write_bytes(pickle.dumps(Bomb()))
    else:
        torch.save({"weights": Bomb()}, weights)
    with pytest.raises(SarcoverError, match="under another name; expected safetensors"):
        load_model(weights.parent)


def damaged(folder, change):
    """Changes one thing in a good bundle."""
    weights, description = folder / "model.safetensors", folder / "bundle.yaml"
    content = yaml.safe_load(description.read_text())
    state = load_file(weights)
    match change:
        case "cut off":
            weights.write_bytes(weights.read_bytes()[:-100])
        case "empty":
            weights.write_bytes(b"")
        case "no weights":
            weights.unlink()
        case "other model":
            content["architecture"]["size"] = "small"
        case "fewer weights":
            save_file({key: value for key, value in state.items() if "stem" not in key}, weights)
        case "more weights":
            save_file({**state, "head.extra": torch.zeros(1)}, weights)
        case "other version":
            content["sarcover_bundle"] = 99
        case "no version":
            del content["sarcover_bundle"]
        case "no legend":
            del content["legend"]
        case "broken legend":
            content["legend"] = ["water"]
        case "unknown setting":
            content["architecture"]["settings"]["depth"] = 5
        case "no bands":
            del content["architecture"]["sar_bands"]
        case "no size":
            content["architecture"]["height"] = content["architecture"].pop("size")
        case "edited statistics":
            content["normalisation"]["sar"]["mean"] = [0.0]
    description.write_text("{ not yaml" if change == "no yaml" else yaml.safe_dump(content))
    return folder


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("cut off", "model.safetensors is broken.*was the transfer cut off"),
        ("empty", "model.safetensors is broken"),
        ("no weights", "model.safetensors does not exist"),
        ("other model", r"another shape: .* and \d+ more; take weights and description from the same"),
        ("fewer weights", r"weights that are missing: stem\.0\.weight"),
        ("more weights", "weights that the architecture has not: head.extra"),
        ("other version", "another version of the bundle format; expected 1; got 99"),
        ("no version", "does not describe a sarcover bundle"),
        ("no legend", "bundle.yaml is damaged: it lacks legend"),
        ("broken legend", "bundle.yaml is damaged: legend"),
        ("unknown setting", "unet has no setting 'depth'"),
        ("no bands", "bundle.yaml is damaged.*sar_bands"),
        ("no size", "no such architecture|no setting 'height'"),
        ("edited statistics", "disagree on the normalisation"),
        ("no yaml", "bundle.yaml cannot be read"),
    ],
)
def test_damage_is_named(tmp_path, change, message):
    folder = damaged(save(tmp_path / "bundle", segmenter()), change)
    with pytest.raises(SarcoverError, match=message) as caught:
        load_model(folder)
    assert "\n" not in str(caught.value)


def test_places_without_a_bundle(tmp_path):
    with pytest.raises(SarcoverError, match="nowhere does not exist; expected a bundle or the run folder"):
        load_model(tmp_path / "nowhere")
    with pytest.raises(SarcoverError, match=r"holds no bundle.*when training has ended"):
        load_model(tmp_path)


def test_model_hub(tmp_path, monkeypatch):
    folder = save(tmp_path / "bundle", segmenter())
    asked = []

    def snapshot_download(name, *, revision=None, allow_patterns=None):
        asked.append((name, revision))
        if name == "org/elsewhere":
            raise huggingface_hub.errors.LocalEntryNotFoundError("no network\nand more")
        return str(tmp_path if name == "org/empty" else folder)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    assert load_model("hf://org/name").bundle.legend == LEGEND
    load_model(Path("hf://org/name@v2"))
    assert asked == [("org/name", None), ("org/name", "v2")]
    with pytest.raises(SarcoverError, match=r"hf://org/elsewhere cannot be fetched; got no network$"):
        load_model("hf://org/elsewhere")
    with pytest.raises(SarcoverError, match="holds no sarcover bundle"):
        load_model("hf://org/empty")
    with pytest.raises(SarcoverError, match="no address of a model; expected hf://organisation/name"):
        load_model("hf://name")
