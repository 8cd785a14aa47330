"""What the classes looked like in the training data: the same statistics, of a store's training patches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from sarcover.errors import SarcoverError
from sarcover.explain.statistics import Backscatter, ranges
from sarcover.explain.untrusted import radar_key
from sarcover.legend import IGNORE
from sarcover.patches import PatchStore
from sarcover.progress import progress
from sarcover.radar import to_db

MOST_PATCHES = 512
"""Training patches looked at, spread evenly over the store: 33 million pixels of 256 px patches."""


def training_backscatter(store: PatchStore, bands: Sequence[str]) -> Backscatter:
    """Statistics of the labelled training pixels of each class.

    Args:
        store: an open store with labels.
        bands: the scene's bands, by the names of the store's.

    Raises:
        SarcoverError: no training patches, or a band that the store does not have.
    """
    meta = store.meta
    missing = [band for band in bands if band not in meta.bands]
    if missing:
        raise SarcoverError(
            f"{store.path} has no band {', '.join(missing)}",
            expected=", ".join(meta.bands),
            do="leave out --data",
        )
    positions = store.rows("train")
    if not len(positions):
        raise SarcoverError(f"{store.path} has no training patch")
    chosen = positions[np.unique(np.linspace(0, len(positions) - 1, MOST_PATCHES).astype(np.int64))]
    order = [meta.bands.index(band) for band in bands]
    calibrated = meta.unit != "uncalibrated"
    limits = [] if calibrated else ranges((db for _, db in _patches(store, chosen, order)), len(order))
    assert meta.legend is not None
    keys = [radar_key(band, number) for number, band in enumerate(bands, 1)]
    found = Backscatter(meta.legend.num_classes, keys, calibrated=calibrated, ranges=limits)
    with progress("training data, patches", len(chosen)) as advance:
        for label, db in _patches(store, chosen, order):
            found.add(label, db, label != IGNORE)
            advance(1)
    return found


def _patches(
    store: PatchStore, positions: NDArray[np.int64], bands: list[int]
) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.float32]]]:
    """Labels (P, P) and dB (C, P, P), NaN where invalid."""
    for position in positions:
        patch = store.read(int(position))
        db = to_db(patch["sar"][bands], store.meta.unit, store.meta.calibration_db).astype(np.float32)
        db[:, ~patch["valid"]] = np.nan
        yield patch["label"], db
