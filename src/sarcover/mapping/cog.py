"""What a map says of itself: colours, class names, provenance, and GDAL's side file of category names."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from xml.sax.saxutils import escape

import rasterio
from rasterio.enums import Resampling

from sarcover import __version__
from sarcover.config import Layer
from sarcover.errors import SarcoverError
from sarcover.legend import IGNORE, Legend
from sarcover.mapping.layers import KINDS, band_names
from sarcover.mapping.raster import Look

_LEGEND_TAG = "SARCOVER_LEGEND_JSON"


def map_look(legend: Legend, provenance: Mapping[str, str]) -> Look:
    """Colour table, class names and the legend itself, for a map of a legend's codes."""
    colours = {cls.code: (*_rgb(cls.colour), 255) for cls in legend.classes}
    return Look(
        tags={
            **_common_tags(provenance),
            "SARCOVER_LEGEND": legend.name,
            _LEGEND_TAG: json.dumps(legend.to_dict(), ensure_ascii=False),
        },
        description="land cover",
        band_tags={f"CLASS_{cls.code}": cls.name for cls in legend.classes},
        colours={**colours, IGNORE: (0, 0, 0, 0)},
    )


def layer_look(layer: Layer, legend: Legend, provenance: Mapping[str, str]) -> Look:
    """For a layer of how sure the model is: its scale, so that other programs show 0 to 1."""
    first, *further = band_names(layer, legend)
    return Look(
        _common_tags(provenance),
        first,
        resampling=Resampling.average,
        further=tuple(further),
        scale=KINDS[layer].scale,
    )


def read_legend(path: str | Path) -> Legend | None:
    """The legend that a map carries; None for a raster that carries none.

    Raises:
        SarcoverError: it is damaged.
    """
    with rasterio.open(path) as raster:
        text = raster.tags().get(_LEGEND_TAG)
    if text is None:
        return None
    try:
        return Legend.from_dict(json.loads(text), where=str(path))
    except json.JSONDecodeError as error:
        raise SarcoverError(f"{path}: its legend (tag {_LEGEND_TAG}) is damaged", got=str(error)) from error


def category_names(legend: Legend) -> str:
    """Text of GDAL's side file .aux.xml, where GIS programs look for class names: one a code from 0 on."""
    names = {cls.code: cls.name for cls in legend.classes}
    rows = "".join(f"<Category>{escape(names.get(code, ''))}</Category>" for code in range(max(names) + 1))
    return (
        f'<PAMDataset><PAMRasterBand band="1"><CategoryNames>{rows}</CategoryNames></PAMRasterBand>'
        "</PAMDataset>\n"
    )


def _common_tags(provenance: Mapping[str, str]) -> dict[str, str]:
    return {"TIFFTAG_SOFTWARE": f"sarcover {__version__}", "SARCOVER_VERSION": __version__, **provenance}


def _rgb(colour: str) -> tuple[int, int, int]:
    """ "#rrggbb" as three numbers."""
    red, green, blue = bytes.fromhex(colour.removeprefix("#"))
    return red, green, blue
