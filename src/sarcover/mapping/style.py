"""How QGIS shows a map and its layers: style files (.qml) that it reads by itself beside a raster."""

from __future__ import annotations

from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from sarcover.legend import IGNORE, Legend

QGIS = "3.28.0"
"""The version whose form of style files is written; later ones read it."""

_DOCTYPE = "<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n"
# Dark to light, evenly: the colour-blind see it, too.
_RAMP = ("#440154", "#3b528b", "#21918c", "#5ec962", "#fde725")


def map_style(legend: Legend) -> str:
    """The style of a map: each class with its name and colour, nodata transparent.

    Args:
        legend: of the codes in the map's only band.

    Returns:
        Text of the .qml file.
    """
    root, renderer = _style("paletted")
    values = SubElement(SubElement(renderer, "rasterTransparency"), "singleValuePixelList")
    nodata = str(IGNORE)  # transparent even where somebody switches the file's own nodata off
    SubElement(values, "pixelListEntry", min=nodata, max=nodata, percentTransparent="100")
    palette = SubElement(renderer, "colorPalette")
    for cls in legend.classes:
        SubElement(
            palette, "paletteEntry", value=str(cls.code), color=cls.colour, label=cls.name, alpha="255"
        )
    return _text(root)


def layer_style(title: str) -> str:
    """The style of a layer that runs from 0 to 1: a ramp from dark to light.

    Args:
        title: what the numbers are.

    Returns:
        Text of the .qml file.
    """
    root, renderer = _style("singlebandpseudocolor")
    renderer.attrib |= {"classificationMin": "0", "classificationMax": "1"}
    shader = SubElement(renderer, "rastershader")
    ramp = SubElement(
        shader, "colorrampshader", colorRampType="INTERPOLATED", classificationMode="1", clip="0",
        minimumValue="0", maximumValue="1", labelPrecision="2",
    )  # fmt: skip
    for step, colour in enumerate(_RAMP):
        value = f"{step / (len(_RAMP) - 1):g}"
        label = f"{value} ({title})" if step == 0 else value
        SubElement(ramp, "item", value=value, color=colour, label=label, alpha="255")
    return _text(root)


def _style(kind: str) -> tuple[Element, Element]:
    """A style and its renderer of band 1, which still lacks its colours."""
    root = Element("qgis", version=QGIS, styleCategories="Symbology", hasScaleBasedVisibilityFlag="0")
    pipe = SubElement(root, "pipe")
    resampling = SubElement(SubElement(pipe, "provider"), "resampling", enabled="false", maxOversampling="2")
    resampling.attrib |= {"zoomedInResamplingMethod": "nearestNeighbour"}
    resampling.attrib |= {"zoomedOutResamplingMethod": "nearestNeighbour"}
    renderer = SubElement(
        pipe, "rasterrenderer", type=kind, band="1", opacity="1", alphaBand="-1", nodataColor=""
    )
    SubElement(pipe, "brightnesscontrast", brightness="0", contrast="0", gamma="1")
    SubElement(pipe, "huesaturation", saturation="0", grayscaleMode="0", colorizeOn="0")
    SubElement(pipe, "rasterresampler", maxOversampling="2")
    SubElement(root, "blendMode").text = "0"
    return root, renderer


def _text(root: Element) -> str:
    ElementTree.indent(root)
    return _DOCTYPE + ElementTree.tostring(root, encoding="unicode") + "\n"
