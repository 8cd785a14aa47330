"""One virtual raster (GDAL's VRT) over many tiles that lie on one lattice."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from sarcover.files import atomic_file
from sarcover.legend import IGNORE, Legend
from sarcover.mapping.fleet.tiles import Box, Lattice
from sarcover.mapping.raster import BLOCK, Look


@dataclass(frozen=True)
class Piece:
    """A tile's file, relative to the VRT, and where it lies on the lattice."""

    file: str
    box: Box


def write_vrt(
    path: Path,
    lattice: Lattice,
    box: Box,
    look: Look,
    pieces: Iterable[Piece],
    categories: Legend | None = None,
) -> None:
    """Writes it. Opening it opens no tile: all that GDAL needs to know of them is in it.

    Args:
        path: the file.
        lattice: of the tiles.
        box: what the raster covers; 255 where no tile lies.
        look: what the raster says of itself.
        pieces: the tiles.
        categories: names of the first band's values; None for none.
    """
    pieces = list(pieces)
    place = lattice.place(box)
    root = Element("VRTDataset", rasterXSize=str(box.width), rasterYSize=str(box.height))
    # Without a mapping of axes GDAL takes x first, as the geotransform has it, whatever the system's order.
    SubElement(root, "SRS").text = place.crs.to_wkt() if place.crs else ""
    SubElement(root, "GeoTransform").text = ", ".join(repr(each) for each in place.transform.to_gdal())
    _metadata(root, look.tags)
    for number, description in enumerate(look.descriptions, 1):
        band = SubElement(root, "VRTRasterBand", dataType="Byte", band=str(number))
        SubElement(band, "Description").text = description
        _metadata(band, look.band_tags)
        SubElement(band, "NoDataValue").text = str(IGNORE)
        if look.scale is not None:
            SubElement(band, "Offset").text, SubElement(band, "Scale").text = "0", repr(look.scale)
        if look.colours:
            _colours(band, look.colours)
        if categories is not None:
            _categories(band, categories)
        for piece in pieces:
            _source(band, piece, box, number)
    ElementTree.indent(root, " ")
    with atomic_file(path) as temporary:
        ElementTree.ElementTree(root).write(temporary, encoding="unicode")


def _metadata(parent: Element, tags: Mapping[str, str]) -> None:
    if tags:
        metadata = SubElement(parent, "Metadata")
        for key, value in tags.items():
            SubElement(metadata, "MDI", key=key).text = value


def _colours(band: Element, colours: Mapping[int, Sequence[int]]) -> None:
    SubElement(band, "ColorInterp").text = "Palette"
    table = SubElement(band, "ColorTable")
    for value in range(max(colours) + 1):
        red, green, blue, alpha = map(str, colours.get(value, (0, 0, 0, 255)))
        SubElement(table, "Entry", c1=red, c2=green, c3=blue, c4=alpha)


def _categories(band: Element, legend: Legend) -> None:
    names = {cls.code: cls.name for cls in legend.classes}
    listed = SubElement(band, "CategoryNames")
    for code in range(max(names) + 1):
        SubElement(listed, "Category").text = names.get(code, "")


def _source(band: Element, piece: Piece, whole: Box, number: int) -> None:
    own = piece.box
    size: dict[str, Any] = {"xSize": str(piece.box.width), "ySize": str(piece.box.height)}
    source = SubElement(band, "SimpleSource")
    SubElement(source, "SourceFilename", relativeToVRT="1").text = piece.file
    SubElement(source, "SourceBand").text = str(number)
    SubElement(
        source,
        "SourceProperties",
        RasterXSize=size["xSize"],
        RasterYSize=size["ySize"],
        DataType="Byte",
        BlockXSize=str(BLOCK),
        BlockYSize=str(BLOCK),
    )
    SubElement(source, "SrcRect", xOff="0", yOff="0", **size)
    SubElement(source, "DstRect", xOff=str(own.column - whole.column), yOff=str(own.row - whole.row), **size)
