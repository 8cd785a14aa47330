"""The STAC item in a bundle: valid against the schemas, true to the model."""

import copy
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from pystac.errors import STACValidationError
from torch import nn

from sarcover.bundle import load_model, save_bundle
from sarcover.legend import load_legend
from sarcover.models import build_model
from sarcover.models.mixmim import MixMIMEncoder, encoder_settings
from sarcover.models.normalise import Normalisation
from stac_schemas import validate

LEGEND = load_legend("jaxa-hrlulc-9")


def save(path: Path, **changes: Any) -> dict[str, Any]:
    """A U-Net's bundle; its item."""
    torch.manual_seed(0)
    model = build_model("unet", size="tiny", sar_bands=2, num_classes=LEGEND.num_classes)
    model.sar_norm.set([-9.0, -15.0], [4.0, 5.0])
    described: dict[str, Any] = {
        "model": model, "kind": "segmenter", "legend": LEGEND, "bands": ("HH", "HV"), "unit": "dn",
        "radiometry": "gamma0", "optical_bands": (), "patch": 64, "metrics": None,
        "training": {"settings": {"init": None, "data": "store"}},
    }  # fmt: skip
    save_bundle(path, **{**described, **changes})
    item: dict[str, Any] = json.loads((path / "item.json").read_text())
    return item


def test_an_item_is_valid_and_tells_what_the_model_is(tmp_path: Path) -> None:
    item = save(tmp_path / "bundle")
    validate(item)
    assert item["geometry"] is None
    said = item["properties"]
    model = load_model(tmp_path / "bundle")
    assert said["mlm:total_parameters"] == sum(p.numel() for p in model.parameters())
    assert said["mlm:memory_size"] >= 4 * said["mlm:total_parameters"]
    assert said["mlm:architecture"] == "unet"
    assert said["mlm:tasks"] == ["semantic-segmentation"]
    assert (said["mlm:pretrained"], said["mlm:pretrained_source"]) == (False, None)
    (sar,) = said["mlm:input"]
    assert sar["bands"] == ["HH", "HV"] == [band["name"] for band in said["bands"]]
    assert sar["input"]["shape"] == [-1, 2, -1, -1]
    assert [(s["mean"], s["stddev"]) for s in sar["value_scaling"]] == [(-9.0, 4.0), (-15.0, 5.0)]
    assert "gamma0" in sar["description"]
    (logits,) = said["mlm:output"]
    assert logits["result"]["shape"] == [-1, LEGEND.num_classes, -1, -1]
    classes = logits["classification:classes"]
    assert [c["value"] for c in classes] == list(range(LEGEND.num_classes))
    assert [c["title"] for c in classes] == LEGEND.names
    weights = tmp_path / "bundle" / item["assets"]["model"]["href"]
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    assert item["assets"]["model"]["file:checksum"] == "1220" + digest
    assert item["id"] == f"unet-tiny-{LEGEND.name}-{digest[:12]}"
    assert {asset["href"] for asset in item["assets"].values()} == {
        "./model.safetensors", "./bundle.yaml", "./README.md",
    }  # fmt: skip


def test_a_loaded_model_knows_its_item(tmp_path: Path) -> None:
    save(tmp_path / "run" / "bundle")
    loaded = load_model(tmp_path / "run")
    assert loaded.bundle.item == str(tmp_path / "run" / "bundle" / "item.json")
    (tmp_path / "run" / "bundle" / "item.json").unlink()
    assert load_model(tmp_path / "run").bundle.item is None, "bundles of earlier versions have none"


@pytest.mark.parametrize(
    "harm",
    [
        lambda said: said["properties"].pop("mlm:output"),
        lambda said: said["properties"]["mlm:input"][0].pop("bands"),
        lambda said: said["properties"]["mlm:input"][0]["value_scaling"][0].pop("stddev"),
        lambda said: said["properties"]["mlm:input"][0]["input"].update(
            dim_order=["batch", "height", "width"]
        ),
        lambda said: said["properties"].update({"mlm:tasks": ["mapping"]}),
        lambda said: said["properties"].update({"mlm:unknown": 1}),
        lambda said: said["properties"].update({"mlm:pretrained_source": "ImageNet"}),
        lambda said: said["properties"].pop("bands"),
        lambda said: said["assets"]["model"].pop("mlm:artifact_type"),
        lambda said: said["assets"]["model"].update(roles=["data"]),
        lambda said: said["assets"]["card"].update({"mlm:name": "a card"}),
    ],
)
def test_the_schemas_refuse_what_is_wrong(tmp_path: Path, harm: Any) -> None:
    item = copy.deepcopy(save(tmp_path / "bundle"))
    validate(item)
    harm(item)
    with pytest.raises(STACValidationError):
        validate(item)


def test_a_model_that_began_with_weights_says_which(tmp_path: Path) -> None:
    item = save(tmp_path / "bundle", training={"settings": {"init": "runs/pretrained"}})
    validate(item)
    assert item["properties"]["mlm:pretrained"] is True
    assert item["properties"]["mlm:pretrained_source"] == "runs/pretrained"


def test_two_inputs_are_told_apart(tmp_path: Path) -> None:
    model = build_model("unet", size="tiny", sar_bands=1, optical_bands=3, num_classes=LEGEND.num_classes)
    item = save(tmp_path / "bundle", model=model, bands=("HH",), optical_bands=("red", "green", "nir"))
    validate(item)
    assert [(i["name"], i["bands"]) for i in item["properties"]["mlm:input"]] == [
        ("sar", ["HH"]),
        ("optical", ["red", "green", "nir"]),
    ]


def test_a_single_logit_is_said_to_be_one(tmp_path: Path) -> None:
    water = load_legend("jaxa-water")
    model = build_model("alos2-water", size="tiny", sar_bands=2, num_classes=2)
    item = save(tmp_path / "bundle", model=model, legend=water)
    validate(item)
    (output,) = item["properties"]["mlm:output"]
    assert output["result"]["shape"] == [-1, 1, -1, -1]
    assert [land["title"] for land in output["classification:classes"]] == water.names


def test_an_encoder_gives_features_and_no_classes(tmp_path: Path) -> None:
    holder = nn.Module()
    holder.encoder = MixMIMEncoder(64, in_chans=2, **encoder_settings("tiny"))
    holder.sar_norm = Normalisation(2)
    training = {"settings": {"data": "stores/japan"}}
    item = save(tmp_path / "bundle", model=holder, kind="encoder", legend=None, training=training)
    validate(item)
    said = item["properties"]
    assert said["mlm:total_parameters"] == sum(p.numel() for p in holder.encoder.parameters())
    assert (said["mlm:tasks"], said["mlm:output"][0]["classification:classes"]) == ([], [])
    assert said["mlm:pretrained_source"] == "stores/japan"
