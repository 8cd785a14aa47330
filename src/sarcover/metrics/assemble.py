"""From the counts of all blocks to what metrics.json says: scores, borders, intervals, differences."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sarcover.errors import SarcoverError
from sarcover.metrics.blocks import Blocks
from sarcover.metrics.borders import (
    TOLERANCES,
    boundary_f1,
    boundary_iou,
    boundary_precision,
    boundary_recall,
)
from sarcover.metrics.confusion import number, ratio, scores
from sarcover.metrics.intervals import RESAMPLES, draw_blocks, interval, resample
from sarcover.metrics.objects import SMALL_OBJECT, THIN_WIDTH
from sarcover.metrics.tally import STATISTICS, BlockCounts, statistics

Array = NDArray[Any]

_UNLIKE = "the two models were not scored on the same pixels"


def block_scores(blocks: Blocks, *, seed: int = 0) -> dict[str, Any]:
    """What metrics.json says, with borders (where they were counted) and 95 % intervals.

    Args:
        blocks: counts of every block.
        seed: of the resampling.

    Returns:
        As `scores`; `boundary` filled as docs/formats.md says, and `intervals`: how they were made. An
        interval is None where fewer than two blocks of the reference hold what is scored: labels, the class,
        borders, thin parts, small objects.
    """
    counts = _labelled(blocks.counts)
    sums = {name: values.sum(0) for name, values in counts.items()}
    found = scores(torch.from_numpy(sums["confusion"]), blocks.classes, blocks.split)
    bounds = _intervals(counts, statistics(_resampled(counts, seed)))
    found["miou_ci95"] = _pair(bounds["miou"])
    for row, pair in zip(found["classes"], bounds["iou"], strict=True):
        row["iou_ci95"] = _pair(pair)
    if "band" in sums:
        found["boundary"] = _boundary(sums, bounds, blocks.classes)
    found["intervals"] = {
        "method": "block bootstrap, percentiles",
        "blocks": len(counts["confusion"]),
        "block_side": blocks.side,
        "resamples": RESAMPLES,
        "seed": seed,
    }
    return found


def difference(blocks: Blocks, other: Blocks, *, seed: int = 0) -> dict[str, Any]:
    """How much better a model is than another one on the same pixels, with the paired 95 % interval.

    In each resample both models are scored on the same blocks, so what makes a block hard for both cancels. A
    difference is sure at the 5 % level where its interval does not hold 0.

    Args:
        blocks: counts of the model.
        other: those of the model it is compared with.
        seed: of the resampling.

    Returns:
        Scores minus those of the other: `miou`, `classes` (`name`, `iou`) and, where both counted them,
        `boundary` (`iou` and `f1` by tolerance, `thin_recall`, `small_completeness`), each with its `_ci95`.

    Raises:
        SarcoverError: the counts are not of the same pixels.
    """
    order = _same_blocks(blocks, other)
    keep = blocks.counts["confusion"].any((1, 2))
    both = [part for part in blocks.counts if part in other.counts]
    pair = (
        {part: blocks.counts[part][keep] for part in both},
        {part: other.counts[part][order][keep] for part in both},
    )
    here, there = (statistics({part: values.sum(0) for part, values in side.items()}) for side in pair)
    delta = {name: here[name] - there[name] for name in here}
    mine, theirs = (statistics(_resampled(side, seed)) for side in pair)
    bounds = _intervals(pair[0], {name: mine[name] - theirs[name] for name in mine})
    result: dict[str, Any] = {
        "miou": number(delta["miou"]),
        "miou_ci95": _pair(bounds["miou"]),
        "classes": [
            {"name": name, "iou": number(delta["iou"][k]), "iou_ci95": _pair(bounds["iou"][k])}
            for k, name in enumerate(blocks.classes)
        ],
    }
    if "boundary_iou" in delta:
        result["boundary"] = {
            "iou": _by_tolerance(delta["boundary_iou"]),
            "iou_ci95": _pairs_by_tolerance(bounds["boundary_iou"]),
            "f1": _by_tolerance(delta["boundary_f1"]),
            "f1_ci95": _pairs_by_tolerance(bounds["boundary_f1"]),
            "thin_recall": number(delta["thin_recall"]),
            "thin_recall_ci95": _pair(bounds["thin_recall"]),
            "small_completeness": number(delta["small_objects"]),
            "small_completeness_ci95": _pair(bounds["small_objects"]),
        }
    return result


def check_comparable(blocks: Blocks, other: Blocks) -> None:
    """Refuses counts of other pixels; what was counted is not looked at.

    Raises:
        SarcoverError: another store, split or legend, or other blocks.
    """
    for what, mine, theirs in (
        ("split", blocks.split, other.split),
        ("classes", ", ".join(blocks.classes), ", ".join(other.classes)),
        ("store", blocks.fingerprint[:12], other.fingerprint[:12]),
        ("side of the blocks", str(blocks.side), str(other.side)),
        ("number of blocks", str(len(blocks.names)), str(len(other.names))),
    ):
        if mine != theirs:
            raise SarcoverError(f"{_UNLIKE}: {what}", expected=mine, got=theirs, do="evaluate both alike")
    if set(blocks.names) != set(other.names):
        raise SarcoverError(f"{_UNLIKE}: other blocks", do="evaluate both alike")


def _labelled(counts: BlockCounts) -> BlockCounts:
    """Without blocks that hold no labelled pixel."""
    keep = counts["confusion"].any((1, 2))
    return {name: values[keep] for name, values in counts.items()}


def _resampled(counts: BlockCounts, seed: int) -> dict[str, Array]:
    """The counts in each resample: (R, ...); none without blocks."""
    draws = draw_blocks(len(counts["confusion"]), seed=seed)
    return {name: resample(values, draws) for name, values in counts.items()}


def _intervals(counts: BlockCounts, values: dict[str, Array]) -> dict[str, Array]:
    """Intervals (..., 2) of the scores, NaN where under two blocks of the reference hold what they score."""
    bounds = {}
    for name, score in values.items():
        statistic = STATISTICS[name]
        enough = (statistic.support(counts[statistic.part]) > 0).sum(0) >= 2
        bounds[name] = np.where(enough[..., None], interval(score), np.nan)
    return bounds


def _boundary(sums: BlockCounts, bounds: dict[str, Array], classes: tuple[str, ...]) -> dict[str, Any]:
    of_all = statistics(sums)
    band, contour = sums["band"], sums["contour"]
    columns = {
        "iou": boundary_iou(band),
        "precision": boundary_precision(contour),
        "recall": boundary_recall(contour),
        "f1": boundary_f1(contour),
    }  # each (D, K)
    thin, small = (ratio(sums[part][:, 0], sums[part][:, 1]) for part in ("thin", "small"))
    return {
        "tolerances": list(TOLERANCES),
        "pixels": int(contour[0, :, 2].sum()),
        "iou": _by_tolerance(of_all["boundary_iou"]),
        "iou_ci95": _pairs_by_tolerance(bounds["boundary_iou"]),
        "f1": _by_tolerance(of_all["boundary_f1"]),
        "f1_ci95": _pairs_by_tolerance(bounds["boundary_f1"]),
        "thin": {
            "max_width": THIN_WIDTH,
            "recall": number(of_all["thin_recall"]),
            "recall_ci95": _pair(bounds["thin_recall"]),
            "pixels": int(sums["thin"][:, 1].sum()),
        },
        "small_objects": {
            "min_pixels": SMALL_OBJECT[0],
            "max_pixels": SMALL_OBJECT[1],
            "completeness": number(of_all["small_objects"]),
            "completeness_ci95": _pair(bounds["small_objects"]),
            "objects": int(sums["small"][:, 1].sum()),
        },
        "classes": [
            {
                "name": name,
                **{column: _by_tolerance(values[:, k]) for column, values in columns.items()},
                "pixels": int(contour[0, k, 2]),
                "thin_recall": number(thin[k]),
                "thin_pixels": int(sums["thin"][k, 1]),
                "small_completeness": number(small[k]),
                "small_objects": int(sums["small"][k, 1]),
            }
            for k, name in enumerate(classes)
        ],
    }


def _by_tolerance(values: Array) -> dict[str, float | None]:
    """(D,) -> {"1": ..., "2": ..., "4": ...}: keys as JSON has them."""
    return {str(d): number(value) for d, value in zip(TOLERANCES, values, strict=True)}


def _pairs_by_tolerance(pairs: Array) -> dict[str, list[float] | None]:
    return {str(d): _pair(pair) for d, pair in zip(TOLERANCES, pairs, strict=True)}


def _pair(bounds: Array) -> list[float] | None:
    """[lower, upper]; None where they have no definition."""
    return None if np.isnan(bounds).any() else [float(bound) for bound in bounds]


def _same_blocks(blocks: Blocks, other: Blocks) -> list[int]:
    """Where each block is in the other counts, which must be of the same pixels."""
    check_comparable(blocks, other)
    place = {name: position for position, name in enumerate(other.names)}
    order = [place[name] for name in blocks.names]
    pixels, others = (counts["confusion"].sum(2) for counts in (blocks.counts, other.counts))
    if not np.array_equal(pixels, others[order]):
        raise SarcoverError(f"{_UNLIKE}: other labels in their blocks", do="evaluate both alike")
    return order
