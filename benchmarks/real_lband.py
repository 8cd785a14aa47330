"""The main job on three real L-band scenes, beside a random forest and a control without any image.

    python benchmarks/real_lband.py --data ../shared/data --out bench-out/real

For each scene, with HH alone and with HH+HV+VV: prepare -> finetune -> evaluate -> map, isolated (a patch
of one split sees only pixels of that split), scored on split 3 (labelled pixels, mean over all classes).
Two figures: `patches` is `sarcover evaluate` on the store's test patches, which do not overlap; `map` is
`sarcover map` on a copy of the scene in which every pixel outside split 3 is nodata, windows overlapping
and blended. The settings were chosen on split 2 alone. The forest's figures are those of the data's README
(mean of three seeds); --forest computes one seed of it again in the same run.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import time
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import yaml
from numpy.typing import NDArray
from scipy import ndimage


@dataclass(frozen=True)
class Case:
    """One real scene: its classes (codes 1..K, 0 unlabelled) and the yardsticks of the data's README."""

    classes: tuple[str, ...]
    forest: dict[str, tuple[float, float]]
    nearest: float
    patch: int


CASES = {
    "airsar_flevoland": Case(
        (
            "Stem beans",
            "Peas",
            "Forest",
            "Lucerne",
            "Wheat",
            "Sugar beet",
            "Potatoes",
            "Bare soil",
            "Grass",
            "Rapeseed",
            "Barley",
            "Wheat 2",
            "Wheat 3",
            "Water",
        ),
        {"HH": (0.532, 0.309), "HH HV VV": (0.754, 0.615)},
        0.171,
        128,
    ),
    "airsar_sanfrancisco": Case(
        ("Bare soil", "Mountain", "Water", "Urban", "Vegetation"),
        {"HH": (0.827, 0.436), "HH HV VV": (0.938, 0.625)},
        0.496,
        128,
    ),
    "alos1_sanfrancisco": Case(
        ("Mountain", "Water", "Vegetation", "Built-up"),
        {"HH": (0.977, 0.786), "HH HV VV": (0.986, 0.829)},
        0.401,
        64,
    ),
}
TEST = 3
FILE_BANDS = ("HH", "HV", "VV")


def write_legend(path: Path, name: str, classes: tuple[str, ...]) -> Path:
    """A user's own legend: codes 1..K, 0 means unlabelled."""
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    palette = colormaps["tab20"]
    rows = [{"code": k + 1, "name": n, "colour": to_hex(palette(k))} for k, n in enumerate(classes)]
    path.write_text(yaml.safe_dump({"name": name, "title": name, "ignore": [0], "classes": rows}))
    return path


def isolate(scene: Path, split: Path, code: int, out: Path) -> Path:
    """A copy of the scene in which every pixel outside one split is nodata."""
    with rasterio.open(scene) as source, rasterio.open(split) as codes:
        profile = {**source.profile, "nodata": float("nan"), "dtype": "float32"}
        values = source.read().astype(np.float32)
        values[:, codes.read(1) != code] = np.nan
        descriptions = source.descriptions
    with rasterio.open(out, "w", **profile) as target:
        target.write(values)
        target.descriptions = descriptions
    return out


def read(path: Path) -> NDArray[np.uint8]:
    """The first band of a raster."""
    with rasterio.open(path) as source:
        band: NDArray[np.uint8] = source.read(1)
        return band


def score(
    predicted: NDArray[Any], truth: NDArray[Any], where: NDArray[np.bool_], k: int
) -> tuple[float, float]:
    """OA and mIoU over labelled pixels of one split; a class absent from both is left out (none is, here)."""
    where = where & (truth > 0)
    pairs = np.bincount((truth[where] - 1).astype(int) * 256 + predicted[where], minlength=k * 256)
    table = pairs.reshape(k, 256)
    hits = np.array([table[c, c + 1] for c in range(k)], float)
    union = table.sum(1) + np.array([table[:, c + 1].sum() for c in range(k)]) - hits
    return float(hits.sum() / table.sum()), float(np.nanmean(np.where(union > 0, hits / union, np.nan)))


def nearest_label(label: NDArray[np.uint8], split: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The control: the class of the nearest training label, no image at all."""
    rows, cols = ndimage.distance_transform_edt(
        (split != 1) | (label == 0), return_distances=False, return_indices=True
    )
    nearest: NDArray[np.uint8] = label[rows, cols]
    return nearest


def forest(
    scene: Path, bands: tuple[str, ...], label: NDArray[np.uint8], split: NDArray[np.uint8], seed: int
) -> NDArray[Any]:
    """The yardstick of the data's README: per-pixel forest on dB, local means and deviations, isolated."""
    from sklearn.ensemble import RandomForestClassifier

    with rasterio.open(scene) as source, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        db = 10 * np.log10(source.read([FILE_BANDS.index(b) + 1 for b in bands]).astype(float))
    predicted = np.zeros(label.shape, np.uint8)
    features = {code: _local_statistics(db, (split == code) & np.isfinite(db).all(0)) for code in (1, TEST)}
    train = np.flatnonzero((split == 1) & (label > 0) & np.isfinite(db).all(0))
    chosen = np.random.default_rng(seed).choice(train, min(60_000, train.size), replace=False)
    model = RandomForestClassifier(100, class_weight="balanced", n_jobs=2, random_state=seed)
    model.fit(features[1].reshape(len(features[1]), -1).T[chosen], label.flat[chosen])
    test = np.flatnonzero((split == TEST) & np.isfinite(db).all(0))
    predicted.flat[test] = model.predict(features[TEST].reshape(len(features[TEST]), -1).T[test])
    return predicted


def _local_statistics(db: NDArray[Any], valid: NDArray[np.bool_]) -> NDArray[np.float32]:
    rows = []
    for band in db:
        x = np.where(valid, band, 0.0)
        rows.append(x)
        for side in (3, 7, 15, 31):
            n = np.maximum(ndimage.uniform_filter(valid.astype(float), side), 1e-9)
            mean = ndimage.uniform_filter(x, side) / n
            square = ndimage.uniform_filter(x * x, side) / n
            rows += [mean, np.sqrt(np.maximum(square - mean**2, 0))]
    return np.asarray(rows, np.float32)


def run(data: Path, name: str, bands: tuple[str, ...], out: Path, args: argparse.Namespace) -> dict[str, Any]:
    """One run of the whole chain; returns its row."""
    from sarcover.config import EvaluateSettings, FinetuneSettings, MapSettings, PrepareSettings
    from sarcover.mapping import map_with
    from sarcover.patches import prepare
    from sarcover.training import evaluate, finetune

    case, folder = CASES[name], data / name
    out.mkdir(parents=True, exist_ok=True)
    legend = write_legend(out / "legend.yaml", name.replace("_", "-"), case.classes)
    scene, split = folder / "hh_hv_vv.tif", folder / "split.tif"
    start, cpu = time.perf_counter(), _cpu_seconds()
    prepare(
        PrepareSettings(
            out=str(out / "store"),
            scenes=(str(scene),),
            labels=(str(folder / "label.tif"),),
            legend=str(legend),
            unit="linear_power",
            bands=bands,
            patch=case.patch,
            stride=case.patch // 4,
            split="raster",
            split_raster=str(split),
            overwrite=True,
        )
    )
    finetune(
        FinetuneSettings(
            data=str(out / "store"),
            out=str(out / "run"),
            model=args.model,
            size=args.size,
            loss=args.loss,
            class_weights=args.loss == "cross-entropy",
            steps=args.steps * 128 // case.patch,  # smaller patches cost less
            ema=args.ema,
            batch=args.batch,
            learning_rate=args.rate,
            validations=20,
            device="cpu",
            seed=args.seed,
            overwrite=True,
        )
    )
    metrics = evaluate(
        EvaluateSettings(
            model=str(out / "run"),
            data=str(out / "store"),
            out=str(out / "metrics.json"),
            split=args.split,
            device="cpu",
            overwrite=True,
        )
    )
    code = {"val": 2, "test": TEST}[args.split]
    alone = isolate(scene, split, code, out / "isolated.tif")
    map_with(
        MapSettings(
            model=str(out / "run"),
            out=str(out / "map.tif"),
            scenes=(str(alone),),
            unit="linear_power",
            patch=case.patch,
            overlap=case.patch // 2,
            device="cpu",
            overwrite=True,
        )
    )
    label, codes = read(folder / "label.tif"), read(split)
    where = codes == code
    oa, miou = score(read(out / "map.tif"), label, where, len(case.classes))
    row = {
        "scene": name,
        "bands": " ".join(bands),
        "split": args.split,
        "oa_patches": metrics["oa"],
        "miou_patches": metrics["miou"],
        "oa_map": oa,
        "miou_map": miou,
        "nearest_miou": score(nearest_label(label, codes), label, where, len(case.classes))[1],
        "forest_oa_readme": case.forest[" ".join(bands)][0],
        "forest_miou_readme": case.forest[" ".join(bands)][1],
        "seconds": time.perf_counter() - start,
        "cpu_seconds": _cpu_seconds() - cpu,
    }
    if args.forest:
        predicted = forest(scene, bands, label, codes, args.seed)
        row["forest_oa_here"], row["forest_miou_here"] = score(predicted, label, where, len(case.classes))
    return row


def _cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def table(rows: list[dict[str, Any]]) -> str:
    """The rows as Markdown."""
    lines = [
        "| scene | bands | patches OA / mIoU | map OA / mIoU | forest (README) OA / mIoU | nearest mIoU "
        "| CPU min |",
        "|---|---|---|---|---|---|---|",
    ]
    for r in rows:
        here = (
            f" (here {r['forest_oa_here']:.3f} / {r['forest_miou_here']:.3f})"
            if "forest_oa_here" in r
            else ""
        )
        lines.append(
            f"| {r['scene']} | {r['bands']} | {r['oa_patches']:.3f} / {r['miou_patches']:.3f} "
            f"| {r['oa_map']:.3f} / {r['miou_map']:.3f} "
            f"| {r['forest_oa_readme']:.3f} / {r['forest_miou_readme']:.3f}{here} "
            f"| {r['nearest_miou']:.3f} | {r['cpu_seconds'] / 60:.1f} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("SARCOVER_DATA", "../shared/data")))
    parser.add_argument("--out", type=Path, default=Path("bench-out/real_lband"))
    parser.add_argument("--scenes", nargs="+", choices=list(CASES), default=list(CASES))
    parser.add_argument("--bands", nargs="+", default=["HH", "HH,HV,VV"], help="band sets, comma-separated")
    parser.add_argument("--model", default="unet")
    parser.add_argument("--size", default="small")
    parser.add_argument("--loss", default="cross-entropy")
    parser.add_argument("--steps", type=int, default=500, help="with patches of 128 px")
    parser.add_argument("--ema", type=float, default=0.0)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--split", choices=["val", "test"], default="test", help="choose settings on val only"
    )
    parser.add_argument(
        "--forest", action="store_true", help="compute the forest again in this run (scikit-learn)"
    )
    args = parser.parse_args()
    rows = []
    for name in args.scenes:
        for bands in (tuple(b.split(",")) for b in args.bands):
            row = run(args.data, name, bands, args.out / name / "-".join(bands), args)
            rows.append(row)
            print(json.dumps(row), flush=True)
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "real_lband.json").write_text(
        json.dumps({"arguments": {k: str(v) for k, v in vars(args).items()}, "rows": rows}, indent=2)
    )
    print(table(rows))


if __name__ == "__main__":
    main()
