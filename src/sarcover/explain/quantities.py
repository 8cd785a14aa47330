"""Every number that evidence can hold: where it stands, its unit, and what it means.

A path is the keys to a number within one area, joined by dots: `classes.C1.backscatter.HH.median`. In the
table `*` stands for one key: the id of a class (C1 is the first class of the legend), the key of a band.
Paths are stable: a later version may add some, and never changes the meaning of one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

LOW_CONFIDENCE = 0.5
"""Below it a pixel counts as of low confidence: the other classes together are as probable."""


KEY = re.compile(
    r"C\d{1,4}(?:_as_C\d{1,4})?|HH|HV|VH|VV|(?:band|radar|optical)\d{1,3}"
    r"|blue|green|red|nir|swir1|swir2|rededge|coastal|pan|thermal"
)
"""What can stand for `*`: evidence may come from others, and its keys are in prompts."""


@dataclass(frozen=True)
class Quantity:
    """One kind of number.

    Attributes:
        pattern: its path, `*` for any one key.
        topic: what a sentence calls it (see `topics`).
        unit: 1 (a share or another pure number), dB, ha, px, m, count, std (training's standard deviations).
        percent: a share, 0..1, that is written in percent.
        meaning: one line.
    """

    pattern: str
    topic: str
    unit: str
    percent: bool
    meaning: str


def _rows(prefix: str, rows: str) -> list[Quantity]:
    """Quantities from a table: key, topic, unit (% for a share), meaning."""
    found = []
    for row in rows.strip().splitlines():
        key, topic, unit, meaning = (part.strip() for part in row.split("|"))
        percent = unit == "%"
        found.append(Quantity(f"{prefix}{key}", topic, "1" if percent else unit, percent, meaning))
    return found


QUANTITIES: tuple[Quantity, ...] = tuple(
    _rows(
        "",
        """
        window.row | window | px | first row of the rectangle that holds the area, in the map
        window.column | window | px | its first column
        window.height | window | px | its height
        window.width | window | px | its width
        pixels.total | pixels | px | pixels of the area
        pixels.mapped | pixels | px | those that have a class
        pixels.mapped_share | mapped | % | their share
        pixels.unmapped_share | unmapped | % | share of the pixels without a class
        extent.area | area | ha | ground of the pixels that have a class, on the ellipsoid
        extent.pixel_width | pixel size | m | width of a pixel on the ground
        extent.pixel_height | pixel size | m | height of a pixel on the ground
        counts.classes | classes | count | classes that are on the map
        counts.radar_bands | bands | count | radar bands
        counts.optical_bands | bands | count | optical bands
        """,
    )
    + _rows(
        "classes.*.",
        """
        pixels | pixels | px | pixels of the class on the map
        share | share | % | their share of the pixels that have a class
        area | area | ha | their ground
        rank | rank | count | 1 for the class with most pixels
        """,
    )
    + [
        quantity
        for prefix in ("", "classes.*.")
        for quantity in _rows(
            prefix,
            """
            confidence.mean | confidence | % | mean probability of the mapped class, the model's own opinion
            confidence.p10 | confidence p10 | % | a tenth of the pixels is below
            confidence.low_share | low confidence | % | share of the pixels below one half
            entropy.mean | entropy | % | mean entropy of the class probabilities, of its largest value
            entropy.p90 | entropy p90 | % | a tenth of the pixels is above
            modality.optical | optical weight | % | mean share of the optical image in the fusion
            modality.radar | radar weight | % | mean share of the radar in the fusion
            modality.changed_without_optical | without optical | % | pixels that change class without optical
            modality.changed_without_radar | without radar | % | pixels that change class without radar
            modality.agreement | agreement | % | pixels where the model, run again, gives the mapped class
            """,
        )
    ]
    + [
        quantity
        for prefix in ("", "classes.*.")
        for quantity in _rows(
            prefix,
            """
            backscatter.*.pixels | pixels | px | pixels with a backscatter
            backscatter.*.median | median | dB | median backscatter
            backscatter.*.p10 | p10 | dB | a tenth of the pixels is darker
            backscatter.*.p90 | p90 | dB | a tenth of the pixels is brighter
            optical.*.median | reflectance | % | median reflectance
            optical.*.p10 | reflectance p10 | % | a tenth of the pixels is darker
            optical.*.p90 | reflectance p90 | % | a tenth of the pixels is brighter
            index.ndvi.median | ndvi | 1 | median of (nir - red) / (nir + red)
            index.ndwi.median | ndwi | 1 | median of (green - nir) / (green + nir)
            """,
        )
    ]
    + _rows(
        "classes.*.",
        """
        backscatter.*.texture | texture | 1 | mean of the local variation of power, see explain.md
        backscatter.*.texture_pixels | pixels | px | pixels that it is the mean of
        backscatter.*.above_model | above model | std | median above the mean that the model was trained with
        backscatter.*.training.median | training median | dB | median of the class in the training data
        backscatter.*.training.p10 | training p10 | dB | its 10th percentile
        backscatter.*.training.p90 | training p90 | dB | its 90th percentile
        backscatter.*.training.texture | training texture | 1 | its texture
        backscatter.*.training.pixels | training pixels | px | pixels looked at
        backscatter.*.training.above | above training | dB | median above that of the training data
        backscatter.*.training.within | within training | % | pixels from training's 10th to 90th percentile
        neighbours.*.share | border share | % | share of the class's border that is with this class
        neighbours.*.border | border | count | pixel sides between the two classes
        objects.count | objects | count | objects: pixels joined by their sides
        objects.mean_pixels | object size | px | mean size of an object
        objects.mean_area | object area | ha | mean ground of an object
        objects.largest_share | largest object | % | share of the class's pixels in its largest object
        objects.compactness | compactness | 1 | 16 pixels / perimeter^2: 1 for a square, less for others
        accuracy.iou | iou | % | intersection over union with the reference
        accuracy.precision | precision | % | share of the mapped pixels that the reference confirms
        accuracy.recall | recall | % | share of the reference pixels that the map has found
        accuracy.f1 | f1 | % | harmonic mean of precision and recall
        accuracy.reference_pixels | reference pixels | px | pixels of the class in the reference
        """,
    )
    + _rows(
        "",
        """
        model.*.mean | model mean | dB | mean of the backscatter that the model was trained with
        model.*.std | model std | dB | its standard deviation
        optical.valid_share | clear | % | share of the mapped pixels that have optical values
        accuracy.reference_pixels | reference pixels | px | pixels with a class in map and reference
        accuracy.oa | overall accuracy | % | share of them with the right class
        accuracy.miou | mean iou | % | mean of the classes' IoU
        accuracy.kappa | kappa | 1 | agreement beyond chance
        accuracy.border.width | border width | px | so far from a border between reference classes is border
        accuracy.border.share | at borders | % | share of the reference pixels that are border
        accuracy.border.oa | border accuracy | % | overall accuracy there
        accuracy.border.error_share | errors at borders | % | share of all errors that lie there
        accuracy.interior.oa | interior accuracy | % | overall accuracy elsewhere
        accuracy.confusions.*.pixels | confused pixels | px | pixels of the first class mapped as the second
        accuracy.confusions.*.share_of_errors | share of errors | % | their share of all errors
        accuracy.confusions.*.share_of_reference | confused share | % | their share of the first class
        accuracy.confusions.*.at_border | confused at borders | % | share of them that lies at a border
        """,
    )
)


@lru_cache(maxsize=4096)
def quantity_of(path: str) -> Quantity | None:
    """What the number at a path is; None for a path that evidence does not have."""
    keys = path.split(".")
    for quantity in QUANTITIES:
        pattern = quantity.pattern.split(".")
        if len(pattern) == len(keys) and all(map(_fits, pattern, keys)):
            return quantity
    return None


def _fits(part: str, key: str) -> bool:
    return part == key or (part == "*" and KEY.fullmatch(key) is not None)


def table(power: bool) -> dict[str, dict[str, str]]:
    """Pattern -> unit and meaning, as every evidence file holds it.

    Args:
        power: the radar is calibrated; else its numbers have no unit, and stand where dB would.
    """
    return {
        q.pattern: {"unit": q.unit if power or q.unit != "dB" else "number", "meaning": q.meaning}
        for q in QUANTITIES
    }
