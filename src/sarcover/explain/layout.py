"""How classes lie on a map: which border which, and how compact their objects are.

A map is worked through from top to bottom in strips. Objects (pixels of one class connected by their sides)
that reach the end of a strip stay open until the next one; in memory are the last row and its objects.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import label
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from sarcover.legend import IGNORE

Index = NDArray[np.uint8]


class Layout:
    """Neighbours and objects of the classes of one area.

    Attributes:
        borders: (K, K) int64, symmetric: pixel sides between two classes.
        objects: number of objects of each class, (K,).
        pixels: pixels in them, (K,).
        largest: pixels of the largest, (K,).
        perimeter: pixel sides around them (towards other classes, nodata and the area's edge), (K,).

    Args:
        classes: number of classes K.
    """

    def __init__(self, classes: int) -> None:
        self.borders = np.zeros((classes, classes), np.int64)
        self.objects, self.pixels, self.largest, self.perimeter = np.zeros((4, classes), np.int64)
        self._compact = np.zeros(classes)  # sum over objects of pixels x compactness
        self._row: Index | None = None
        self._open = _Objects.none()  # the objects that the last row touches
        self._labels: NDArray[np.int64] = np.zeros(0, np.int64)  # which of them, for each pixel of that row

    def add(self, index: Index) -> None:
        """The next strip, full width: (h, w), 0..K-1 or 255 where there is no class or no area."""
        last = np.full(index.shape[1], IGNORE, np.uint8) if self._row is None else self._row
        above = np.concatenate([last[None], index])
        self._count_borders(index[:, :-1], index[:, 1:])
        self._count_borders(above[:-1], above[1:])
        labels, found = _objects(index, last)
        joined = self._join(labels[0], index[0], last, found)
        at_the_end = joined.labels_of(labels[-1], len(self._open))
        self._close(joined.objects, keep=at_the_end)
        self._row = index[-1].copy()

    def finish(self) -> None:
        """The area ends here."""
        if self._row is None:
            return
        edge = np.bincount(self._labels[self._labels >= 0], minlength=len(self._open))
        self._open.perimeter += edge
        self._close(self._open, keep=np.full(0, -1, np.int64))

    def compactness(self, k: int) -> float | None:
        """Mean of 16 x pixels / perimeter^2 over the objects, each weighted by its pixels; None without any.

        1 is a square, 0.56 a strip five times as long as wide; ragged and thin objects are near 0. (The
        inverse, perimeter^2 / area, is as common; this one stays between 0 and 1 and can be averaged.)
        """
        return float(self._compact[k] / self.pixels[k]) if self.pixels[k] else None

    def _count_borders(self, one: Index, other: Index) -> None:
        differ = (one != other) & (one != IGNORE) & (other != IGNORE)
        K = len(self.borders)
        pairs = np.bincount(one[differ].astype(np.int64) * K + other[differ], minlength=K * K).reshape(K, K)
        self.borders += pairs + pairs.T

    def _join(self, top: NDArray[np.int64], first: Index, last: Index, found: _Objects) -> _Joined:
        """Open objects and those of a new strip as one, where they touch along a row."""
        n = len(self._open)
        if not n:
            return _Joined(found, np.arange(len(found)))
        ended = (self._labels >= 0) & (first != last)
        self._open.perimeter += np.bincount(self._labels[ended], minlength=n)
        touch = (self._labels >= 0) & (first == last)
        total = n + len(found)
        links = coo_matrix(
            (np.ones(int(touch.sum())), (self._labels[touch], top[touch] + n)), shape=(total, total)
        )
        count, group = connected_components(links, directed=False)
        return _Joined(self._open.with_(found).merged(group, count), group)

    def _close(self, objects: _Objects, keep: NDArray[np.int64]) -> None:
        """Counts the objects that no pixel of the last row belongs to; `keep` (w,) says which do, -1 none."""
        open_ = np.zeros(len(objects), np.bool_)
        open_[keep[keep >= 0]] = True
        done = objects.only(~open_)
        K = len(self.objects)
        self.objects += np.bincount(done.k, minlength=K)
        np.add.at(self.pixels, done.k, done.pixels)
        np.add.at(self.perimeter, done.k, done.perimeter)
        np.maximum.at(self.largest, done.k, done.pixels)
        np.add.at(self._compact, done.k, 16.0 * done.pixels.astype(np.float64) ** 2 / done.perimeter**2)
        number = np.cumsum(open_) - 1
        self._labels = np.where(keep >= 0, number[keep], -1) if len(objects) else keep
        self._open = objects.only(open_)


class _Objects:
    """Some objects: class, pixels and perimeter of each, (n,) int64."""

    def __init__(self, k: NDArray[np.int64], pixels: NDArray[np.int64], perimeter: NDArray[np.int64]) -> None:
        self.k, self.pixels, self.perimeter = k, pixels, perimeter

    @classmethod
    def none(cls) -> _Objects:
        return cls(*(np.zeros(0, np.int64) for _ in range(3)))

    def __len__(self) -> int:
        return len(self.k)

    def only(self, which: NDArray[np.bool_]) -> _Objects:
        return _Objects(self.k[which], self.pixels[which], self.perimeter[which])

    def with_(self, others: _Objects) -> _Objects:
        pairs = zip(self._all(), others._all(), strict=True)
        return _Objects(*(np.concatenate(pair) for pair in pairs))

    def merged(self, group: NDArray[np.int32], count: int) -> _Objects:
        """Objects of one group become one; they are of one class."""
        k = np.zeros(count, np.int64)
        k[group] = self.k
        sums = [np.bincount(group, values, minlength=count) for values in (self.pixels, self.perimeter)]
        return _Objects(k, *(np.rint(values).astype(np.int64) for values in sums))

    def _all(self) -> tuple[NDArray[np.int64], ...]:
        return self.k, self.pixels, self.perimeter


class _Joined:
    """Objects of a strip after they were joined with the open ones: `group` says what became of which."""

    def __init__(self, objects: _Objects, group: NDArray[np.integer]) -> None:
        self.objects, self._group = objects, group

    def labels_of(self, row: NDArray[np.int64], before: int) -> NDArray[np.int64]:
        """The joined object of each pixel of a row of the strip, -1 for none."""
        if not len(self._group):
            return np.full(row.shape, -1, np.int64)
        return np.where(row >= 0, self._group[np.where(row >= 0, row + before, 0)], -1).astype(np.int64)


def _objects(index: Index, above: Index) -> tuple[NDArray[np.int64], _Objects]:
    """Objects within a strip: labels (h, w) from 0, -1 for none; and what they are.

    The perimeter lacks the strip's lower side, which only the next strip can tell.
    """
    labels = np.full(index.shape, -1, np.int64)
    classes: list[NDArray[np.int64]] = []
    count = 0
    for k in np.unique(index[index != IGNORE]):
        found, number = label(index == k)
        labels[found > 0] = found[found > 0] + (count - 1)
        classes.append(np.full(number, k, np.int64))
        count += number
    pixels = np.bincount(labels[labels >= 0], minlength=count)
    k_of = np.concatenate(classes) if classes else np.zeros(0, np.int64)
    return labels, _Objects(k_of, pixels, _perimeter(index, above, labels, count))


def _perimeter(index: Index, above: Index, labels: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Sides of each object towards other classes, nothing and the strip's left and right: (count,)."""
    framed = np.pad(index, ((1, 0), (1, 1)), constant_values=IGNORE)
    framed[0, 1:-1] = above
    sides = np.zeros(index.shape, np.int64)
    sides += index != framed[1:, :-2]
    sides += index != framed[1:, 2:]
    sides += index != framed[:-1, 1:-1]
    sides[:-1] += index[:-1] != index[1:]
    there = labels >= 0
    return np.rint(np.bincount(labels[there], sides[there], minlength=count)).astype(np.int64)
