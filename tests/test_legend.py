"""Legends: reference codes become classes, classes become the codes of a map, and nothing is guessed."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sarcover import SarcoverError
from sarcover.legend import IGNORE, LandClass, Legend, legend_names, load_legend

NAMES = {
    "jaxa-hrlulc-14": 14,
    "jaxa-hrlulc-9": 9,
    "jaxa-water": 2,
    "esri": 9,
    "worldcover": 11,
    "dynamic-world": 9,
    "whu-opt-sar": 7,
    "openearthmap-sar": 8,
    "pie-rgb-sar": 6,
    "terramesh": 9,
    "sen1floods11": 2,
    "ombria": 2,
}
USER = """
name: mine
ignore: [0]
classes:
  - {code: 5, name: Water, colour: "#0000FF"}
  - {code: 9, name: Land, colour: "#00ff00", sources: [1, 2, 300]}
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "mine.yaml"
    path.write_text(text)
    return path


def test_the_published_legends_are_there_with_their_number_of_classes():
    assert {name: load_legend(name).num_classes for name in legend_names()} == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_legend_says_where_it_comes_from_and_survives_a_bundle(name):
    legend = load_legend(name)
    assert legend.name == name
    assert legend.source
    assert Legend.from_dict(legend.to_dict()) == legend


def test_nine_classes_merge_forests_and_paddy_in_the_order_of_the_paper():
    legend = load_legend("jaxa-hrlulc-9")
    assert legend.names == [
        "Water", "Built-up", "Cropland", "Grassland", "Forest",
        "Bare", "Solar Panel", "Wetland", "Greenhouse",
    ]  # fmt: skip
    assert legend.codes == list(range(9))
    reference = np.array([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 255], np.uint8)
    expected = [255, 0, 1, 2, 2, 3, 4, 4, 4, 4, 5, 4, 6, 7, 8, 255]
    assert legend.encode(reference).tolist() == expected


def test_water_alone():
    reference = np.arange(15, dtype=np.uint8)
    assert load_legend("jaxa-water").encode(reference).tolist() == [255, 1] + [0] * 13


def test_dynamic_world_label_tiles_are_shifted_to_the_codes_of_the_product():
    legend = load_legend("dynamic-world")
    tiles = np.arange(11, dtype=np.uint8)
    assert legend.encode(tiles).tolist() == [255, 0, 1, 2, 3, 4, 5, 6, 7, 8, 255]
    assert legend.codes == list(range(9))


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_what_a_map_holds_reads_back_as_the_classes(name, data):
    legend = load_legend(name)
    known = [*range(legend.num_classes), IGNORE]
    index = np.array(data.draw(st.lists(st.sampled_from(known), max_size=30)), np.uint8)
    assert np.array_equal(legend.index_of_codes(legend.decode(index)), index)


@settings(max_examples=50, deadline=None)
@given(
    codes=st.lists(st.sampled_from([5, 1, 2, 300, 0, 255]), min_size=1, max_size=50),
    dtype=st.sampled_from(["int16", "uint16", "int32", "uint32", "int64", "float32", "float64"]),
)
def test_the_type_of_the_raster_does_not_matter(codes, dtype):
    legend = Legend(
        "mine", "", "", (LandClass(5, "w", "#000000", (5,)), LandClass(9, "l", "#ffffff", (1, 2, 300))), (0,)
    )
    expected = [{5: 0, 1: 1, 2: 1, 300: 1}.get(code, 255) for code in codes]
    encoded = legend.encode(np.array(codes).astype(dtype))
    assert encoded.dtype == np.uint8
    assert encoded.tolist() == expected


def test_no_number_in_a_float_raster_means_no_label():
    raster = np.array([[1, np.nan], [11, 255]], np.float32)
    assert load_legend("jaxa-hrlulc-9").encode(raster).tolist() == [[0, 255], [4, 255]]


def test_unknown_codes_are_listed_with_their_exact_counts():
    raster = np.ones((3000, 3000), np.uint8)  # more than is encoded at a time
    raster[0, :7] = 99
    raster[-1, -3:] = 99
    raster[1500, 2] = 77
    with pytest.raises(SarcoverError, match=r"got 77 \(1 pixels\), 99 \(10 pixels\)"):
        load_legend("jaxa-hrlulc-9").encode(raster)


def test_negative_codes_are_not_taken_for_others():
    with pytest.raises(SarcoverError, match=r"-3 \(1 pixels\)"):
        load_legend("jaxa-hrlulc-9").encode(np.array([1, -3], np.int16))


def test_fractions_are_no_codes():
    with pytest.raises(SarcoverError, match=r"whole numbers; got 1\.5"):
        load_legend("esri").encode(np.array([1, 1.5]))


def test_a_map_with_a_strange_code_is_refused():
    with pytest.raises(SarcoverError, match=r"3 \(1 pixels\)"):
        load_legend("esri").index_of_codes(np.array([1, 3], np.uint8))


def test_a_users_legend(tmp_path):
    legend = load_legend(written(tmp_path, USER))
    assert (legend.name, legend.names, legend.codes) == ("mine", ["Water", "Land"], [5, 9])
    assert legend.encode(np.array([300, 5, 0], np.uint16)).tolist() == [1, 0, 255]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("code: 9", "code: 5", "code 5 stands twice"),
        ("name: Land", "name: water", "name water stands twice"),
        ("#00ff00", "green", 'colour of Land; expected "#rrggbb"; got green'),
        ("sources: [1, 2, 300]", "sources: [1, 5]", "source code 5 stands twice"),
        ("sources: [1, 2, 300]", "sources: [0]", "source code 0 stands twice"),
        ("sources: [1, 2, 300]", "sources: [1, 255]", "source code 255 stands twice"),
        ("sources: [1, 2, 300]", "sources: [1.5]", "whole numbers"),
        ("sources: [1, 2, 300]", "source: [1]", "unknown key source"),
        ("code: 9, ", "", "no code"),
        ("code: 9", "code: 255", "0 to 254"),
        ("ignore:", "ignored:", "unknown key ignored"),
        ("classes:", "classes: {}\nx:", "unknown key x"),
        ("name: mine", "name: [", "not valid YAML"),
    ],
)
def test_a_broken_legend_says_what_is_wrong(tmp_path, old, new, message):
    assert old in USER
    with pytest.raises(SarcoverError) as caught:
        load_legend(written(tmp_path, USER.replace(old, new)))
    assert message in str(caught.value)


def test_more_classes_than_a_map_can_hold():
    rows = tuple(LandClass(code % 255, f"c{code}", "#000000", (code + 1000,)) for code in range(256))
    with pytest.raises(SarcoverError, match="1 to 255 classes; got 256"):
        Legend("big", "", "", rows)


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(SarcoverError, match="jaxa-hrlulc-9"):
        load_legend("jaxa-hrlulc")


def test_a_raster_of_nothing_but_an_unknown_code_is_refused():
    legend = load_legend("jaxa-hrlulc-9")
    known = {*legend.ignore, 255, *(code for land in legend.classes for code in land.sources)}
    strange = next(code for code in range(255, -1, -1) if code not in known)
    with pytest.raises(SarcoverError, match=f"{strange} \\(12 pixels\\)"):
        legend.encode(np.full((3, 4), strange, np.uint8))
