"""QGIS styles: what a program that reads XML finds in them."""

from xml.etree import ElementTree

from mapping_helpers import CODES, LEGEND

from sarcover.legend import LandClass, Legend
from sarcover.mapping.style import layer_style, map_style


def renderer(text: str) -> ElementTree.Element:
    assert text.startswith("<!DOCTYPE qgis ")
    root = ElementTree.fromstring(text)
    assert root.tag == "qgis"
    found = root.find("pipe/rasterrenderer")
    assert found is not None
    assert found.get("band") == "1"
    return found


def test_a_map_has_a_palette_of_its_classes() -> None:
    palette = renderer(map_style(LEGEND))
    assert palette.get("type") == "paletted"
    entries = [entry.attrib for entry in palette.iterfind("colorPalette/paletteEntry")]
    assert [(int(e["value"]), e["color"], e["label"], e["alpha"]) for e in entries] == [
        (code, colour, name, "255")
        for code, colour, name in zip(CODES, LEGEND.colours, LEGEND.names, strict=True)
    ]
    clear = [entry.attrib for entry in palette.iterfind("rasterTransparency//pixelListEntry")]
    assert clear == [{"min": "255", "max": "255", "percentTransparent": "100"}]


def test_names_may_hold_any_sign() -> None:
    name = 'Rice & <"wet"> 水田'
    legend = Legend("odd", "Odd names", "test", (LandClass(1, name, "#0000ff", (1,)),))
    entries = renderer(map_style(legend)).findall("colorPalette/paletteEntry")
    assert [entry.get("label") for entry in entries] == [name]


def test_a_layer_has_a_ramp_from_0_to_1() -> None:
    ramp = renderer(layer_style("entropy & more"))
    assert ramp.get("type") == "singlebandpseudocolor"
    values = [float(item.attrib["value"]) for item in ramp.iterfind("rastershader/colorrampshader/item")]
    assert values == sorted(values)
    assert (values[0], values[-1]) == (0.0, 1.0)
    assert (ramp.get("classificationMin"), ramp.get("classificationMax")) == ("0", "1")
