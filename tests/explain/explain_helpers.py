"""Maps whose facts can be told beforehand, and evidence written by hand."""

import copy
import json
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from hypothesis import strategies as st

from sarcover.explain.facts import AreaEvidence, areas_of
from sarcover.legend import LandClass, Legend

UTM = Affine(10, 0, 400_000, 0, -10, 4_000_000)
NAMES = ("Water", "Built-up", "Cropland", "Forest", "Wetland")
CODES = (3, 7, 40, 200, 11)
LEGEND = Legend(
    name="five",
    title="Five classes",
    source="test",
    classes=tuple(
        LandClass(code, name, f"#0000{k:02x}", (code,))
        for k, (code, name) in enumerate(zip(CODES, NAMES, strict=True))
    ),
)


def write_raster(path: Path, values: np.ndarray, **options: Any) -> Path:
    """values (H, W) or (C, H, W) as a GeoTIFF, in UTM unless told otherwise."""
    values = values if values.ndim == 3 else values[None]
    tags, descriptions = options.pop("tags", {}), options.pop("descriptions", None)
    options = {"crs": "EPSG:32654", "transform": UTM, **options}
    options = {key: value for key, value in options.items() if value is not None}
    path.parent.mkdir(parents=True, exist_ok=True)
    size = {"count": values.shape[0], "height": values.shape[1], "width": values.shape[2]}
    with rasterio.open(path, "w", driver="GTiff", dtype=values.dtype, **size, **options) as file:
        file.write(values)
        file.update_tags(**tags)
        if descriptions:
            file.descriptions = descriptions
    return path


def write_map(path: Path, index: np.ndarray, legend: Legend = LEGEND, **options: Any) -> Path:
    """A map of classes 0..K-1 or 255, with its legend in its tags as `map` writes it."""
    tags = {"SARCOVER_LEGEND": legend.name, "SARCOVER_LEGEND_JSON": json.dumps(legend.to_dict())}
    tags |= options.pop("tags", {})
    return write_raster(path, legend.decode(index), nodata=255, tags=tags, **options)


def write_scene(
    path: Path, db: np.ndarray, *, unit: str = "db", bands: tuple[str, ...] = ("HH",), **options: Any
) -> Path:
    """dB (C, H, W), NaN where invalid."""
    tags = {"UNIT": unit, "RADIOMETRY": "gamma0"} | options.pop("tags", {})
    return write_raster(path, db.astype(np.float32), tags=tags, descriptions=bands, nodata=np.nan, **options)


def landscape(shape: tuple[int, int] = (60, 80), seed: int = 0) -> np.ndarray:
    """Classes 0..4 in blocks of 7 x 7 pixels with salt, and a corner without any."""
    random = np.random.default_rng(seed)
    coarse = random.integers(0, 5, (-(-shape[0] // 7), -(-shape[1] // 7)))
    index = np.kron(coarse, np.ones((7, 7), int))[: shape[0], : shape[1]].astype(np.uint8)
    salt = random.random(shape) < 0.03
    index[salt] = random.integers(0, 5, int(salt.sum()))
    index[:5, :9] = 255
    return index


LEVELS = np.array([-22.0, -5.0, -13.0, -7.5, -10.0])


def backscatter(index: np.ndarray, seed: int = 1) -> np.ndarray:
    """dB (2, H, W) around the level of each class, NaN where there is none."""
    random = np.random.default_rng(seed)
    level = np.where(index == 255, np.nan, LEVELS[np.where(index == 255, 0, index)])
    bands = [level, level - 6.0]
    return np.stack([band + random.normal(0, 1.0, index.shape) for band in bands])


def _spread(median: float) -> dict[str, Any]:
    return {"pixels": 1000, "median": median, "p10": round(median - 2.5, 3), "p90": round(median + 3.1, 3)}


def document() -> dict[str, Any]:
    """Evidence of one area with round numbers: Water 40 %, Built-up 30 %, Cropland 20 %, Forest 10 %."""
    shares = {"C1": 0.4, "C2": 0.3, "C3": 0.2, "C4": 0.1}
    medians = {"C1": -22.0, "C2": -5.0, "C3": -13.0, "C4": -7.5}
    confidence = {"C1": 0.95, "C2": 0.88, "C3": 0.71, "C4": 0.55}
    iou = {"C1": 0.9, "C2": 0.8, "C3": 0.6, "C4": 0.35}
    classes: dict[str, Any] = {}
    for rank, (key, share) in enumerate(shares.items(), 1):
        median = medians[key]
        classes[key] = {
            "pixels": round(share * 10_000),
            "share": share,
            "rank": rank,
            "area": share * 1234.0,
            "confidence": {"mean": confidence[key], "p10": confidence[key] - 0.3, "low_share": 0.06 * rank},
            "entropy": {"mean": 0.11 * rank, "p90": 0.2 * rank},
            "backscatter": {
                "HH": {
                    **_spread(median),
                    "texture": 0.4 + 0.07 * rank,
                    "texture_pixels": 700,
                    "training": {
                        "median": median - 1.3,
                        "p10": median - 4.0,
                        "p90": median + 2.0,
                        "texture": 0.5,
                        "pixels": 5000,
                        "above": 1.3,
                        "within": 0.7 + 0.03 * rank,
                    },
                },
                "HV": {**_spread(median - 8.2), "texture": 0.5, "texture_pixels": 700},
            },
            "neighbours": {
                other: {"border": 100, "share": part}
                for other, part in zip([o for o in shares if o != key], (0.62, 0.27, 0.11), strict=True)
            },
            "objects": {
                "count": 12 * rank,
                "mean_pixels": 333.0 / rank,
                "mean_area": 3.3 / rank,
                "largest_share": 0.45,
                "compactness": 0.3 + 0.05 * rank,
            },
            "accuracy": {
                "iou": iou[key],
                "precision": iou[key] + 0.06,
                "recall": iou[key] + 0.03,
                "f1": iou[key] + 0.05,
                "reference_pixels": 2000 + rank,
            },
        }
    return {
        "format": "sarcover-evidence",
        "version": 1,
        "sources": {"map": "map.tif"},
        "unit": "dB",
        "legend": {
            "name": "five",
            "classes": {
                f"C{k + 1}": {
                    "code": CODES[k],
                    "name": NAMES[k],
                    "colour": "#000000",
                    "kind": NAMES[k].lower(),
                }
                for k in range(5)
            },
        },
        "bands": {"radar": {"HH": "HH", "HV": "HV"}, "optical": {"red": "red", "nir": "nir"}},
        "areas": {
            "map": {
                "kind": "map",
                "name": "",
                "pixels": {
                    "total": 10_500,
                    "mapped": 10_000,
                    "mapped_share": 0.952381,
                    "unmapped_share": 0.047619,
                },
                "extent": {"area": 1234.0, "pixel_width": 10.0, "pixel_height": 10.0},
                "counts": {"classes": 4, "radar_bands": 2, "optical_bands": 2},
                "confidence": {"mean": 0.841, "p10": 0.52, "low_share": 0.083},
                "entropy": {"mean": 0.24, "p90": 0.61},
                "backscatter": {"HH": _spread(-12.2), "HV": _spread(-20.1)},
                "modality": {
                    "agreement": 0.991,
                    "optical": 0.37,
                    "radar": 0.63,
                    "changed_without_optical": 0.123,
                    "changed_without_radar": 0.456,
                },
                "accuracy": {
                    "reference_pixels": 9800,
                    "oa": 0.874,
                    "miou": 0.6625,
                    "kappa": 0.79,
                    "border": {"width": 2, "share": 0.31, "oa": 0.71, "error_share": 0.68},
                    "interior": {"oa": 0.947},
                    "confusions": {
                        "C3_as_C4": {
                            "pixels": 410,
                            "share_of_errors": 0.332,
                            "share_of_reference": 0.2,
                            "at_border": 0.77,
                        },
                        "C4_as_C3": {
                            "pixels": 250,
                            "share_of_errors": 0.202,
                            "share_of_reference": 0.24,
                            "at_border": 0.4,
                        },
                    },
                },
                "classes": classes,
            }
        },
    }


def area(changed: dict[str, Any] | None = None) -> AreaEvidence:
    """The only area of `document`, or of a changed one."""
    return _plain_area() if changed is None else next(areas_of(copy.deepcopy(changed)))


@lru_cache(maxsize=1)
def _plain_area() -> AreaEvidence:
    return next(areas_of(document()))


KINDS = ("water", "built-up", "forest", "grassland", "wetland", "bare", "road", "other", None)


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    """Evidence of any area: one to six classes of any kinds, with or without each part."""
    made = document()
    facts = made["areas"]["map"]
    n = draw(st.integers(1, 6))
    pixels = sorted(draw(st.lists(st.integers(1, 10**6), min_size=n, max_size=n)), reverse=True)
    total = sum(pixels)
    keys = [f"C{k + 1}" for k in draw(st.permutations(range(n)))]
    kinds = draw(st.lists(st.sampled_from(KINDS), min_size=n, max_size=n))
    made["legend"]["classes"] = {
        f"C{k + 1}": {"code": k, "name": f"Name {'abcdef'[k]}", "colour": "#000000", "kind": kinds[k]}
        for k in range(n)
    }
    unmapped = draw(st.integers(0, total))
    facts["pixels"] = {
        "total": total + unmapped,
        "mapped": total,
        "mapped_share": six(total / (total + unmapped)),
        "unmapped_share": six(unmapped / (total + unmapped)),
    }
    facts["counts"]["classes"] = n
    share, level = st.floats(0, 1).map(six), st.floats(-35, 5).map(six)
    template = facts["classes"]["C1"]
    classes: dict[str, Any] = {}
    for key, count in zip(keys, pixels, strict=True):
        one = copy.deepcopy(template)
        one |= {"pixels": count, "share": six(count / total), "area": six(count * draw(st.floats(1e-4, 1)))}
        for group in ("confidence", "entropy", "accuracy"):
            one[group] = {name: draw(share) for name in one[group]}
        for band in one["backscatter"].values():
            low, middle, high = sorted(draw(st.tuples(level, level, level)))
            band |= {"p10": low, "median": middle, "p90": high}
            if "training" in band:
                band["training"] |= {"above": six(middle - draw(level)), "within": draw(share)}
        others = [other for other in keys if other != key]
        parts = draw(st.lists(st.integers(1, 1000), min_size=len(others), max_size=len(others)))
        one["neighbours"] = {
            other: {"border": part, "share": six(part / sum(parts))}
            for other, part in zip(others, parts, strict=True)
        }
        one["objects"] |= {"count": draw(st.integers(1, 10**5)), "largest_share": draw(share)}
        one["objects"]["mean_area"] = six(one["area"] / one["objects"]["count"])
        one["index"] = {
            "ndvi": {"median": six(draw(st.floats(-1, 1)))},
            "ndwi": {"median": six(draw(st.floats(-1, 1)))},
        }
        classes[key] = one
    facts["classes"] = dict(sorted(classes.items()))
    facts["confidence"] = {name: draw(share) for name in facts["confidence"]}
    facts["modality"] = {name: draw(share) for name in facts["modality"]}
    for band in facts["backscatter"].values():
        band["median"] = draw(level)
    accuracy = facts["accuracy"]
    accuracy |= {"oa": draw(share), "miou": draw(share), "kappa": draw(share)}
    accuracy["border"]["error_share"] = draw(share)
    pairs = draw(st.lists(st.tuples(st.sampled_from(keys), st.sampled_from(keys)), max_size=3, unique=True))
    accuracy["confusions"] = {
        f"{a}_as_{b}": {
            "pixels": draw(st.integers(1, 999)),
            "share_of_errors": draw(share),
            "share_of_reference": draw(share),
            "at_border": draw(share),
        }
        for a, b in pairs
        if a != b
    }
    for part in ("extent", "confidence", "entropy", "backscatter", "modality", "accuracy"):
        if draw(st.booleans()):
            facts.pop(part)
            for one in classes.values():
                one.pop(part, None)
    if draw(st.booleans()):
        for one in classes.values():
            del one["index"]
    if "backscatter" not in facts:
        made["bands"]["radar"] = {}
    return made


def six(value: float) -> float:
    """As evidence rounds its numbers."""
    return float(f"{value:.6g}")
