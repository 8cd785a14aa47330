"""Numbers, classes and quantities in English sentences."""

import pytest
from explain_helpers import area, document
from hypothesis import given
from hypothesis import strategies as st

from sarcover.explain.landcover import concept_of, concepts
from sarcover.explain.language import analyse, plain, sentences
from sarcover.explain.numbers import find_numbers
from sarcover.explain.quantities import QUANTITIES
from sarcover.explain.topics import find_topics
from sarcover.explain.values import agrees
from sarcover.legend import legend_names, load_legend

NUMBERS = {
    "42.3 %": [(0.423, 0.0005, "share")],
    "42 percent": [(0.42, 0.005, "share")],
    "1,234 ha": [(1234, 0.5, "ha")],
    "1234.5 hectares": [(1234.5, 0.05, "ha")],
    "12,000 ha": [(12000, 60, "ha")],
    "5.57 km2": [(557, 0.5, "ha")],
    "3 acres": [(1.214, 0.2023, "ha")],
    "1.2 million pixels": [(1.2e6, 5e4, "px")],
    "-24.1 dB": [(-24.1, 0.05, "dB")],
    "minus 24.1 dB": [(-24.1, 0.05, "dB")],
    "from -26 to -22 dB": [(-26, 0.5, "dB"), (-22, 0.5, "dB")],
    "-26--22 dB": [(-26, 0.5, "dB"), (-22, 0.5, "dB")],
    "20-30 %": [(0.2, 0.005, "share"), (0.3, 0.005, "share")],
    "between 3 and 4 km2": [(300, 50, "ha"), (400, 50, "ha")],
    "0.62": [(0.62, 0.005, "")],
    ".5": [(0.5, 0.05, "")],
    "42,3 %": [(0.423, 0.0005, "share")],
    "forty-two percent": [(0.42, 0.005, "share")],
    "one hundred and twenty hectares": [(120, 0.5, "ha")],
    "two thousand pixels": [(2000, 0.5, "px")],
    "twelve point five percent": [(0.125, 0.0005, "share")],
    "a third": [(1 / 3, 0.025, "share")],
    "two thirds": [(2 / 3, 0.025, "share")],
    "three quarters": [(0.75, 0.025, "share")],
    "one in five": [(0.2, 0.025, "share")],
    "half": [(0.5, 0.025, "share")],
    "twice": [(2, 0.2, "times")],
    "three times": [(3, 0.5, "times")],
    "half as large": [(0.5, 0.05, "times")],
    "about 60 %": [(0.6, 0.03, "share")],
    "roughly a third": [(1 / 3, 0.05, "share")],
    "3 percentage points": [(0.03, 0.005, "points")],
    "7 classes": [(7, 0.5, "classes")],
    "10 m": [(10, 0.5, "m")],
    "2 standard deviations": [(2, 0.5, "std")],
    "C12, the 10th percentile, HH and one of the classes": [],
    "double bounce at two or three places": [],
}


@pytest.mark.parametrize(("text", "expected"), NUMBERS.items(), ids=list(NUMBERS))
def test_numbers_in_digits_and_words(text: str, expected: list[tuple[float, float, str]]) -> None:
    found = find_numbers(plain(text))
    assert [number.unit for number in found] == [unit for *_, unit in expected]
    for number, (value, tolerance, _) in zip(found, expected, strict=True):
        assert number.value == pytest.approx(value, rel=1e-3)
        assert number.tolerance == pytest.approx(tolerance, rel=1e-3)


@pytest.mark.parametrize(
    ("text", "relation"),
    [
        ("more than 5 %", ">"),
        ("over 5 %", ">"),
        ("at least 5 %", ">"),
        ("exceeds 5 %", ">"),
        ("above 5 %", ">"),
        ("less than 5 %", "<"),
        ("below 5 %", "<"),
        ("at most 5 %", "<"),
        ("up to 5 %", "<"),
        ("no more than 5 %", "<"),
        ("no less than 5 %", ">"),
        ("more than half", ">"),
        ("fewer than about 5 %", "<"),
        ("a median of 5 %", "="),
    ],
)
def test_what_is_said_about_a_number(text: str, relation: str) -> None:
    (number,) = find_numbers(text)
    assert number.relation == relation


@given(st.decimals(-999, 999, places=1), st.floats(-0.2, 0.2))
def test_a_number_agrees_with_what_rounds_to_it(written: object, off: float) -> None:
    value = float(str(written))
    (number,) = find_numbers(f"{value:.1f} dB")
    assert agrees(number, value + off) == (abs(off) <= 0.05) or abs(abs(off) - 0.05) < 0.003


@given(st.text(max_size=80))
def test_no_text_is_too_strange(text: str) -> None:
    for sentence in sentences(text, area()):
        for number in sentence.numbers:
            assert sentence.topic(number.start, number.end) is not None
            sentence.subject(number.start)


def ids(text: str, made: dict | None = None) -> list[tuple[str, ...]]:  # type: ignore[type-arg]
    return [mention.ids for mention in analyse(text, area(made)).mentions]


def test_classes_are_known_by_id_name_and_kind() -> None:
    assert ids("C1 beside Built-up, forests and the lake") == [("C1",), ("C2",), ("C4",), ("C1",)]
    assert ids("C17 and snow") == [(), ()]
    assert ids("standing water, tree trunks, a field visit and soil moisture") == []


def test_a_kind_that_several_classes_share_means_any_of_them() -> None:
    made = document()
    for key, name in (("C1", "Deciduous forest"), ("C2", "Evergreen forest")):
        made["legend"]["classes"][key] |= {"name": name, "kind": "forest"}
    made["legend"]["classes"]["C4"] |= {"name": "Moor", "kind": None}
    assert ids("Evergreen forest and forest and Moor", made) == [("C2",), ("C1", "C2"), ("C4",)]


@pytest.mark.parametrize("name", ["", "1", "§", "C2", "share", "40 %", "a", "more than half"])
def test_strange_names_of_classes_break_nothing(name: str) -> None:
    made = document()
    made["legend"]["classes"]["C1"]["name"] = name
    assert ("C1",) in ids("C1 covers 40 % of the map, more than half of it not.", made)


def test_a_number_belongs_to_the_class_before_it_in_its_clause() -> None:
    sentence = analyse("C1 covers 40 %, while 30 % is C2, and it is larger than C3 by 20 %.", area())
    assert [sentence.subject(number.start) for number in sentence.numbers] == [("C1",), ("C2",), ("C1",)]


def test_a_list_of_classes_is_one_subject() -> None:
    sentence = analyse("C4 has trees, while C1 (water), C2 and C3 are bright.", area())
    assert set(sentence.subjects(len(sentence.text) - 3)) == {"C1", "C2", "C3"}
    assert sentence.subjects(5) == ("C4",)


def test_what_a_claim_was_about_carries_over() -> None:
    first, second = sentences("C3 is varied. It covers 20 %.", area())
    assert second.subject(second.numbers[0].start) == ("C3",)
    assert first.before == ()


def topics(text: str) -> set[str]:
    sentence = analyse(text, area())
    (number,) = [number for number in sentence.numbers if number.value in (0.5, 5.0)]
    return set(sentence.topic(number.start, number.end))


def test_what_a_number_is_about() -> None:
    assert topics("C1 has a recall of 50 %") == {"recall"}
    assert topics("C1 has a precision of 20 % and 50 % recall") == {"recall"}
    assert "errors at borders" in topics("50 % of all errors lie at borders")
    assert "border share" in topics("C1 borders C2 along 50 % of its border")
    assert topics("the training median of C1 is 5 dB") == {"training median"}
    assert topics("without the optical image 50 % of all pixels change") == {"without optical"}
    assert topics("the mean IoU is 50 %") == {"mean iou"}
    assert topics("C1: 50 %") == set()


def test_every_topic_is_a_quantity_and_can_be_said() -> None:
    known = {quantity.topic for quantity in QUANTITIES}
    from sarcover.explain.topics import _TABLE

    named = {topic for group, _ in _TABLE for topic in group.split(", ")}
    assert named <= known
    for mention in find_topics("overall accuracy"):
        assert mention.topics == {"overall accuracy"}


def test_every_name_of_the_built_in_legends_is_of_a_kind() -> None:
    names = {name for legend in legend_names() for name in load_legend(legend).names}
    without = {name for name in names if concept_of(name) is None}
    assert without == set()
    assert concept_of("Water").name == "water"  # type: ignore[union-attr]
    assert concept_of("Non-water").name == "other"  # type: ignore[union-attr]
    assert concept_of("Herbaceous wetland").name == "wetland"  # type: ignore[union-attr]
    assert concept_of("Bamboo forest").name == "forest"  # type: ignore[union-attr]
    assert concept_of("Paddy field").name == "paddy"  # type: ignore[union-attr]
    assert concept_of("Zebra crossing of a watermill") is None


def test_kinds_of_land_cover_are_complete() -> None:
    names = [kind.name for kind in concepts()]
    assert len(set(names)) == len(names)
    for kind in concepts():
        assert kind.mechanisms <= {"specular", "surface", "volume", "double bounce"}
        assert kind.level in ("dark", "bright", "varied")
        assert not kind.physics.endswith(".")
