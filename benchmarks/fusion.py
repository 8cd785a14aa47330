"""CLAIRE against the U-Net on radar, on optical and on both stacked; and how each bears cloud.

    python benchmarks/fusion.py --out bench-out/fusion                     # OMBRIA and the landscape
    python benchmarks/fusion.py --only landscape --rows claire unet-sar --seeds 0

Data: OMBRIA (../shared/data/ombria: 8-bit radar after a flood, an often cloudy false-colour picture, the
flood mask; its own test folder, 15 % of its training chips for validation), and a simulated landscape of nine
classes whose optical companion is partly under cloud, unmarked by any mask. The same patches for all rows
(`fusion_stores`), the same loss (RIFT, with its defaults) and by default the same steps; the CPU time of each
is a column. `weather` rows are trained as CLAIRE's recipes are, with synthetic cloud and modality dropout; a
U-Net trained so too tells the model's share from the training's.

Every model of both inputs is also scored with a modality withheld, and over synthetic opaque cloud of an
exact cover of each test patch (`training.clouds.cloudy`), once marked by a cloud mask, once not; the
landscape's test patches are clear for that. Clouds are the same for every model. Last come parameters,
operations at 256 px and images/s. A row that is there already in --out is not computed again.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import torch
from torch import Tensor

from fusion_stores import stores_of
from model_costs import gflops, taking_turns, timed_finetune
from rows import once, signed, spread, told
from sarcover.bundle import load_model
from sarcover.config import EvaluateSettings, FinetuneSettings
from sarcover.devices import flush_denormals
from sarcover.files import write_json
from sarcover.metrics import difference, read_blocks, scores
from sarcover.metrics.blocks import blocks_path
from sarcover.models import Segmenter, build_model
from sarcover.patches import open_store
from sarcover.training import evaluate
from sarcover.training.clouds import DETECTED, cloudy, withhold
from sarcover.training.data import Batch, PatchDataset
from sarcover.training.scoring import score

DATA = ("ombria", "landscape")
MASKS = {"marked": DETECTED, "unmarked": 1.0}  # by a cloud mask; opacity above which it finds cloud
WITHHELD = {"radar alone": {"optical": True}, "optical alone": {"sar": True}}
FLOPS_SIDE = 256


@dataclass(frozen=True)
class Row:
    """One model: the store it learns from, and whether it meets cloud and missing modalities."""

    title: str
    model: str
    store: str
    weather: bool = False


ROWS = {
    "unet-sar": Row("U-Net, radar", "unet", "sar"),
    "unet-optical": Row("U-Net, optical", "unet", "optical"),
    "unet-both": Row("U-Net, both stacked", "unet", "both"),
    "unet-weather": Row("U-Net, both stacked, weather", "unet", "both", weather=True),
    "claire": Row("CLAIRE, weather", "claire", "both", weather=True),
    "claire-plain": Row("CLAIRE, no weather", "claire", "both"),
}
DECIDING = (
    "size", "backbone", "weights", "steps", "unet_steps", "batch", "rate", "ema", "keep", "validations",
    "cloud", "drop_optical", "drop_sar", "landscape_size", "cloud_cover", "precision",
)  # fmt: skip
DEFAULT_ROWS = ("unet-sar", "unet-optical", "unet-both", "unet-weather", "claire")


def train_and_score(key: str, seed: int, stores: dict[str, Path], out: Path, args: Any) -> dict[str, Any]:
    """One training with all its scores on the test split; those that are there are read."""
    run = out / f"{key}-{seed}"
    done = run / "fusion.json"
    found = once(done, lambda: _train_and_score(ROWS[key], seed, stores, run, args), told(args, *DECIDING))
    curved = ROWS[key].store == "both" and ("clear" in stores or args.ombria_curve)
    if curved and found.get("covers") != args.covers:
        found |= bad_weather(run, stores, args)
        write_json(done, found)
    return found


def _train_and_score(row: Row, seed: int, stores: dict[str, Path], run: Path, args: Any) -> dict[str, Any]:
    settings = FinetuneSettings(
        data=str(stores[row.store]),
        out=str(run),
        model=row.model,  # type: ignore[arg-type]
        size=args.size,
        loss="rift",
        steps=args.steps if row.model == "claire" else args.unet_steps,
        batch=args.batch,
        learning_rate=args.rate,
        ema=args.ema,
        keep=args.keep,
        validations=args.validations,
        seed=seed,
        device=args.device,
        precision=args.precision,
        overwrite=True,
    )
    if row.model == "claire":
        settings = replace(settings, backbone=args.backbone, weights=args.weights)
    if row.weather:
        settings = replace(settings, cloud=args.cloud, drop_optical=args.drop_optical, drop_sar=args.drop_sar)
    result = timed_finetune(settings)
    result["test"] = evaluate(
        EvaluateSettings(
            model=str(run), data=str(stores[row.store]), out=str(run / "test.json"), borders=False,
            device=args.device, overwrite=True,
        )
    )  # fmt: skip
    if row.store == "both":
        result |= bad_weather(run, stores, args)
    print(
        f"{run.parent.name} {run.name}: test mIoU {result['test']['miou']:.3f}, "
        f"{result['cpu_seconds'] / 60:.1f} CPU min",
        flush=True,
    )
    return result


@flush_denormals()
def bad_weather(run: Path, stores: dict[str, Path], args: Any) -> dict[str, Any]:
    """Scores with a modality withheld, and mIoU over cloud cover on the clear patches where there are."""
    device = torch.device(args.device)
    model = load_model(run).to(device).eval()
    of_store = PatchDataset(open_store(stores["both"]), "test")
    withheld = {
        name: test_scores(lambda batch, gone=gone: model(withhold(batch, **gone)), of_store, device)
        for name, gone in WITHHELD.items()
    }
    if "clear" not in stores and not args.ombria_curve:
        return {"withheld": withheld}
    clear = PatchDataset(open_store(stores.get("clear", stores["both"])), "test")
    curve = {
        mask: [
            test_scores(partial(clouded, model, cover, above, count()), clear, device)["miou"]
            for cover in args.covers
        ]
        for mask, above in MASKS.items()
    }
    return {"withheld": withheld, "covers": args.covers, "curve": curve}


def clouded(model: Segmenter, cover: float, mask_above: float, numbers: count[int], batch: Batch) -> Tensor:
    """Logits under cloud; the clouds follow from the number of the patch in its split alone."""
    generators = [torch.Generator().manual_seed(next(numbers)) for _ in batch["sar"]]
    logits: Tensor = model(cloudy(batch, cover, generators, mask_above=mask_above))
    return logits


def test_scores(
    predict: Callable[[Batch], Tensor], data: PatchDataset, device: torch.device
) -> dict[str, Any]:
    """mIoU and OA over a split."""
    names = data.store.meta.legend.names  # type: ignore[union-attr]
    found = scores(score(predict, data, len(names), batch=8, device=device), names, "test")
    return {"miou": found["miou"], "oa": found["oa"]}


def table(name: str, results: dict[str, list[dict[str, Any]]]) -> str:
    """Means and ranges over the seeds on the test split."""
    lines = [
        f"**{name}, test split**",
        "",
        "| model | mIoU | OA | mIoU, radar alone | mIoU, optical alone | CPU min |",
        "|---|---|---|---|---|---|",
    ]
    for key, runs in results.items():
        cells = [spread([run["test"][what] for run in runs]) for what in ("miou", "oa")]
        for withheld in WITHHELD:
            there = [run["withheld"][withheld]["miou"] for run in runs if "withheld" in run]
            cells.append(spread(there))
        cells.append(f"{np.mean([run['cpu_seconds'] for run in runs]) / 60:.1f}")
        lines.append(f"| {ROWS[key].title} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def classes_table(results: dict[str, list[dict[str, Any]]]) -> str:
    """IoU of each class on the test split, mean over the seeds."""
    names = [row["name"] for row in next(iter(results.values()))[0]["test"]["classes"]]
    lines = ["| IoU | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    for key, runs in results.items():
        values = [[run["test"]["classes"][k]["iou"] for run in runs] for k in range(len(names))]
        lines.append(f"| {ROWS[key].title} | " + " | ".join(spread(v, brief=True) for v in values) + " |")
    return "\n".join(lines)


def paired(out: Path, results: dict[str, Any], seeds: Sequence[int]) -> str:
    """CLAIRE against the stacked U-Nets on the same pixels, seed by seed."""
    lines = ["| CLAIRE against | seed | difference of mIoU (95 % interval) |", "|---|---|---|"]
    others = [key for key in ("unet-both", "unet-weather") if {key, "claire"} <= results.keys()]
    for other in others:
        for seed in seeds:
            blocks = [
                read_blocks(blocks_path(out / f"{key}-{seed}" / "test.json")) for key in ("claire", other)
            ]
            found = difference(*blocks)
            lines.append(f"| {ROWS[other].title} | {seed} | {signed(found['miou'], found['miou_ci95'])} |")
    return "\n".join(lines) if others else ""


def curve_table(results: dict[str, list[dict[str, Any]]], covers: Sequence[float]) -> str:
    """mIoU over cloud cover, mean and range over the seeds."""
    lines = [
        "| mIoU under cloud | " + " | ".join(f"{100 * cover:.0f} %" for cover in covers) + " |",
        "|---" * (len(covers) + 1) + "|",
    ]
    for key, mask, values in _curves(results):
        cells = [spread(list(column)) for column in values.T]
        lines.append(f"| {ROWS[key].title}, {mask} | " + " | ".join(cells) + " |")
    if "unet-sar" in results:
        flat = spread([run["test"]["miou"] for run in results["unet-sar"]])
        lines.append(f"| {ROWS['unet-sar'].title} | " + " | ".join([flat] * len(covers)) + " |")
    return "\n".join(lines)


def curve_picture(results: dict[str, list[dict[str, Any]]], covers: Sequence[float], out: Path) -> None:
    """mIoU over cloud cover: mean, and the range over the seeds as a band; radar alone is flat."""
    figure, axes = plt.subplots(1, len(MASKS), figsize=(10, 4), layout="constrained", sharey=True)
    panels = dict(zip(MASKS, axes, strict=True))
    percent = 100 * np.asarray(covers)
    for key, mask, values in _curves(results):
        colour = f"C{list(ROWS).index(key)}"
        panels[mask].plot(percent, values.mean(0), "o-", ms=3, color=colour, label=ROWS[key].title)
        panels[mask].fill_between(percent, values.min(0), values.max(0), color=colour, alpha=0.2, lw=0)
    for mask, axis in panels.items():
        if "unet-sar" in results:
            flat = [run["test"]["miou"] for run in results["unet-sar"]]
            axis.plot(percent, np.full(percent.shape, np.mean(flat)), "k--", label=ROWS["unet-sar"].title)
            axis.fill_between(percent, min(flat), max(flat), color="k", alpha=0.1, lw=0)
        title = "a cloud mask marks it" if mask == "marked" else "nothing marks it"
        axis.set(xlabel="cloud cover, %", title=f"Cloud: {title}")
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("test mIoU")
    axes[0].legend(frameon=False, fontsize=8)
    figure.savefig(out, dpi=150)
    plt.close(figure)


def _curves(results: dict[str, list[dict[str, Any]]]) -> list[tuple[str, str, np.ndarray]]:
    """Row, mask, and mIoU (seeds, covers)."""
    return [
        (key, mask, np.array([run["curve"][mask] for run in runs]))
        for key, runs in results.items()
        for mask in MASKS
        if all("curve" in run for run in runs)
    ]


@torch.inference_mode()
def costs(args: Any) -> str:
    """Parameters, operations of a forward pass at 256 px, and images/s, the models taking turns."""
    device = torch.device(args.device)
    models = {
        "U-Net, radar": build_model("unet", size=args.size, num_classes=9),
        "U-Net, both stacked": build_model("unet", size=args.size, optical_bands=4, num_classes=9),
        "CLAIRE": build_model(
            "claire", size=args.size, optical_bands=4, num_classes=9, backbone=args.backbone
        ),
    }
    pixels = (args.batch, 1, FLOPS_SIDE, FLOPS_SIDE)
    batch = {
        "sar": torch.randn(pixels, device=device) - 10,
        "optical": torch.rand(args.batch, 4, FLOPS_SIDE, FLOPS_SIDE, device=device),
    }
    for model in models.values():
        model.to(device).eval()
    jobs = {name: lambda model=model: model(batch) for name, model in models.items()}
    seconds = taking_turns(jobs, args.turns, device)
    lines = [
        f"Size {args.size}, batch {args.batch}, {device.type}, {torch.get_num_threads()} threads:",
        "",
        f"| model | million parameters | GFLOP at {FLOPS_SIDE} px | images/s (CPU time on a CPU) |",
        "|---|---|---|---|",
    ]
    one = {key: value[:1] for key, value in batch.items()}
    for name, model in models.items():
        parameters = sum(p.numel() for p in model.parameters()) / 1e6
        operations, rate = gflops(lambda model=model: model(one)), args.batch / seconds[name]  # type: ignore[misc]
        lines.append(f"| {name} | {parameters:.2f} | {operations:.2f} | {rate:.2f} |")
    return "\n".join(lines)


def run_all(name: str, args: Any) -> list[str]:
    """All rows on one data set, and their tables."""
    out = args.out / name
    stores = stores_of(out, name, args.data, args.landscape_size, args.cloud_cover)
    results = {
        key: [train_and_score(key, seed, stores, out, args) for seed in args.seeds] for key in args.rows
    }
    text = [table(name, results), classes_table(results), paired(out, results, args.seeds)]
    covers = next((run["covers"] for runs in results.values() for run in runs if "covers" in run), None)
    if covers:
        text.append(curve_table(results, covers))
        curve_picture(results, covers, out / "cloud_cover.png")
    return [part for part in text if part]


def parser() -> argparse.ArgumentParser:
    """The flags; with their defaults a training costs three minutes of one core (U-Net) or seven (CLAIRE)."""
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("--out", type=Path, default=Path("bench-out/fusion"))
    flags.add_argument("--data", type=Path, default=Path(os.environ.get("SARCOVER_DATA", "../shared/data")))
    flags.add_argument("--only", choices=DATA, help="one of the data sets")
    flags.add_argument("--rows", nargs="+", choices=list(ROWS), default=list(DEFAULT_ROWS))
    flags.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    flags.add_argument("--size", default="tiny")
    flags.add_argument("--backbone", default="convnext", choices=("convnext", "resnet"))
    flags.add_argument("--weights", help="pretrained weights of CLAIRE's encoders, as finetune takes them")
    flags.add_argument("--steps", type=int, default=480, help="of CLAIRE")
    flags.add_argument("--unet-steps", type=int, help="default: as many")
    flags.add_argument("--batch", type=int, default=8)
    flags.add_argument("--rate", type=float, default=1e-3)
    flags.add_argument("--ema", type=float, default=0.0)
    flags.add_argument("--keep", default="last", choices=("best", "last"))
    flags.add_argument("--validations", type=int, default=1)
    flags.add_argument("--cloud", type=float, default=0.25, help="weather, as in configs/claire_*.yaml")
    flags.add_argument("--drop-optical", type=float, default=0.45)
    flags.add_argument("--drop-sar", type=float, default=0.05)
    flags.add_argument("--landscape-size", type=int, default=2048)
    flags.add_argument("--cloud-cover", type=float, default=0.3, help="of the landscape's optical image")
    flags.add_argument("--covers", type=float, nargs="+", default=[i / 10 for i in range(11)])
    flags.add_argument("--ombria-curve", action="store_true", help="the curve on OMBRIA's patches too")
    flags.add_argument("--turns", type=int, default=5, help="forward passes that images/s is the median of")
    flags.add_argument("--device", default="cpu")
    flags.add_argument("--precision", default="float32")
    return flags


def main(argv: Sequence[str] | None = None) -> None:
    args = parser().parse_args(argv)
    args.unet_steps = args.unet_steps or args.steps
    args.out.mkdir(parents=True, exist_ok=True)
    text = [part for name in DATA if args.only in (None, name) for part in run_all(name, args)]
    text.append(costs(args))
    report = "\n\n".join(text)
    arguments = {key: str(value) for key, value in vars(args).items()}
    (args.out / "arguments.json").write_text(json.dumps(arguments, indent=2))
    (args.out / "tables.md").write_text(report + "\n")
    print(report)


if __name__ == "__main__":
    main()
