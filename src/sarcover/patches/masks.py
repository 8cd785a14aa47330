"""Which pixels of a patch are valid and labelled, kept in the index: it proves the split without shards.

Only patches near those of another split need it. A mask is packed, eight pixels a byte, and deflated.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable

import geopandas
import numpy as np
from numpy.typing import NDArray

from sarcover.errors import SarcoverError
from sarcover.legend import IGNORE
from sarcover.patches.store import PatchStore

Masks = Callable[[int], tuple[NDArray[np.bool_], NDArray[np.bool_]]]  # position -> valid, labelled: (P, P)

COLUMNS = ("valid_mask", "label_mask")


def stored_masks(store: PatchStore) -> Masks:
    """Masks from the shards."""

    def read(position: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        valid, label = store.read_masks(position)
        return valid, label != IGNORE

    return read


def indexed_masks(index: geopandas.GeoDataFrame, side: int) -> Masks:
    """Masks from the index; of a patch for which `with_masks` kept none they raise a SarcoverError."""
    valid, label = (index[name].tolist() for name in COLUMNS)
    names = index["patch_id"].tolist()

    def unpack(deflated: bytes) -> NDArray[np.bool_]:
        bits = np.frombuffer(zlib.decompress(deflated), np.uint8)
        return np.unpackbits(bits).view(np.bool_).reshape(side, side)

    def masks(position: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        try:
            return unpack(valid[position]), unpack(label[position])
        except (TypeError, ValueError, zlib.error) as error:  # none, or not what was written
            raise SarcoverError(
                f"the index was changed: no mask for {names[position]}",
                do="copy the store again, or make it again with: sarcover prepare",
            ) from error

    return masks


def with_masks(index: geopandas.GeoDataFrame, masks: Masks, near: Iterable[int]) -> geopandas.GeoDataFrame:
    """The index with the masks of some patches, the geometry last."""
    columns: dict[str, list[bytes | None]] = {name: [None] * len(index) for name in COLUMNS}
    for position in near:
        for name, mask in zip(COLUMNS, masks(position), strict=True):
            columns[name][position] = zlib.compress(np.packbits(mask).tobytes())
    rest = [name for name in index.columns if name not in (*COLUMNS, "geometry")]
    return index.assign(**columns)[[*rest, *COLUMNS, "geometry"]]
