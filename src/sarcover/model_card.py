"""The model card of a bundle: README.md, for people and for model hubs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from sarcover.bundle import Bundle

_FRONT = {"library_name": "sarcover", "tags": ["SAR", "radar", "land-cover", "remote-sensing"]}


def model_card(bundle: Bundle) -> str:
    """Markdown: what the model is, takes and gives, how good it is, how it was trained, how to use it."""
    architecture = bundle.architecture
    front: dict[str, Any] = dict(_FRONT)
    if bundle.legend is not None:
        front["pipeline_tag"] = "image-segmentation"
        title = f"{architecture['name']}: {bundle.legend.title}"
        about = "A segmentation model: radar scenes in, a land-cover class for every pixel out."
    else:
        title = f"{architecture['name']}: pretrained radar encoder"
        about = (
            "An encoder pretrained on radar scenes without labels. It gives no map before it is finetuned."
        )
    parts = [
        f"---\n{_yaml(front)}---\n\n# {title}\n\n{about} Made with sarcover.",
        _inputs(bundle),
        _classes(bundle),
        _accuracy(bundle.metrics),
        f"## Architecture\n\n```yaml\n{_yaml(architecture)}```",
        f"## Training\n\n```yaml\n{_yaml(bundle.training)}```",
        _use(bundle),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _inputs(bundle: Bundle) -> str:
    sar, optical = bundle.normalisation["sar"], bundle.normalisation.get("optical")
    unit = "source values, uncalibrated" if bundle.unit == "uncalibrated" else f"{bundle.radiometry}, dB"
    rows = [f"| {band} | {unit} {row}" for band, row in zip(bundle.bands, _numbers(sar), strict=True)]
    if optical is not None:
        pairs = zip(bundle.optical_bands, _numbers(optical), strict=True)
        rows += [f"| {band} | reflectance, 0 to 1 {row}" for band, row in pairs]
    limits = (" clipped to |", "---|") if "lower" in sar else ("", "")
    return "\n".join(
        [
            "## Inputs\n",
            f"| band | unit | mean | standard deviation |{limits[0]}",
            f"|---|---|---|---|{limits[1]}",
            *rows,
            f"\nTrained on patches of {bundle.patch} x {bundle.patch} pixels; any size works. "
            "The normalisation is part of the model.",
        ]
    )


def _numbers(statistics: dict[str, list[float]]) -> list[str]:
    """The end of each band's row: mean, deviation and, of a model that clips outliers, its limits."""
    rows = [
        f"| {mean:.4g} | {std:.4g} |" for mean, std in zip(statistics["mean"], statistics["std"], strict=True)
    ]
    if "lower" in statistics:
        limits = zip(rows, statistics["lower"], statistics["upper"], strict=True)
        rows = [f"{row} {low:.4g} to {high:.4g} |" for row, low, high in limits]
    return rows


def _classes(bundle: Bundle) -> str:
    if bundle.legend is None:
        return ""
    found = {row["name"]: row["iou"] for row in (bundle.metrics or {}).get("classes", [])}
    rows = [
        f"| {index} | {land.code} | {land.name} | {land.colour} | {_figure(found.get(land.name))} |"
        for index, land in enumerate(bundle.legend.classes)
    ]
    head = ["## Classes\n", "| logit | code in maps | name | colour | IoU |", "|---|---|---|---|---|"]
    return "\n".join([*head, *rows])


def _accuracy(metrics: dict[str, Any] | None) -> str:
    if not metrics:
        return ""
    figures = ", ".join(
        f"{label} {_figure(metrics.get(key))}"
        for label, key in (("mIoU", "miou"), ("overall accuracy", "oa"), ("mean accuracy", "macc"))
    )
    split, pixels = metrics.get("split") or "unnamed", metrics.get("n_pixels", 0)
    return f"## Accuracy\n\n{figures} on {pixels:,} pixels of the {split} split."


def _use(bundle: Bundle) -> str:
    if bundle.legend is None:
        command = "sarcover finetune --data STORE --model swin-upernet --init THIS_FOLDER --out RUN"
        return f"## Use\n\n```sh\n{command}\n```"
    return (
        "## Use\n\n```sh\nsarcover map --model THIS_FOLDER --scenes SCENE.tif --out map.tif\n```\n\n"
        '```python\nimport sarcover\n\nmodel = sarcover.load_model("THIS_FOLDER")\n'
        'sarcover.map_scene(model, "SCENE.tif", "map.tif")\n```'
    )


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _yaml(value: dict[str, Any]) -> str:
    return yaml.safe_dump(value, sort_keys=False, allow_unicode=True)
