"""The STAC item of a bundle: what the model takes and gives, for catalogues (mlm extension)."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from sarcover import stac
from sarcover.files import sha256

if TYPE_CHECKING:
    from sarcover.bundle import Bundle

_SEMVER = re.compile(r"\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?")
_ANY = -1  # a dimension of any length


def model_item(
    bundle: Bundle, model: nn.Module, *, weights: Path, description: Path, card: Path
) -> dict[str, Any]:
    """An item without a place on earth, for a model has none, with the time it was written.

    Args:
        bundle: what the model is.
        model: whose parameters are counted; of an encoder's bundle only the encoder.
        weights, description, card: the bundle's files, where they are now.
    """
    architecture = bundle.architecture
    counted = model.encoder if bundle.kind == "encoder" else model
    assert isinstance(counted, nn.Module)
    title = bundle.legend.title if bundle.legend is not None else "pretrained radar encoder"
    parts = [architecture["name"], architecture.get("size"), bundle.legend and bundle.legend.name]
    name = "-".join(str(part) for part in parts if part)
    pretrained, source = _pretrained(bundle)
    tensors = [*counted.parameters(), *counted.buffers()]
    properties: dict[str, Any] = {
        "title": f"{architecture['name']}: {title}",
        "description": "Radar scenes in, a land-cover class for every pixel out."
        if bundle.legend is not None
        else "Radar scenes in, features out; it gives no map before it is finetuned.",
        "bands": _bands(bundle),
        "mlm:name": _plain(name),
        "mlm:architecture": architecture["name"],
        "mlm:tasks": _tasks(bundle),
        "mlm:framework": "PyTorch",
        "mlm:memory_size": sum(tensor.numel() * tensor.element_size() for tensor in tensors),
        "mlm:total_parameters": sum(parameter.numel() for parameter in counted.parameters()),
        "mlm:pretrained": pretrained,
        "mlm:pretrained_source": source,
        "mlm:input": _inputs(bundle),
        "mlm:output": [_output(bundle, model)],
        "mlm:hyperparameters": {"patch": bundle.patch, **architecture["settings"]},
    }
    if _SEMVER.fullmatch(torch.__version__):
        properties["mlm:framework_version"] = str(torch.__version__)
    return stac.item(
        f"{_plain(name)}-{sha256(weights)[:12]}",
        geometry=None,
        bbox=None,
        times=(),
        properties=properties,
        extensions=[stac.MLM, stac.CLASSIFICATION],
        assets=_assets(weights, description, card, _bands(bundle)),
        origins=(),
    )


def _plain(name: str) -> str:
    """A name of the letters that the extension allows."""
    return re.sub(r"[^0-9A-Za-z_.-]+", "-", name).strip("-._") or "model"


def _tasks(bundle: Bundle) -> list[str]:
    return ["semantic-segmentation"] if bundle.legend is not None else []


def _pretrained(bundle: Bundle) -> tuple[bool, str | None]:
    """Whether training began with weights, or was pretraining itself; and where weights or data came from."""
    if "imported_from" in bundle.training:
        return True, str(bundle.training["imported_from"])
    settings = bundle.training.get("settings", {})
    source = settings.get("data") if bundle.kind == "encoder" else settings.get("init")
    return source is not None, None if source is None else str(source)


def _bands(bundle: Bundle) -> list[dict[str, Any]]:
    radar = "uncalibrated backscatter" if bundle.unit == "uncalibrated" else f"{bundle.radiometry}, dB"
    bands = [{"name": band, "description": f"radar, {radar}"} for band in bundle.bands]
    optical = [{"name": band, "description": "optical reflectance, 0 to 1"} for band in bundle.optical_bands]
    return bands + optical


def _inputs(bundle: Bundle) -> list[dict[str, Any]]:
    """The batch's arrays that hold bands; their masks go without saying: what is NaN is not valid."""
    unit = "source values" if bundle.unit == "uncalibrated" else f"{bundle.radiometry} in dB"
    inputs = [_input("sar", bundle.bands, f"{unit}, NaN where invalid", bundle.normalisation["sar"])]
    if bundle.optical_bands:
        text = "reflectance, 0 to 1, NaN where invalid"
        inputs.append(_input("optical", bundle.optical_bands, text, bundle.normalisation["optical"]))
    return inputs


def _input(
    name: str, bands: tuple[str, ...], description: str, statistics: dict[str, list[float]]
) -> dict[str, Any]:
    z_scores: list[dict[str, Any]] = [
        {"type": "z-score", "mean": mean, "stddev": std}
        for mean, std in zip(statistics["mean"], statistics["std"], strict=True)
    ]
    if "lower" in statistics:  # clipped first; the extension has one method a band, and this says the most
        limits = zip(z_scores, statistics["lower"], statistics["upper"], strict=True)
        z_scores = [{**score, "minimum": low, "maximum": high} for score, low, high in limits]
    return {
        "name": name,
        "description": description,
        "bands": list(bands),
        "input": {
            "shape": [_ANY, len(bands), _ANY, _ANY],
            "dim_order": ["batch", "bands", "height", "width"],
            "data_type": "float32",
        },
        "value_scaling": z_scores,
        "resize_type": None,
        "pre_processing_function": None,
    }


def _output(bundle: Bundle, model: nn.Module) -> dict[str, Any]:
    """Logits in the order of the legend, a single one of a binary model, or what an encoder gives."""
    legend = bundle.legend
    channels = _ANY if legend is None else 1 if getattr(model, "binary", False) else legend.num_classes
    return {
        "name": "features" if legend is None else "logits",
        "tasks": _tasks(bundle),
        "result": {
            "shape": [_ANY, channels, _ANY, _ANY],
            "dim_order": ["batch", "channel" if legend is None else "class", "height", "width"],
            "data_type": "float32",
        },
        "classification:classes": [] if legend is None else stac.classes(legend, range(legend.num_classes)),
        "post_processing_function": None,
    }


def _assets(weights: Path, description: Path, card: Path, bands: list[dict[str, Any]]) -> list[stac.Asset]:
    """The bundle's files; STAC wants the bands at an asset, the mlm extension at the item."""
    media_type = "application/octet-stream; application=pytorch"
    written_by = {"mlm:artifact_type": "safetensors.torch.save_file", "bands": bands}
    return [
        stac.Asset(
            "model", weights, f"./{weights.name}", media_type, "weights", ("mlm:model", "mlm:weights"),
            written_by,
        ),
        stac.Asset(
            "bundle", description, f"./{description.name}", "application/yaml",
            "what is needed to use the weights", ("metadata",),
        ),
        stac.Asset("card", card, f"./{card.name}", "text/markdown", "model card", ("metadata",)),
    ]  # fmt: skip
