"""Tables I to III of arXiv 2601.15705 (the ALOS-2 system) on data at hand, beside the paper's figures.

    python benchmarks/ablation.py --out bench-out/ablation            # the simulated landscape
    python benchmarks/ablation.py --out bench-out/ablation --real     # HH of the three real L-band scenes

Table I: baseline, + high-resolution features, + Refine-Up, + alpha-scale, and the last one without
pretraining, on the validation split. Table II: IoU of each class on the test split. Table III: the water
detector, pretrained and not. With them what the paper shows in pictures only: how well borders, thin
structures and small objects are kept; paired intervals of each row against the one before; the validation
curves of Fig. 2, panels like Fig. 3 and a triptych like Fig. 4. --real adds the U-Net under the same budget
and scores patches that see nothing of another split.

The pretraining is that of pretraining_gain.py on training blocks alone; --encoder takes a run that is there.
A row that is there already (metrics in --out) is not computed again. Base size on a GPU:
benchmarks/gpu/ablation.py.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from ablation_pictures import curves, panels, triptych
from model_costs import timed_finetune
from pretraining_gain import PATCH, encoder_of, stores_of
from rows import once, signed, spread, told
from sarcover.config import (
    Augmentation,
    EvaluateSettings,
    FinetuneSettings,
    MapSettings,
    PrepareSettings,
    Turns,
)
from sarcover.mapping import map_with
from sarcover.metrics import difference, read_blocks
from sarcover.metrics.blocks import blocks_path
from sarcover.patches import prepare
from sarcover.training import evaluate


@dataclass(frozen=True)
class Row:
    """One model of the tables: its switches, and the paper's mIoU and mAcc on its validation split."""

    title: str
    pretrained: bool = True
    high_res: bool = True
    refine_up: bool = True
    alpha_scale: float = 2.25
    taps: Literal["extended", "replaced"] = "extended"
    model: str = "alos2-refined"
    paper: tuple[float, float] | None = None


ROWS = {
    "baseline": Row("baseline", high_res=False, refine_up=False, alpha_scale=1.0, paper=(0.4745, 0.5834)),
    "high-res": Row("+ high-res.", refine_up=False, alpha_scale=1.0, paper=(0.4899, 0.5992)),
    "refine-up": Row("+ Refine-Up", alpha_scale=1.0, paper=(0.4967, 0.6093)),
    "full": Row("+ alpha-scale (this work)", paper=(0.5026, 0.6112)),
    "scratch": Row("this work, no pretraining", pretrained=False, paper=(0.4118, 0.5000)),
    "replaced": Row("this work, other taps", taps="replaced"),
    "unet": Row("U-Net, no pretraining", pretrained=False, model="unet"),
}
DECIDING = (
    "encoder", "size", "steps", "batch", "rate", "layer_decay", "dropout", "drop_path", "clip", "ema", "keep",
    "turns", "tta", "fraction", "validations", "precision",
)  # fmt: skip
TABLE_1 = ("baseline", "high-res", "refine-up", "full", "scratch")
STEPS_OF_TABLE_1 = (
    ("high-res", "baseline"),
    ("refine-up", "high-res"),
    ("full", "refine-up"),
    ("full", "scratch"),
    ("full", "replaced"),
)
TABLE_2 = {  # the paper's IoU on its test split: no pretraining, RSSJ'25 (the baseline), this work
    "scratch": (0.89, 0.67, 0.56, 0.29, 0.85, 0.19, 0.03, 0.13, 0.08),
    "baseline": (0.92, 0.67, 0.62, 0.37, 0.87, 0.32, 0.20, 0.18, 0.11),
    "full": (0.93, 0.70, 0.65, 0.38, 0.88, 0.33, 0.23, 0.22, 0.17),
}
TABLE_3 = {"scratch": (0.9006, 0.9560, 0.9395), "full": (0.9364, 0.9653, 0.9691)}


def train_and_score(
    name: str, seed: int, store: Path, encoder: Path, out: Path, args: argparse.Namespace, water: bool = False
) -> dict[str, Any]:
    """One training: the metrics of both splits; those that are there are read."""
    run = out / f"{'water-' if water else ''}{name}-{seed}"
    return once(
        run / "ablation.json",
        lambda: _train_and_score(ROWS[name], seed, store, encoder, run, args, water),
        told(args, *DECIDING),
    )


def _train_and_score(
    row: Row, seed: int, store: Path, encoder: Path, run: Path, args: argparse.Namespace, water: bool
) -> dict[str, Any]:
    refined = row.model == "alos2-refined"
    settings = FinetuneSettings(
        data=str(store),
        out=str(run),
        model="alos2-water" if water else row.model,
        size=args.size,
        init=str(encoder) if row.pretrained else None,
        steps=args.steps,
        batch=args.batch,
        learning_rate=args.rate,
        min_rate=1e-6,
        layer_decay=args.layer_decay if refined and row.pretrained else 1.0,
        clip=args.clip,
        ema=args.ema,
        turns=args.turns,
        keep=args.keep,
        validations=args.validations,
        train_fraction=args.fraction,
        seed=seed,
        device=args.device,
        precision=args.precision,
        overwrite=True,
    )
    if refined:
        settings = replace(
            settings,
            high_res=row.high_res,
            taps=row.taps if row.high_res else None,
            refine_up=row.refine_up,
            dropout=args.dropout,
            drop_path=args.drop_path,
        )
        if not water:
            settings = replace(settings, alpha_scale=row.alpha_scale)
    result = timed_finetune(settings)
    for split in ("val", "test"):
        result[split] = evaluate(
            EvaluateSettings(
                model=str(run), data=str(store), out=str(run / f"{split}.json"), split=split, tta=args.tta,
                device=args.device, overwrite=True,
            )
        )  # fmt: skip
    scored = result["test"]
    print(f"{run.name}: test mIoU {scored['miou']:.3f}, {result['cpu_seconds'] / 60:.1f} CPU min", flush=True)
    return result


def table_1(name: str, results: dict[str, list[dict[str, Any]]], split: str = "val") -> str:
    """Means and ranges over the seeds, with borders and thin structures."""
    lines = [
        f"**{name}, {split} split**",
        "",
        "| model | mIoU | mAcc | boundary IoU, 2 px | boundary F1, 2 px | thin recall | small objects "
        "| CPU min | paper mIoU / mAcc (%) |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for key, runs in results.items():
        paper = ROWS[key].paper
        cells = [
            spread([run[split]["miou"] for run in runs]),
            spread([run[split]["macc"] for run in runs]),
            spread([run[split]["boundary"]["iou"]["2"] for run in runs]),
            spread([run[split]["boundary"]["f1"]["2"] for run in runs]),
            spread([run[split]["boundary"]["thin"]["recall"] for run in runs]),
            spread([run[split]["boundary"]["small_objects"]["completeness"] for run in runs]),
            f"{np.mean([run['cpu_seconds'] for run in runs]) / 60:.1f}",
            f"{100 * paper[0]:.2f} / {100 * paper[1]:.2f}" if paper else "",
        ]
        lines.append(f"| {ROWS[key].title} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def paired(out: Path, results: dict[str, list[dict[str, Any]]], seed: int, split: str) -> str:
    """Each refinement against the row before it, first seed: differences with their 95 % intervals."""
    lines = [
        f"Differences on the {split} split, seed {seed}, paired 95 % intervals over blocks of ground:",
        "",
        "| step | mIoU | boundary F1, 2 px | thin recall |",
        "|---|---|---|---|",
    ]
    for better, worse in STEPS_OF_TABLE_1:
        if better in results and worse in results:
            blocks = [
                read_blocks(blocks_path(out / f"{key}-{seed}" / f"{split}.json")) for key in (better, worse)
            ]
            found = difference(*blocks)
            border = found["boundary"]
            cells = [
                signed(found["miou"], found["miou_ci95"]),
                signed(border["f1"]["2"], border["f1_ci95"]["2"]),
                signed(border["thin_recall"], border["thin_recall_ci95"]),
            ]
            lines.append(f"| {better} against {worse} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def table_2(results: dict[str, list[dict[str, Any]]]) -> str:
    """IoU of each class on the test split, mean over the seeds; in brackets the paper's; or nothing."""
    keys = [key for key in (*TABLE_2, "unet") if key in results]
    if not keys:
        return ""
    classes = [row["name"] for row in results[keys[0]][0]["test"]["classes"]]
    of_paper = len(classes) == len(TABLE_2["full"])
    lines = ["| model | " + " | ".join(classes) + " | mIoU |", "|---" * (len(classes) + 2) + "|"]
    for key in keys:
        cells = []
        for k in range(len(classes)):
            values = [run["test"]["classes"][k]["iou"] for run in results[key]]
            paper = f" ({TABLE_2[key][k]:.2f})" if of_paper and key in TABLE_2 else ""
            cells.append(spread(values, brief=True) + paper)
        cells.append(spread([run["test"]["miou"] for run in results[key]]))
        lines.append(f"| {ROWS[key].title} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def table_3(results: dict[str, list[dict[str, Any]]]) -> str:
    """The water detector on the test split; in brackets the paper's percent."""
    lines = [
        "| water detector | IoU | precision | recall | boundary F1, 2 px | thin recall |",
        "|---|---|---|---|---|---|",
    ]
    for key, runs in results.items():
        water = [run["test"]["classes"][1] for run in runs]
        border = [run["test"]["boundary"]["classes"][1] for run in runs]
        cells = [
            f"{spread([row[what] for row in water])} ({100 * paper:.2f})"
            for what, paper in zip(("iou", "precision", "recall"), TABLE_3[key], strict=True)
        ]
        cells += [spread([row["f1"]["2"] for row in border]), spread([row["thin_recall"] for row in border])]
        title = "pretrained" if ROWS[key].pretrained else "no pretraining"
        lines.append(f"| {title} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def ablate(name: str, store: Path, encoder: Path, out: Path, args: argparse.Namespace) -> list[str]:
    """Tables I and II of one store, and their pictures."""
    results = {
        key: [train_and_score(key, seed, store, encoder, out, args) for seed in args.seeds]
        for key in args.rows
    }
    text = [table_1(name, results), table_1(name, results, "test")]
    text += [paired(out, results, args.seeds[0], split) for split in ("val", "test")]
    text.append(table_2(results))
    first = {ROWS[key].title: out / f"{key}-{args.seeds[0]}" for key in results}
    curves(first, out / "curves.png", name)
    panels(first, store, out / "panels.png", args.device)
    return text


def water(data: Path, encoder: Path, out: Path, args: argparse.Namespace) -> list[str]:
    """Table III and the triptych, on the scenes and labels of the simulated landscape."""
    scene = str(min((data / "scenes").glob("*.tif")))
    labels = sorted((data / "labels").glob("*.tif"))
    store = out / "store"
    if not store.exists():
        prepare(
            PrepareSettings(
                out=str(store),
                scenes=(scene,),
                labels=tuple(map(str, labels)),
                legend="jaxa-water",
                patch=args.patch,
                block=2 * args.patch,
            )
        )
    results = {
        key: [train_and_score(key, seed, store, encoder, out, args, water=True) for seed in args.seeds]
        for key in TABLE_3
    }
    run = out / f"water-full-{args.seeds[0]}"
    map_with(
        MapSettings(
            model=str(run), out=str(out / "water.tif"), scenes=(scene,), device=args.device, overwrite=True
        )
    )
    triptych(scene, out / "water.tif", labels, "jaxa-water", out / "triptych.png")
    return [table_3(results)]


def parser() -> argparse.ArgumentParser:
    """The flags; their defaults are for two CPU cores."""
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("--out", type=Path, default=Path("bench-out/ablation"))
    flags.add_argument("--data", type=Path, default=Path(os.environ.get("SARCOVER_DATA", "../shared/data")))
    flags.add_argument("--real", action="store_true", help="the real scenes instead of the landscape")
    flags.add_argument("--scenes", nargs="+", help="of the real scenes, these alone")
    flags.add_argument("--landscape-size", type=int, default=2048)
    flags.add_argument("--patch", type=int, default=PATCH, help="side of the landscape's patches, pixels")
    flags.add_argument("--encoder", help="a pretrained run, instead of pretraining")
    flags.add_argument(
        "--rows", nargs="+", choices=list(ROWS), help="default: Table I; --real adds the U-Net"
    )
    flags.add_argument("--no-water", action="store_true", help="leave out Table III")
    flags.add_argument("--seeds", type=int, nargs="+", default=[0])
    flags.add_argument("--size", default="tiny")
    flags.add_argument("--pretrain-steps", type=int, default=1000)
    flags.add_argument("--pretrain-batch", type=int, default=16)
    flags.add_argument("--pretrain-rate", type=float, default=1.6e-2, help="for a batch of 256")
    flags.add_argument("--norm-pix", action="store_true", help="as published; see docs/measured.md")
    flags.add_argument("--steps", type=int, default=600)
    flags.add_argument("--batch", type=int, default=8)
    flags.add_argument("--rate", type=float, default=1e-3)
    flags.add_argument("--layer-decay", type=float, default=1.0, help="published: .7, for 24 blocks")
    flags.add_argument("--dropout", type=float, default=0.1, help="published sibling: .5")
    flags.add_argument("--drop-path", type=float, default=0.1)
    flags.add_argument("--clip", type=float, default=1.0, help="largest gradient norm; 0 is off")
    flags.add_argument("--ema", type=float, default=0.99)
    flags.add_argument("--keep", default="best", choices=("best", "last"))
    flags.add_argument("--turns", default="all", choices=get_args(Turns))
    flags.add_argument("--tta", default="none", choices=get_args(Augmentation))
    flags.add_argument("--fraction", type=float, default=1.0, help="share of the training patches")
    flags.add_argument("--validations", type=int, default=6)
    flags.add_argument("--device", default="cpu")
    flags.add_argument("--precision", default="float32")
    return flags


def main(argv: Sequence[str] | None = None) -> None:
    args = parser().parse_args(argv)
    out = args.out / ("real" if args.real else "landscape")
    out.mkdir(parents=True, exist_ok=True)
    args.rows = args.rows or [*TABLE_1, *(["unet"] if args.real else [])]
    unlabelled, stores = stores_of(out, args)
    computing = {"device": args.device, "precision": args.precision}
    encoder = Path(args.encoder) if args.encoder else encoder_of(unlabelled, out, args, **computing)
    text = []
    for name, store in stores.items():
        if not args.scenes or name in args.scenes:
            text += ablate(name, store, encoder, out / name, args)
    if not args.real and not args.no_water:
        text += water(out / "data", encoder, out / "water", args)
    report = "\n\n".join(part for part in text if part)
    (out / "tables.md").write_text(report + "\n")
    (out / "arguments.json").write_text(
        json.dumps({key: str(value) for key, value in vars(args).items()}, indent=2)
    )
    print(report)


if __name__ == "__main__":
    main()
