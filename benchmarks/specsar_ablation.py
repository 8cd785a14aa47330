"""What the parts of SpecSAR-Former are worth: modalities, DMEM, MMAM and the share of the channels.

    python benchmarks/specsar_ablation.py --out bench-out/specsar                  # both data sets
    python benchmarks/specsar_ablation.py --only landscape --rows both sar --seeds 0

Data: a simulated Sentinel-1 (VV, VH) and Sentinel-2 (12 bands) landscape of nine classes, whose optical
image is partly under cloud that nothing marks; and TerraMesh's five real tiles (../shared/data/terramesh:
Sentinel-1 RTC, Sentinel-2 L2A, Esri's classes), each scored by a model of the other four: too small to
conclude anything, large enough to run. One branch alone (`sar`, `spectral`) has all of the channels. Every
row has the same steps, batch, rate and seeds, the loss of configs/specsar_dwplus.yaml, and the last weights
are kept.

The TerraMesh score is that of all five held-out tiles together. A training that is there in --out is not
computed again.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from model_costs import timed_finetune
from rows import once, signed, spread, told
from sarcover.config import EvaluateSettings, FinetuneSettings
from sarcover.files import read_json
from sarcover.metrics import difference, read_blocks, scores
from sarcover.metrics.blocks import blocks_path
from sarcover.models import build_model
from sarcover.patches import open_store
from sarcover.training import evaluate
from sentinel_stores import landscape_stores, terramesh_folds

DATA = ("landscape", "terramesh")
ROWS: dict[str, tuple[str, dict[str, Any]]] = {
    "both": ("SpecSAR-Former", {}),
    "sar": ("radar alone", {"modality": "sar"}),
    "spectral": ("spectral alone", {"modality": "spectral"}),
    "no-dmem": ("without DMEM", {"dmem": False}),
    "no-mmam": ("without MMAM", {"mmam": False}),
    "balanced": ("balanced channels", {"spectral_share": 0.5}),
}


def train(key: str, seed: int, store: Path, run: Path, args: Any) -> dict[str, Any]:
    """One training; its CPU seconds. One that is there is taken as it is."""
    settings = FinetuneSettings(
        data=str(store),
        out=str(run),
        model="specsar-former",
        size=args.size,
        clip_outliers=True,
        steps=args.steps,
        batch=args.batch,
        learning_rate=args.rate,
        weight_decay=0.01,
        warmup=args.warmup,
        validations=0,
        keep="last",
        seed=seed,
        device=args.device,
        precision=args.precision,
        overwrite=True,
        **ROWS[key][1],
    )
    deciding = ("size", "steps", "batch", "rate", "warmup", "precision", "landscape_size", "cloud_cover")
    return once(run / "trained.json", lambda: timed_finetune(settings), told(args, *deciding))


def score(run: Path, store: Path, split: str, args: Any) -> dict[str, Any]:
    """Scores of a run on a split of a store; those that are there are read."""
    path = run / f"{split}.json"
    settings = EvaluateSettings(
        model=str(run), data=str(store), out=str(path), split=split, device=args.device, overwrite=True
    )  # type: ignore[arg-type]
    if not path.exists():
        evaluate(settings)
    return read_json(path)


def landscape(out: Path, args: Any) -> dict[str, list[dict[str, Any]]]:
    """Row -> of each seed its CPU seconds and scores."""
    stores = landscape_stores(out, args.landscape_size, args.cloud_cover)
    results: dict[str, list[dict[str, Any]]] = {}
    for key in args.rows:
        for seed in args.seeds:
            run = out / f"{key}-{seed}"
            found = train(key, seed, stores["both"], run, args)
            found = {**found, "test": score(run, stores["both"], "test", args)}
            tell("landscape", key, seed, found)
            results.setdefault(key, []).append(found)
    return results


def terramesh(out: Path, args: Any) -> dict[str, list[dict[str, Any]]]:
    """The same; a seed's scores are those of five models, each on the tile it has not seen."""
    folds = terramesh_folds(out / "stores", args.data)
    results: dict[str, list[dict[str, Any]]] = {}
    for key in args.rows:
        for seed in args.seeds:
            confusion, seconds = 0, 0.0
            for tile, (others, held_out) in folds.items():
                run = out / f"{key}-{seed}" / tile
                seconds += train(key, seed, others, run, args)["cpu_seconds"]
                confusion = confusion + np.array(score(run, held_out, "train", args)["confusion"])
            legend = open_store(held_out).meta.legend
            found = {"cpu_seconds": seconds, "test": _scores(confusion, legend.names)}  # type: ignore[union-attr]
            tell("terramesh", key, seed, found)
            results.setdefault(key, []).append(found)
    return results


def _scores(confusion: Any, names: list[str]) -> dict[str, Any]:
    import torch

    return scores(torch.as_tensor(confusion), names, "test")


def tell(data: str, key: str, seed: int, found: dict[str, Any]) -> None:
    miou, minutes = found["test"]["miou"], found["cpu_seconds"] / 60
    print(f"{data} {key} {seed}: test mIoU {miou:.3f}, {minutes:.1f} CPU min", flush=True)


def table(name: str, results: dict[str, list[dict[str, Any]]], args: Any) -> str:
    """Means and ranges over the seeds, the size of each model, and IoU of each class."""
    classes = [row["name"] for row in next(iter(results.values()))[0]["test"]["classes"]]
    head = ["model", "mIoU", "OA", "parameters, M", "CPU min", *classes]
    lines = [f"**{name}, {args.steps} steps, {len(args.seeds)} seeds**", "", "| " + " | ".join(head) + " |"]
    lines.append("|---" * len(head) + "|")
    for key, runs in results.items():
        model = build_model(
            "specsar-former",
            size=args.size,
            sar_bands=2,
            optical_bands=12,
            num_classes=len(classes),
            **ROWS[key][1],
        )
        cells = [spread([run["test"][what] for run in runs]) for what in ("miou", "oa")]
        cells.append(f"{sum(p.numel() for p in model.parameters()) / 1e6:.2f}")
        cells.append(f"{np.mean([run['cpu_seconds'] for run in runs]) / 60:.1f}")
        for k in range(len(classes)):
            cells.append(spread([run["test"]["classes"][k]["iou"] for run in runs], brief=True))
        lines.append(f"| {ROWS[key][0]} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def paired(out: Path, rows: Sequence[str], seeds: Sequence[int]) -> str:
    """The whole model against each row on the same pixels of the landscape, seed by seed."""
    others = [key for key in rows if key != "both" and "both" in rows]
    lines = ["| the whole against | seed | difference of mIoU (95 % interval) |", "|---|---|---|"]
    for other in others:
        for seed in seeds:
            blocks = [
                read_blocks(blocks_path(out / f"{key}-{seed}" / "test.json")) for key in ("both", other)
            ]
            found = difference(*blocks)
            lines.append(f"| {ROWS[other][0]} | {seed} | {signed(found['miou'], found['miou_ci95'])} |")
    return "\n".join(lines) if others else ""


def parser() -> argparse.ArgumentParser:
    """The flags."""
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("--out", type=Path, default=Path("bench-out/specsar"))
    flags.add_argument("--data", type=Path, default=Path(os.environ.get("SARCOVER_DATA", "../shared/data")))
    flags.add_argument("--only", choices=DATA, help="one of the data sets")
    flags.add_argument("--rows", nargs="+", choices=list(ROWS), default=list(ROWS))
    flags.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    flags.add_argument("--size", default="tiny")
    flags.add_argument("--steps", type=int, default=300)
    flags.add_argument("--batch", type=int, default=8)
    flags.add_argument("--rate", type=float, default=5e-4)
    flags.add_argument("--warmup", type=float, default=0.05)
    flags.add_argument("--landscape-size", type=int, default=2048)
    flags.add_argument("--cloud-cover", type=float, default=0.3, help="of the landscape's optical image")
    flags.add_argument("--device", default="cpu")
    flags.add_argument("--precision", default="float32")
    return flags


def main(argv: Sequence[str] | None = None) -> None:
    args = parser().parse_args(argv)
    args.out.mkdir(parents=True, exist_ok=True)
    text, found = [], {}
    for name, run in (("landscape", landscape), ("terramesh", terramesh)):
        if args.only in (None, name):
            found[name] = run(args.out / name, args)
            text.append(table(name, found[name], args))
    if "landscape" in found:
        text.append(paired(args.out / "landscape", args.rows, args.seeds))
    report = "\n\n".join(part for part in text if part)
    arguments = {key: str(value) for key, value in vars(args).items()}
    (args.out / "ablation.json").write_text(json.dumps({"arguments": arguments, "results": found}, indent=1))
    (args.out / "tables.md").write_text(report + "\n")
    print(report)


if __name__ == "__main__":
    main()
