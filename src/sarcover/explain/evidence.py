"""Evidence: the facts of a map, of its tiles or of drawn areas, as one JSON document with stable paths.

`docs/explain.md` describes the document; `quantities` lists every number in it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from sarcover import __version__
from sarcover.assessment.pictures import ground_size
from sarcover.config import ExplainSettings
from sarcover.errors import SarcoverError
from sarcover.explain import areas as _areas
from sarcover.explain.agreement import BORDER, Agreement
from sarcover.explain.areas import Area
from sarcover.explain.evidence_file import FORMAT, VERSION
from sarcover.explain.gather import Gathered, gather, radar_range
from sarcover.explain.landcover import concept_of
from sarcover.explain.quantities import LOW_CONFIDENCE, table
from sarcover.explain.sources import Sources, open_sources
from sarcover.explain.statistics import Backscatter, Values
from sarcover.explain.training_statistics import training_backscatter
from sarcover.explain.untrusted import clean, file_name, optical_key, radar_key
from sarcover.legend import Legend
from sarcover.metrics import scores
from sarcover.progress import progress
from sarcover.scene.raster import gdal_cache

_CONFUSIONS = 5  # the most frequent ones are told
_CACHE = 256 * 2**20  # bytes: the blocks under a strip of a wide map
_DIGITS = 6  # significant digits of a number: far more than any of them is good for


def collect(settings: ExplainSettings) -> dict[str, Any]:
    """The evidence of what the settings name.

    Raises:
        SarcoverError: no map, files that do not belong to it, an area without mapped pixels beside it.
    """
    if settings.area is not None and settings.tiles is not None:
        raise SarcoverError("--area and --tiles", expected="one of them")
    sources = open_sources(settings)
    chosen = _chosen(sources, settings)
    training = _training(sources)
    limits = radar_range(sources)
    found = {}
    with gdal_cache(_CACHE), progress("evidence, areas", len(chosen)) as advance:
        for area in chosen:
            found[area.id] = _facts(sources, area, gather(sources, area, settings, limits), training)
            advance(1)
    radar = sources.radar
    return {
        "format": FORMAT,
        "version": VERSION,
        "sarcover": __version__,
        "sources": _named(sources, settings),
        "acquired": _acquired(sources),
        "unit": "dB" if radar is None or radar.calibrated else "number",
        "radiometry": _radiometry(sources),
        "legend": _legend(sources.legend),
        "bands": _bands(sources),
        "quantities": table(radar is None or radar.calibrated),
        "areas": found,
    }


def class_id(k: int) -> str:
    """The id of class k in evidence and prompts: C1 for the legend's first."""
    return f"C{k + 1}"


def _chosen(sources: Sources, settings: ExplainSettings) -> list[Area]:
    if settings.area is not None:
        return _areas.drawn(sources.place, settings.area)
    if settings.tiles is not None:
        return _areas.tiles(sources.place, settings.tiles)
    return _areas.whole(sources.place)


def _training(sources: Sources) -> Backscatter | None:
    if sources.store is None:
        return None
    radar = sources.radar
    if radar is None:
        raise SarcoverError("--data without --scenes", do="name the scene that was mapped")
    unit = sources.store.meta.unit
    if (unit == "uncalibrated") == radar.calibrated:
        raise SarcoverError(
            "the store and the scene have different units", expected=unit, got=radar.first.unit
        )
    return training_backscatter(sources.store, radar.first.bands)


def _acquired(sources: Sources) -> list[str]:
    """Days of acquisition, the newest first."""
    scenes = [each.scene for each in sources.radar.scenes] if sources.radar else []
    return [scene.acquired.date().isoformat() for scene in scenes if scene.acquired]


def _named(sources: Sources, settings: ExplainSettings) -> dict[str, Any]:
    """Names of the files, without their folders, cleaned."""
    scenes = [each.scene for each in sources.radar.scenes] if sources.radar else []
    confidence = "layer" if "confidence" in sources.layers else "model" if sources.model else None
    return {
        "map": file_name(sources.path),
        "scenes": [file_name(path) for scene in scenes for path in scene.paths],
        "optical": [file_name(path) for path in sources.optical_paths],
        "model": file_name(settings.model) if settings.model else None,
        "data": file_name(settings.data) if settings.data else None,
        "reference": [file_name(path) for path in sources.reference_paths],
        "area": file_name(settings.area) if settings.area else None,
        "sensor": clean(scenes[0].sensor, 40) if scenes else None,
        "confidence": confidence,
    }


def _radiometry(sources: Sources) -> str | None:
    """Of the radar's numbers: the model's, where they were brought to it."""
    if sources.radar is None:
        return None
    if sources.model is not None and any(each.offset_db for each in sources.radar.scenes):
        return str(sources.model.bundle.radiometry)
    return str(sources.radar.first.radiometry)


def _legend(legend: Legend) -> dict[str, Any]:
    classes = {}
    for k, land in enumerate(legend.classes):
        kind = concept_of(land.name)
        classes[class_id(k)] = {
            "code": land.code,
            "name": clean(land.name, 60),
            "colour": land.colour,
            "kind": kind.name if kind else None,
        }
    return {"name": clean(legend.name, 60), "classes": classes}


def _bands(sources: Sources) -> dict[str, dict[str, str]]:
    """Key -> name as the files have it."""
    radar = sources.radar.first.bands if sources.radar else ()
    return {
        "radar": {radar_key(band, n): clean(band, 30) for n, band in enumerate(radar, 1)},
        "optical": {optical_key(band, n): clean(band, 30) for n, band in enumerate(sources.optical_bands, 1)},
    }


def _facts(sources: Sources, area: Area, found: Gathered, training: Backscatter | None) -> dict[str, Any]:
    """Everything about one area."""
    mapped = int(found.pixels.sum())
    facts: dict[str, Any] = {
        "kind": area.kind,
        "name": area.name,
        "window": {"row": area.row, "column": area.column, "height": area.height, "width": area.width},
        "pixels": {
            "total": found.total,
            "mapped": mapped,
            "mapped_share": mapped / found.total if found.total else None,
            "unmapped_share": 1 - mapped / found.total if found.total else None,
        },
        "extent": _extent(sources, found),
        "counts": {
            "classes": int((found.pixels > 0).sum()),
            "radar_bands": len(sources.radar.first.bands) if sources.radar else 0,
            "optical_bands": len(sources.optical_bands),
        },
        **_certainty(found, None),
        **_optical(found, None),
        "model": _model(sources),
    }
    if found.backscatter is not None:
        facts["backscatter"] = found.backscatter.overall()
    if found.reflectance is not None:
        facts.setdefault("optical", {})["valid_share"] = found.reflectance.valid_share
    accuracy = _accuracy(found.agreement, sources.legend)
    if accuracy is not None:
        facts["accuracy"] = accuracy
    facts["classes"] = _classes(sources, found, training)
    kept: dict[str, Any] = _without_empty(_rounded(facts))
    return kept


def _extent(sources: Sources, found: Gathered) -> Values:
    place = sources.place
    size = ground_size(place.crs, place.transform, place.shape) if place.crs else None
    if found.area is None or size is None:
        return {}
    return {
        "area": float(found.area.sum()),
        "pixel_width": size[1] / place.shape[1],
        "pixel_height": size[0] / place.shape[0],
    }


def _certainty(found: Gathered, k: int | None) -> dict[str, Values]:
    """Confidence and entropy, from the map's layers or else from the model; and the modalities."""
    facts = {}
    asked = found.asked
    known = {**(asked.certainty if asked else {}), **found.certainty}
    if "confidence" in known:
        facts["confidence"] = known["confidence"].confidence(k, LOW_CONFIDENCE)
    if "entropy" in known:
        facts["entropy"] = known["entropy"].entropy(k)
    if asked is not None:
        facts["modality"] = asked.modality(k)
    return facts


def _optical(found: Gathered, k: int | None) -> dict[str, Values]:
    return {} if found.reflectance is None else found.reflectance.of_class(k)


def _model(sources: Sources) -> dict[str, Values]:
    """The normalisation of the model: mean and standard deviation of each band in training."""
    if sources.model is None or sources.radar is None:
        return {}
    norm = sources.model.bundle.normalisation.get("sar")
    if norm is None:
        return {}
    rows = zip(sources.radar.first.bands, norm["mean"], norm["std"], strict=True)
    return {radar_key(band, n): {"mean": m, "std": s} for n, (band, m, s) in enumerate(rows, 1)}


def _classes(sources: Sources, found: Gathered, training: Backscatter | None) -> dict[str, Values]:
    """Each class that is on the map or in the reference."""
    total = int(found.pixels.sum())
    by_size = sorted(range(len(found.pixels)), key=lambda k: (-found.pixels[k], k))
    rows = scores(found.agreement.confusion)["classes"] if found.agreement else None
    classes = {}
    for k in range(len(found.pixels)):
        pixels = int(found.pixels[k])
        accuracy = _class_accuracy(rows[k]) if rows else {}
        if not pixels and not accuracy.get("reference_pixels"):
            continue
        facts: Values = {"pixels": pixels, "share": pixels / total if total else None}
        if pixels:
            facts |= {
                "rank": by_size.index(k) + 1,
                "area": float(found.area[k]) if found.area is not None else None,
            }
            facts |= _certainty(found, k) | _optical(found, k)
            facts |= {"neighbours": _neighbours(found, k), "objects": _objects(found, k)}
            facts["backscatter"] = _backscatter(sources, found, training, k)
        classes[class_id(k)] = facts | {"accuracy": accuracy}
    return classes


def _backscatter(
    sources: Sources, found: Gathered, training: Backscatter | None, k: int
) -> dict[str, Values]:
    """Of one class, beside that of the training data."""
    if found.backscatter is None:
        return {}
    facts = found.backscatter.of_class(k)
    trained = training.of_class(k) if training else {}
    normal = _model(sources)
    for (band, values), histogram in zip(facts.items(), found.backscatter.histograms, strict=True):
        if band in normal:
            values["above_model"] = (values["median"] - normal[band]["mean"]) / normal[band]["std"]
        if band in trained:
            there = trained[band]
            values["training"] = {
                **{key: there[key] for key in ("median", "p10", "p90", "texture", "pixels")},
                "above": values["median"] - there["median"],
                "within": histogram.share_between(there["p10"], there["p90"], k),
            }
    return facts


def _neighbours(found: Gathered, k: int) -> dict[str, Values]:
    borders = found.layout.borders[k]
    total = int(borders.sum())
    return {
        class_id(other): {"border": int(sides), "share": sides / total}
        for other, sides in enumerate(borders)
        if sides
    }


def _objects(found: Gathered, k: int) -> Values:
    layout = found.layout
    count, pixels = int(layout.objects[k]), int(layout.pixels[k])
    return {
        "count": count,
        "mean_pixels": pixels / count,
        "mean_area": float(found.area[k]) / count if found.area is not None else None,
        "largest_share": int(layout.largest[k]) / pixels,
        "compactness": layout.compactness(k),
    }


def _accuracy(agreement: Agreement | None, legend: Legend) -> Values | None:
    """Of all classes together, apart for border and interior; None without a common pixel."""
    if agreement is None or not int(agreement.confusion.sum()):
        return None
    total = scores(agreement.confusion)
    border, interior = scores(agreement.border), scores(agreement.interior)
    errors = _errors(agreement.confusion)
    at_border = _errors(agreement.border)
    return {
        "reference_pixels": total["n_pixels"],
        "oa": total["oa"],
        "miou": total["miou"],
        "kappa": total["kappa"],
        "border": {
            "width": BORDER,
            "share": border["n_pixels"] / total["n_pixels"],
            "oa": border["oa"],
            "error_share": at_border / errors if errors else None,
        },
        "interior": {"oa": interior["oa"]},
        "confusions": _confusions(agreement, errors),
    }


def _confusions(agreement: Agreement, errors: int) -> dict[str, Values]:
    """The most frequent ones, by `C3_as_C4`: reference C3 mapped as C4."""
    confusion = agreement.confusion.clone()
    confusion.fill_diagonal_(0)
    K = len(confusion)
    found = {}
    order = confusion.flatten().argsort(descending=True, stable=True)
    for pair in order[:_CONFUSIONS].tolist():
        row, column = divmod(pair, K)
        pixels = int(confusion[row, column])
        if pixels:
            found[f"{class_id(row)}_as_{class_id(column)}"] = {
                "pixels": pixels,
                "share_of_errors": pixels / errors,
                "share_of_reference": pixels / int(agreement.confusion[row].sum()),
                "at_border": int(agreement.border[row, column]) / pixels,
            }
    return found


def _errors(confusion: Any) -> int:
    return int(confusion.sum() - confusion.diagonal().sum())


def _class_accuracy(row: Mapping[str, Any]) -> Values:
    keys = ("iou", "precision", "recall", "f1")
    return {key: row[key] for key in keys} | {"reference_pixels": row["support"]}


def _without_empty(value: Any) -> Any:
    """Without what is not defined: a path is there and holds a number, or is not there."""
    if isinstance(value, dict):
        kept = {key: _without_empty(item) for key, item in value.items()}
        return {key: item for key, item in kept.items() if item is not None and item != {}}
    return value


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, float):
        return float(f"{value:.{_DIGITS}g}") if math.isfinite(value) else None
    return value
