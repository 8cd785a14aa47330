"""Label-guided sampling: places to take patches from, drawn from the reference so that rare classes count.

As in arXiv 2601.15705, III-A: pixel locations are sampled over all label tiles by inverse class frequency, as
longitude and latitude, without regard to the scenes; patches that hold at least one are kept.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sarcover.ahead import by_workers
from sarcover.errors import SarcoverError, UnreadableError
from sarcover.legend import Legend
from sarcover.patches.anchors import Anchors
from sarcover.patches.drawing import Lots, draw_tile, generator
from sarcover.patches.grids import DEGREES, Grid, reproject
from sarcover.patches.labels import LabelTile
from sarcover.progress import progress
from sarcover.scene.raster import RasterFile, gdal_cache

_LOOK = 64  # one of so many windows is looked at first, to know what to expect
_ERRORS = 3.0  # standard errors by which that look may have found too much of a class
_FEW = 0.25  # a class is taken to have at least this part of what it looked like
_CACHE = 4 * 2**20  # bytes of blocks that GDAL keeps: no block is read twice, and fresh memory costs time


@dataclass(frozen=True)
class Sampling:
    """What was drawn.

    Attributes:
        anchors: the places.
        pixels: (K,) labelled pixels of each class in all tiles.
        asked: (K,) anchors that a class would have if it had pixels enough; one without any pixel what it
            would be asked for with a single one.
        drawn: (K,) anchors of each class.
        failed: tiles that could not be read, and why.
    """

    anchors: Anchors
    pixels: NDArray[np.int64]
    asked: NDArray[np.int64]
    drawn: NDArray[np.int64]
    failed: dict[str, str]

    def report(self, legend: Legend) -> dict[str, Any]:
        """`anchors` drawn, `taken_whole`: classes with fewer pixels than asked, and the figures by class."""
        rows: list[dict[str, Any]] = [
            {"name": name, "pixels": int(pixels), "asked": int(asked), "anchors": int(drawn)}
            for name, pixels, asked, drawn in zip(
                legend.names, self.pixels, self.asked, self.drawn, strict=True
            )
        ]
        return {
            "anchors": int(self.drawn.sum()),
            "taken_whole": [row["name"] for row in rows if row["pixels"] < row["asked"]],
            "by_class": rows,
        }


def sample_anchors(
    paths: Sequence[Path],
    legend: Legend,
    total: int,
    *,
    power: float = 1.0,
    seed: int = 0,
    workers: int | None = 1,
    band: str | None = None,
    recode: Mapping[int, int] | None = None,
) -> Sampling:
    """Anchors over label tiles, the same whatever the order of the tiles and the number of workers.

    Tiles are read once, and a part of them a second time only where a first look misled about what is in
    them. Memory holds the candidates of all classes, a few times `total`, however many tiles there are.

    Args:
        paths: label tiles, in any coordinate systems; where they overlap a place counts in each.
        legend: of their codes.
        total: anchors; all labelled pixels if there are fewer.
        power: a pixel of a class of frequency f is drawn in proportion to f ** -power: 0 draws all pixels
            alike, 1 as many of each class. The paper says "by inverse class-frequency" (1).
        seed: of the draw.
        workers: threads that read tiles; None for one a processor.
        band, recode: which band holds the codes, and what they become: see `LabelTile`.

    Raises:
        SarcoverError: no tile can be read, none has a labelled pixel, codes that the legend does not know, a
            tile without georeference.
    """
    tiles = label_tiles(paths, legend, band, recode)
    failed: dict[str, str] = {}
    tiles, expected = _first_look(tiles, seed, failed, workers)
    drawn = allocate(expected, total, power)
    pixels = expected
    for attempt in range(1, 100):
        # 5 standard deviations more candidates than anchors are hardly ever too few.
        more = drawn + 5 * attempt * np.sqrt(drawn)
        limits = np.where(drawn < pixels, np.minimum(1.0, more / np.maximum(pixels, 1)), 1.0)
        enough = max(1000, 2 * int(max(drawn)))
        pixels, lots = _draw(tiles, limits, enough, (seed, attempt), failed, workers)
        drawn = allocate(pixels, total, power)
        if all(len(one.lots) >= number for (one, _), number in zip(lots, drawn, strict=True)):
            break
    if not pixels.sum():
        raise SarcoverError(
            "no label tile has a labelled pixel",
            expected="codes that the legend does not ignore",
            do="check --labels and --legend",
        )
    asked = _asked(pixels, total, power)
    return Sampling(_place(tiles, lots, drawn), pixels, asked, drawn, failed)


def allocate(pixels: NDArray[np.int64], total: int, power: float = 1.0) -> NDArray[np.int64]:
    """How many anchors each class gets: (K,) that add up to `total`, or to all pixels if they are fewer.

    Classes with fewer pixels than their share are taken whole; what they leave is shared by the others.

    Args:
        pixels: (K,) pixels of each class.
        total: anchors.
        power: shares are in proportion to pixels ** (1 - power).
    """
    pixels = np.asarray(pixels, np.int64)
    given = np.zeros_like(pixels)
    open_ = pixels > 0
    weight = np.zeros(len(pixels))
    weight[open_] = pixels[open_] ** (1.0 - power)
    while open_.any():
        left = total - int(given[~open_].sum())
        share = left * weight / weight[open_].sum()
        whole = open_ & (share >= pixels)
        if not whole.any():
            given[open_] = np.floor(share[open_]).astype(np.int64)
            rarest = sorted(np.flatnonzero(open_), key=lambda k: (given[k] - share[k], pixels[k], k))
            given[rarest[: left - int(given[open_].sum())]] += 1
            break
        given[whole] = pixels[whole]
        open_ &= ~whole
    return given


def _asked(pixels: NDArray[np.int64], total: int, power: float) -> NDArray[np.int64]:
    """(K,) anchors of each class if it had pixels enough; of an absent one as if it had a single pixel."""
    weight = np.maximum(pixels, 1) ** (1.0 - power)
    share = weight / weight[pixels > 0].sum()
    asked: NDArray[np.int64] = np.ceil(total * np.minimum(share, 1.0)).astype(np.int64)
    return asked


def label_tiles(
    paths: Sequence[Path],
    legend: Legend,
    band: str | None = None,
    recode: Mapping[int, int] | None = None,
) -> list[LabelTile]:
    """The tiles in the order of their names, each with a name of its own."""
    ordered = sorted(paths, key=lambda path: (path.name, path))
    often = Counter(path.name for path in ordered)
    names = [path.name if often[path.name] == 1 else f"{path.parent.name}/{path.name}" for path in ordered]
    often = Counter(names)
    unique = [name if often[name] == 1 else str(path) for name, path in zip(names, ordered, strict=True)]
    return [
        LabelTile(RasterFile(path), name, legend, band, recode or {})
        for path, name in zip(ordered, unique, strict=True)
    ]


def _first_look(
    tiles: list[LabelTile], seed: int, failed: dict[str, str], workers: int | None
) -> tuple[list[LabelTile], NDArray[np.int64]]:
    """The tiles that can be opened, and (K,) pixels that each class has at least, by all appearances."""

    def look(tile: LabelTile) -> NDArray[np.float64] | UnreadableError:
        try:
            if tile.file.info.crs is None:
                raise SarcoverError(
                    f"{tile.file.path} has no georeference: anchors are places on the ground",
                    do="leave --anchors out",
                )
            return tile.some(_LOOK, generator((seed, 0), tile))
        except UnreadableError as error:
            return error
        finally:
            tile.file.release()

    good, looked = [], []
    for tile, result in zip(tiles, by_workers(look, tiles, workers), strict=True):
        if isinstance(result, UnreadableError):
            failed[str(tile.file.path)] = str(result)
        else:
            good.append(tile)
            looked.append(result)
    if not good:
        raise SarcoverError("no label tile can be read", got="; ".join(failed.values()) or "no tile")
    shares = np.concatenate(looked)
    error = shares.std(0) / np.sqrt(len(shares))
    share = np.maximum(shares.mean(0) - _ERRORS * error, _FEW * shares.mean(0))
    return good, (share * sum(float(np.prod(tile.file.info.shape)) for tile in good)).astype(np.int64)


Merged = list[tuple[Lots, NDArray[np.int32]]]  # for each class its candidates, and which tile each is of


def _draw(
    tiles: list[LabelTile],
    limits: NDArray[np.float64],
    enough: int,
    seed: tuple[int, int],
    failed: dict[str, str],
    workers: int | None,
) -> tuple[NDArray[np.int64], Merged]:
    """(K,) pixels of each class in all tiles, and the candidates that have the smallest lots of all."""

    def draw(tile: LabelTile) -> tuple[NDArray[np.int64], list[Lots]] | UnreadableError:
        try:
            return draw_tile(tile, limits, enough, seed)
        except UnreadableError as error:
            return error
        finally:
            tile.file.release()

    pixels = np.zeros(len(limits), np.int64)
    merged: Merged = [(Lots(1.0), np.empty(0, np.int32)) for _ in limits]
    with progress("draw anchors", len(tiles)) as advance, gdal_cache(_CACHE):
        for number, result in enumerate(by_workers(draw, tiles, workers)):
            advance(1)
            if isinstance(result, UnreadableError):
                failed[str(tiles[number].file.path)] = str(result)
                continue
            pixels += result[0]
            merged = [
                _merge(lots, origin, new, number, enough)
                for (lots, origin), new in zip(merged, result[1], strict=True)
            ]
    return pixels, merged


def _merge(
    lots: Lots, origin: NDArray[np.int32], new: Lots, number: int, enough: int
) -> tuple[Lots, NDArray[np.int32]]:
    """Candidates of several tiles and of one more: those below the limits of all, `enough` at least."""
    limit = min(lots.limit, new.limit)
    values = np.concatenate([lots.lots, new.lots])
    pixels = np.concatenate([lots.pixels, new.pixels])
    origin = np.concatenate([origin, np.full(len(new.lots), number, np.int32)])
    kept = np.flatnonzero(values < limit)
    if len(kept) > 2 * enough:
        order = kept[np.argpartition(values[kept], enough)]
        limit, kept = float(values[order[enough]]), order[:enough]
    return Lots(limit, values[kept], pixels[kept]), origin[kept]


def _place(tiles: list[LabelTile], lots: Merged, drawn: NDArray[np.int64]) -> Anchors:
    """The pixels with the smallest lots of each class, in the order of tiles, rows and columns."""
    classes, origins, pixels = [], [], []
    for number, ((one, origin), wanted) in enumerate(zip(lots, drawn, strict=True)):
        some = wanted < len(one.lots)
        first = np.argpartition(one.lots, wanted)[:wanted] if some else np.arange(wanted)
        classes.append(np.full(len(first), number, np.uint8))
        origins.append(origin[first])
        pixels.append(one.pixels[first])
    kind, tile, pixel = np.concatenate(classes), np.concatenate(origins), np.concatenate(pixels)
    order = np.argsort(tile * (1 + pixel.max(initial=0)) + pixel)
    kind, tile, pixel = kind[order], tile[order], pixel[order]
    widths = np.array([tile.file.info.shape[1] for tile in tiles])
    rows, cols = np.divmod(pixel, widths[tile])
    lon, lat = np.empty(len(rows)), np.empty(len(rows))
    for number in range(len(tiles)):
        mine = slice(*np.searchsorted(tile, [number, number + 1]))
        lon[mine], lat[mine] = _to_degrees(tiles[number], rows[mine], cols[mine])
    names = tuple(tile.name for tile in tiles)
    return Anchors(lon, lat, kind, tile, rows.astype(np.int32), cols.astype(np.int32), names)


def _to_degrees(
    tile: LabelTile, rows: NDArray[np.int64], cols: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    info = tile.file.info
    grid = Grid(tile.name, info.crs, info.transform, info.shape)
    x, y = grid.to_world(rows.astype(np.float64) + 0.5, cols.astype(np.float64) + 0.5)
    return reproject(info.crs, DEGREES, x, y)
