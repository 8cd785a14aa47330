"""Whether a map keeps what is narrow and what is small: thin structures and small objects of the reference.

What the edge of the patch or an unlabelled pixel cuts is of unknown width and size; it gets the benefit of
the doubt and is taken as neither thin nor small. Counts of parts add up to those of the whole.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import label

from sarcover.legend import IGNORE
from sarcover.metrics.borders import Classes, Counts, for_extremes, per_class, spread

THIN_WIDTH = 3
"""Greatest width of a thin structure, pixels."""
THIN_PART = 4
"""Least pixels of a thin part; less are corners of wide regions and steps of their outlines."""
SMALL_OBJECT = (4, 100)
"""Least and greatest pixels of a small object: less is the reference's salt, 100 are a hectare at 10 m."""

_CONNECTED = np.ones((3, 3), np.uint8)  # diagonal neighbours belong together: narrow things run aslant


def thin_parts(reference: Classes) -> NDArray[np.bool_]:
    """The pixels of parts that are at most `THIN_WIDTH` = 3 pixels wide: (H, W) bool.

    The width at a pixel is the diameter of the largest disc that covers the pixel and lies within its class:
    a region's opening by discs, that is its distance transform cut off at a radius and spread again. Discs
    are centred on pixel corners, where a diameter can be an even number, and hold the pixels whose centres
    are within the radius: that of diameter 4 has 12 pixels, 4 x 4 without the corners. A pixel is thin if no
    disc of diameter 4 within its class covers it: straight lines up to 3 pixels wide along rows and columns,
    up to 4 diagonals wide (2.8 pixels) at 45 degrees. So a narrow reach of a wide river counts and its wide
    reach does not; of connected thin pixels of a class (8 neighbours) fewer than `THIN_PART` = 4 do not
    count: they are corners. Beyond the edge and on unlabelled pixels a disc fits any class.

    Args:
        reference: (H, W), 255 where unlabelled.
    """
    offsets = np.argwhere(_disc(THIN_WIDTH + 1))
    margin = THIN_WIDTH
    highest, lowest = for_extremes(np.pad(reference, margin, constant_values=IGNORE))
    height, width = (side - margin for side in highest.shape)  # of the discs' upper left corners
    most, least = np.full((height, width), -1, np.int16), np.full((height, width), IGNORE, np.int16)
    for row, col in offsets:
        np.maximum(most, highest[row : row + height, col : col + width], out=most)
        np.minimum(least, lowest[row : row + height, col : col + width], out=least)
    fits, covered = most <= least, np.zeros(highest.shape, bool)
    for row, col in offsets:
        covered[row : row + height, col : col + width] |= fits
    wide = covered[margin:-margin, margin:-margin]
    parts, _ = connected(np.where(wide, IGNORE, reference))
    keep = np.bincount(parts.ravel()) >= THIN_PART
    keep[0] = False
    kept: NDArray[np.bool_] = keep[parts]
    return kept


def thin_counts(predicted: Classes, reference: Classes, num_classes: int) -> Counts:
    """Pixels of thin structures, in `thin_parts` of the reference: (K, 2) those mapped as their class, all.

    Args:
        predicted: (H, W), 255 exactly where the reference is.
        reference: (H, W), 0..K-1 or 255.
        num_classes: K.
    """
    thin = thin_parts(reference)
    found = per_class(reference, thin & (predicted == reference), num_classes)
    return np.stack([found, per_class(reference, thin, num_classes)], -1)


def small_counts(predicted: Classes, reference: Classes, num_classes: int) -> Counts:
    """Small objects: (K, 2) those found, all; arguments as in `thin_counts`.

    An object is a connected region (8 neighbours) of one class of the reference; it is small if it has
    `SMALL_OBJECT` = 4 to 100 pixels, and found if at least half of them are mapped as its class. Objects that
    touch the patch's edge or an unlabelled pixel do not count.
    """
    objects, class_of = connected(reference)
    cut = spread(reference == IGNORE, 1, np.logical_or)
    cut[[0, -1]] = True
    cut[:, [0, -1]] = True
    number = len(class_of)
    size = np.bincount(objects.ravel(), minlength=number)
    right = np.bincount(objects[predicted == reference], minlength=number)
    whole = np.bincount(objects[cut], minlength=number) == 0
    small = whole & (size >= SMALL_OBJECT[0]) & (size <= SMALL_OBJECT[1]) & (class_of != IGNORE)
    found = small & (2 * right >= size)
    return np.stack([per_class(class_of, some, num_classes) for some in (found, small)], -1)


def connected(classes: Classes) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Connected regions of equal class: their numbers (H, W), 0 where unlabelled, and each number's class.

    Args:
        classes: (H, W), 255 where unlabelled.
    """
    numbers = np.zeros(classes.shape, np.int32)
    class_of = [IGNORE]
    for k in np.unique(classes[classes != IGNORE]):
        mine = classes == k
        regions, count = label(mine, _CONNECTED)
        numbers[mine] = regions[mine] + (len(class_of) - 1)
        class_of += [int(k)] * count
    return numbers, np.array(class_of, np.int64)


def _disc(diameter: int) -> NDArray[np.bool_]:
    """The pixels whose centres lie within a disc of this diameter around the middle of the array."""
    offsets = np.arange(diameter) - (diameter - 1) / 2
    disc: NDArray[np.bool_] = np.hypot(offsets[:, None], offsets) <= diameter / 2
    return disc
