"""What self-supervision is worth: finetuning from SAR-W-MixMAE against scratch, at equal finetuning steps.

    python benchmarks/pretraining_gain.py --out bench-out/gain            # the simulated landscape
    python benchmarks/pretraining_gain.py --out bench-out/gain --real     # HH of the three real scenes

Landscape: pretraining on three months of one simulated region, training blocks alone, without looking at
labels; finetuning on one month's training blocks, all of them and one patch in ten; scored on the test
blocks, which are few, and on all of another region that nothing was trained on. Real: pretraining on the 24
Sentinel-1 VH tiles of s1s2_pairs and the pixels of the three scenes outside their test split; finetuning and
scoring each scene isolated, by its split.tif. Every unlabelled scene is brought to one mean and deviation in
dB: the Sentinel-1 tiles are 8-bit amplitude stretched by an unknown constant, and finetuning normalises by
the statistics of its own store, so that scenes that differ by 20 dB in pretraining would show the encoder
what it never meets again. What is in --out is not computed again.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import rasterio

from real_lband import CASES, write_legend
from rows import once, spread, told
from sarcover.config import (
    EvaluateSettings,
    FinetuneSettings,
    PrepareSettings,
    PretrainSettings,
    SimulateSettings,
)
from sarcover.files import read_json, write_json
from sarcover.patches import prepare
from sarcover.radar import amplitude_to_db, linear_to_db
from sarcover.simulate import simulate
from sarcover.training import evaluate, finetune, pretrain

PATCH = 128
INITS = ("scratch", "pretrained")
ELSEWHERE = "elsewhere"  # the store of another region than the one trained on
PATCH_REAL = 64  # of the isolated parts of the real scenes: at 128 px half of a patch is nodata
DECIDING = (
    "size", "steps", "batch", "rate", "dropout", "ema", "keep", "layer_decay", "validations", "precision",
)  # fmt: skip
MEAN_DB, STD_DB = -14.0, 5.0  # of every unlabelled scene; any constants would do


def landscape_stores(out: Path, size: int, patch: int) -> tuple[Path, dict[str, Path]]:
    """The stores of the simulated region: one for pretraining, one for finetuning."""
    data = simulate(
        SimulateSettings(
            out=str(out / "data"), size=size, months=("2022-09", "2022-10", "2022-11"), overwrite=True
        )
    )
    common = PrepareSettings(
        out="",
        labels=(str(data / "labels"),),
        legend="jaxa-hrlulc-9",
        patch=patch,
        block=2 * patch,
        overwrite=True,
    )
    scenes = sorted(str(p) for p in (data / "scenes").glob("*.tif"))
    prepare(replace(common, out=str(out / "pretrain"), scenes=tuple(scenes)))
    prepare(replace(common, out=str(out / "finetune"), scenes=tuple(s for s in scenes if "202209" in s)))
    elsewhere(out, size, patch)
    return out / "pretrain", {"landscape": out / "finetune"}


def elsewhere(out: Path, size: int, patch: int) -> None:
    """The store of another simulated region, all of it in the split `train`."""
    data = simulate(
        SimulateSettings(
            out=str(out / "elsewhere_data"), size=size, months=("2022-09",), seed=1, overwrite=True
        )
    )
    prepare(
        PrepareSettings(
            out=str(out / ELSEWHERE),
            scenes=(str(data / "scenes"),),
            labels=(str(data / "labels"),),
            legend="jaxa-hrlulc-9",
            patch=patch,
            split="none",
            overwrite=True,
        )
    )


def real_stores(out: Path, data: Path) -> tuple[Path, dict[str, Path]]:
    """The stores of the real scenes: one for pretraining, one a scene for finetuning."""
    folder = out / "unlabelled"
    folder.mkdir(parents=True, exist_ok=True)
    for name in CASES:
        _write_db(unlabelled_hh(data / name), folder / f"{name}_HH.tif")
    for path in sorted((data / "s1s2_pairs" / "sar").glob("*.png")):
        with rasterio.open(path) as source:
            grey = source.read(1).astype(np.float32)
        _write_db(amplitude_to_db(np.where(grey > 0, grey, np.nan)), folder / f"pair{path.stem}_HH.tif")
    prepare(
        PrepareSettings(
            out=str(out / "pretrain"),
            scenes=tuple(str(p) for p in sorted(folder.glob("*.tif"))),
            unit="db",
            patch=PATCH,
            split="none",
            overwrite=True,
        )
    )
    stores = {}
    for name, case in CASES.items():
        legend = write_legend(out / f"{name}.yaml", name.replace("_", "-"), case.classes)
        stores[name] = out / f"finetune_{name}"
        prepare(
            PrepareSettings(
                out=str(stores[name]),
                scenes=(str(data / name / "hh_hv_vv.tif"),),
                bands=("HH",),
                patch=PATCH_REAL,
                labels=(str(data / name / "label.tif"),),
                legend=str(legend),
                unit="linear_power",
                stride=PATCH_REAL // 2,
                split="raster",
                split_raster=str(data / name / "split.tif"),
                overwrite=True,
            )
        )
    return out / "pretrain", stores


def unlabelled_hh(scene: Path) -> np.ndarray:
    """HH of a real scene in dB, (H, W) float32; NaN in its test split."""
    with rasterio.open(scene / "hh_hv_vv.tif") as source, rasterio.open(scene / "split.tif") as split:
        linear = source.read(1).astype(np.float32)
        return linear_to_db(np.where(split.read(1) != 3, linear, np.nan))


def _write_db(db: np.ndarray, out: Path) -> None:
    """A scene at the common mean and deviation, without a place on earth."""
    alike = MEAN_DB + STD_DB * (db - np.nanmean(db)) / np.nanstd(db)
    profile = {"driver": "GTiff", "height": db.shape[0], "width": db.shape[1], "count": 1}
    with rasterio.open(out, "w", **profile, dtype="float32", nodata=float("nan")) as target:
        target.write(alike.astype(np.float32), 1)


def stores_of(out: Path, args: argparse.Namespace) -> tuple[Path, dict[str, Path]]:
    """The stores in `out`, made if they are not there: one for pretraining, the others for finetuning."""
    listed = out / "stores.json"
    if listed.exists() and isinstance(made := read_json(listed), list):  # from before settings were kept
        write_json(listed, {"made": made})
    deciding = () if args.real else ("landscape_size", "patch")
    found = once(listed, lambda: {"made": _stores(out, args)}, told(args, *deciding))
    unlabelled, stores = found["made"]
    return Path(unlabelled), {name: Path(store) for name, store in stores.items()}


def _stores(out: Path, args: argparse.Namespace) -> tuple[str, dict[str, str]]:
    unlabelled, stores = (
        real_stores(out, args.data) if args.real else landscape_stores(out, args.landscape_size, args.patch)
    )
    return str(unlabelled), {name: str(store) for name, store in stores.items()}


def encoder_of(store: Path, out: Path, args: argparse.Namespace, **settings: Any) -> Path:
    """The pretrained encoder in `out`, made if it is not there."""
    run = out / "encoder"
    kept = run / "pretrained.json"
    if (run / "bundle").exists() and not kept.exists():  # from before settings were kept
        return run
    wanted = PretrainSettings(
        data=str(store),
        out=str(run),
        size=args.size,
        steps=args.pretrain_steps,
        batch=args.pretrain_batch,
        base_rate=args.pretrain_rate,
        norm_pix=args.norm_pix,
        pictures=2,
        overwrite=True,
        **settings,
    )
    deciding = ("size", "steps", "batch", "base_rate", "norm_pix", "mask_per", "precision")
    once(kept, lambda: pretrain(wanted), told(wanted, *deciding))
    return run


def compare(out: Path, encoder: Path | None, store: Path, args: argparse.Namespace) -> list[dict[str, Any]]:
    """Every seed and share of the labels, from scratch and from the encoder; what is there is read."""
    found = []
    for fraction in args.fractions:
        for seed in args.seeds:
            for init in INITS:
                run = out / f"{store.name}-{fraction}-{seed}-{init}"
                job = partial(one, run, encoder, store, init, fraction, seed, args)
                found.append(once(run / "gain.json", job, told(args, *DECIDING)))
    return found


def one(
    run: Path,
    encoder: Path | None,
    store: Path,
    init: str,
    fraction: float,
    seed: int,
    args: argparse.Namespace,
) -> dict[str, Any]:
    """One finetuning and its score on the test split."""
    cpu = time.process_time()
    finetune(
        FinetuneSettings(
            data=str(store),
            out=str(run),
            model="swin-upernet",
            size=args.size,
            init=str(encoder) if init == "pretrained" else None,
            steps=args.steps,
            batch=args.batch,
            learning_rate=args.rate,
            train_fraction=fraction,
            seed=seed,
            device="cpu",
            validations=args.validations,
            layer_decay=args.layer_decay,
            dropout=args.dropout,
            ema=args.ema,
            keep=args.keep,
            precision=args.precision,
            overwrite=True,
        )
    )
    scored = EvaluateSettings(
        model=str(run),
        data=str(store),
        out=str(run / "test.json"),
        device="cpu",
        borders=False,
        overwrite=True,
    )
    metrics = evaluate(scored)
    other = store.with_name(ELSEWHERE)
    unseen = replace(scored, data=str(other), split="train", out=str(run / "elsewhere.json"))
    row = {
        "fraction": fraction,
        "seed": seed,
        "init": init,
        "val_miou": read_json(run / "metrics.json")["miou"],
        "miou": metrics["miou"],
        "oa": metrics["oa"],
        "elsewhere_miou": evaluate(unseen)["miou"] if other.exists() else None,
        "cpu_seconds": time.process_time() - cpu,
    }
    print(json.dumps({"store": store.name, **row}), flush=True)
    return row


def table(name: str, rows: list[dict[str, Any]]) -> str:
    """Mean and range over the seeds, as Markdown."""
    lines = [f"| {name}: labels | mIoU on | scratch | pretrained | gain |", "|---|---|---|---|---|"]
    for where, key in (("test split", "miou"), ("another region", "elsewhere_miou")):
        for fraction in sorted({row["fraction"] for row in rows}, reverse=True):
            chosen = [row for row in rows if row["fraction"] == fraction and row.get(key) is not None]
            score = {init: [row[key] for row in chosen if row["init"] == init] for init in INITS}
            if chosen:
                gain = np.mean(score["pretrained"]) - np.mean(score["scratch"])
                cells = " | ".join(map(spread, score.values()))
                lines.append(f"| {fraction:.0%} | {where} | {cells} | {gain:+.3f} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("bench-out/gain"))
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("SARCOVER_DATA", "../shared/data")))
    parser.add_argument("--real", action="store_true", help="the real scenes instead of the landscape")
    parser.add_argument("--landscape-size", type=int, default=2048)
    parser.add_argument("--patch", type=int, default=PATCH, help="side of the landscape's patches, pixels")
    parser.add_argument("--stores", nargs="+", help="of the stores to finetune on, these alone")
    parser.add_argument("--size", default="tiny")
    parser.add_argument("--pretrain-steps", type=int, default=1000)
    parser.add_argument("--pretrain-batch", type=int, default=16)
    parser.add_argument("--pretrain-rate", type=float, default=1.6e-2, help="for a batch of 256")
    parser.add_argument("--norm-pix", action="store_true", help="reconstruct pixels normalised by cell")
    parser.add_argument("--mask-per", default="batch", choices=("batch", "pair"))
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--dropout", type=float, default=0.1, help="of the decoder")
    parser.add_argument("--ema", type=float, default=0.98)
    parser.add_argument("--keep", default="best", choices=("best", "last"))
    parser.add_argument("--layer-decay", type=float, default=1.0)
    parser.add_argument("--validations", type=int, default=4)
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--fractions", type=float, nargs="+", default=[1.0, 0.1])
    args = parser.parse_args()
    out = args.out / ("real" if args.real else "landscape")
    out.mkdir(parents=True, exist_ok=True)
    unlabelled, stores = stores_of(out, args)
    encoder = encoder_of(unlabelled, out, args, mask_per=args.mask_per, device="cpu")
    stores = {name: store for name, store in stores.items() if not args.stores or name in args.stores}
    results = {name: compare(out, encoder, store, args) for name, store in stores.items()}
    (out / "gain.json").write_text(
        json.dumps({"arguments": {k: str(v) for k, v in vars(args).items()}, "rows": results}, indent=2)
    )
    print("\n\n".join(table(name, rows) for name, rows in results.items()))


if __name__ == "__main__":
    main()
