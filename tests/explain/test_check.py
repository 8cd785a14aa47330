"""A claim is supported exactly if the evidence bears out every number, class and comparison in it."""

import pytest
from explain_helpers import area, document
from hypothesis import given
from hypothesis import strategies as st

from sarcover.explain.check import check
from sarcover.explain.claims import Claim
from sarcover.explain.landcover import Concept, concepts

TRUE = [
    "C1 covers 40 % of the mapped pixels.",
    "Water covers 40.0 percent of the area (493.6 ha).",
    "C1 covers about 490 ha.",
    "C1 covers 4.94 km² of the map.",
    "The share of C1 is 0.4.",
    "C1 covers two fifths of the map, C2 nearly a third.",
    "C1 covers forty percent of the map.",
    "C1 and C2 cover 40 % and 30 %, respectively.",
    "C1 (40 %), C2 (30 %) and C3 (20 %) cover the map.",
    "40 % of the map is C1, 30 % is C2.",
    "40 % of the map is C1 and 30 % is C2.",
    "Class C1 (water) is the most common class; it covers 40 %.",
    "C1 covers more than a third of the area.",
    "C1 covers less than half of the area.",
    "At least 39 % of the area is C1.",
    "C3 and C4 each cover at most 20 %.",
    "No class covers more than half of the map.",
    "C2 is the second most common class.",
    "C4 is the smallest class.",
    "C1 is larger than C2.",
    "C4 is smaller than C1 and C2.",
    "C1 is twice as large as C3.",
    "C1 has four times the area of C4.",
    "Water dominates the area.",
    "The area is dominated by C1.",
    "C1 and C2 are more widespread than C3.",
    "In HH, C1 has a median backscatter of −22.0 dB.",
    "The median of C1 is -30.2 dB in HV and -22.0 dB in HH.",
    "C1 is dark in HH (median −22.0 dB, 10th to 90th percentiles −24.5 to −18.9 dB).",
    "C1 lies between -24.5 and -18.9 dB in HH (10th and 90th percentiles).",
    "C1 is the darkest class, and C2 is the brightest.",
    "C1 is darker than C2.",
    "C1 is 17 dB darker than C2 in HH.",
    "C2 is brighter than any other class.",
    "The mean confidence of the map is 84.1 %.",
    "The mean confidence is 84.1 %, and 8.3 % of the pixels have a low confidence.",
    "C4 has the lowest mean confidence, 55 %.",
    "C4 is less certain than C1.",
    "C1 has a high confidence.",
    "C4 has a low confidence of 55 %.",
    "The overall accuracy is 87.4 % and the mean IoU 66.3 %.",
    "The overall accuracy is about 87 %.",
    "The kappa is 0.79.",
    "C4 has an IoU of 35 %, a precision of 41 % and a recall of 38 %.",
    "C4 has the lowest IoU, 35 %.",
    "The recall of C4 is lower than that of C1.",
    "The most frequent confusion is C3 mapped as C4, 33.2 % of all errors.",
    "68 % of all errors lie at borders of the reference (within 2 pixels of one).",
    "C1 borders mainly on C2: 62 % of its border with other classes.",
    "C1 borders C3 along 27 % of its border.",
    "In HH, the median of C1 lies 1.3 dB above that of the training pixels.",
    "73 % of the pixels of C1 lie within training's 10th to 90th percentiles in HH.",
    "C1 is brighter than in training in HH.",
    "The training median of C1 is -23.3 dB in HH.",
    "Without the optical image 12.3 % of all mapped pixels would get another class.",
    "The fusion gives a weight of 37 % to the optical image.",
    "Four classes are mapped.",
    "There is no Wetland.",
    "Wetland does not occur.",
    "4.8 % of the pixels have no class.",
    "C1 lies in 12 objects with a mean size of 3.3 ha.",
    "C1 covers 40 % of the map. It has a mean confidence of 95 %.",
    "C1 and C2 cover a large part of the map.",
    "C1 shares 62 % of its border with C2.",
    "C1 has a median of -22.0 dB in HH, and its share of 40 % is larger than that of C2.",
    "C3 mapped as C4 accounts for 33.2 % of the errors, 77 % of them at borders.",
    "C1 is dark in HH (median -22.0 dB), because calm water does not return the pulse.",
    "C1 is not bright in HH.",
    "Forests cover 10 % of the map.",
    "C1 and C2 together cover 70 %.",
    "C1 and C2 cover more than half of the map.",
    "C1 and C2 cover 40 % and 30 % of the map.",
    "C1 and C2 are the most common classes. They cover 70 % of the map.",
    "C1 and C2 both have a high confidence.",
    "Each class has a mean confidence of at least 55 %.",
    "C2 has a high HH backscatter of -5.0 dB.",
    "The backscatter of C1 is low.",
    "C1 is highly reliable.",
    "The overall accuracy of 87.4 % is high.",
    "C4 has a high uncertainty.",
    "8.3 % of the pixels have a low confidence.",
    "24 % of the pixels of C4 have a confidence below 50 %.",
    "C4 has the largest uncertainty.",
    "C1 shares its longest border with C2.",
    "C1 is water and covers 40 % of the map.",
    "Water (C1) covers 40 % of the map.",
    "C2, which borders C1, covers 30 %.",
    "C2 borders C1, which covers 40 %.",
    "C1 covers 40 %, followed by C2 with 30 % and C3 with 20 %.",
    "C2 is larger than C3 but smaller than C1.",
    "The smallest class is C4 with 10 %.",
    "C1's share is 40 %.",
    "Most of the map is C1 and C2.",
    "C1 ranks first with 40 %.",
    "62 % of C1's border is with C2.",
    "When run again, the model gives the same class for 99.1 % of the pixels.",
    "C2 is bright in HH, because walls send the pulse back.",
]  # fmt: skip

LIES = {
    "wrong number": [
        "C1 covers 42 % of the mapped pixels.",
        "C1 covers 41 % of the mapped pixels.",
        "C1 covers 493.6 km².",
        "The median of C1 is 22.0 dB in HH.",
        "The median of C1 is -22.6 dB in HH.",
        "The overall accuracy is 95 %.",
        "C1 lies in 13 objects.",
        "Five classes are mapped.",
        "C1 is 12 dB darker than C2 in HH.",
        "In HH, the median of C1 lies 3.1 dB above that of the training pixels.",
        "The 75th percentile of C1 is -18.9 dB in HH.",
    ],
    "in words": [
        "C1 covers half of the map.",
        "C1 covers sixty percent of the map.",
        "C1 covers two thirds of the map.",
        "Nine in ten errors lie at borders.",
        "Seventeen villages lie in C2.",
    ],
    "percentage for fraction": [
        "C1 covers 0.4 % of the map.",
        "The share of C1 is 40.",
        "The kappa is 79.",
        "C1 covers 40 of the map.",
    ],
    "right number, wrong class": [
        "C2 covers 40 % of the mapped pixels.",
        "C1 (30 %), C2 (40 %) and C3 (20 %) cover the map.",
        "30 % of the map is C1, 40 % is C2.",
        "C1 and C2 cover 30 % and 40 %, respectively.",
        "The median of C2 is -22.0 dB in HH.",
        "C3 has a mean confidence of 95 %.",
        "C1 has an IoU of 35 %.",
        "C2 borders C1 along 27 % of its border.",
        "C4 is mapped as C3 in 33.2 % of all errors.",
    ],
    "right number, wrong quantity": [
        "C4 has an IoU of 38 %, a precision of 35 % and a recall of 41 %.",
        "The overall accuracy is 66.3 %.",
        "C1 has a mean confidence of 40 %.",
        "The median of C1 is -30.2 dB in HH.",
        "The training median of C1 is -22.0 dB in HH.",
        "The mean confidence of the map is 87.4 %.",
        "Without the optical image 45.6 % of all mapped pixels would get another class.",
    ],
    "swapped or invented class": [
        "Snow covers 40 % of the area.",
        "Mangroves are present.",
        "C9 covers 10 %.",
        "Wetland covers 10 % of the map.",
        "There is no water.",
        "Lavender covers 40 % of the map.",
        "Glaciers surround it.",
    ],
    "reversed comparison": [
        "C2 is larger than C1.",
        "C4 is the most common class.",
        "C2 is the third largest class.",
        "C1 is brighter than C2.",
        "C1 is the brightest class.",
        "C2 is dark in HH.",
        "C1 is bright.",
        "C1 covers more than half of the area.",
        "C1 covers less than 30 % of the area.",
        "Most of the area is C1.",
        "C2 dominates the area.",
        "C3 is twice as large as C1.",
        "C4 is more certain than C1.",
        "C4 has a high confidence.",
        "C1 has the lowest IoU.",
        "The recall of C4 is higher than that of C1.",
        "The most frequent confusion is C4 mapped as C3.",
        "C1 borders mainly on C3.",
        "C1 is darker than in training in HH.",
        "C1 is similar to C2 in HH.",
        "C3 and C4 each cover at most 15 %.",
        "C1 makes up only a small part of the map.",
        "C4 covers a large part of the map.",
        "C1, C3 and C4 together make up only a small part of the map.",
        "C4 and C1 are larger than C2.",
        "C2 and C1 are bright in HH.",
        "C1 covers nearly half of the map, and C2 more than a third.",
        "C4 has an IoU of 35 %, so more than half of the mapped pixels are right.",
    ],
    "denied": [
        "C1 is not the most common class.",
        "C1 is not larger than C2.",
        "C2 isn't larger than C3.",
        "C1 does not cover 40 % of the map.",
        "C1 never covered 40 % of the map.",
        "It is wrong that C1 covers 40 %.",
        "It is not true that C1 covers 40 %.",
        "C1 covers 40 % of the map, which is not true.",
        "It is false to say that C1 is larger than C2.",
        "The overall accuracy is not 87.4 %.",
        "C2 does not cover more than 20 %.",
        "C1 is no longer the most common class.",
        "C1 fails to cover 40 % of the map.",
        "C1 hardly covers 40 % of the map.",
        "C1 covers 40 % of the map, and C2 does not cover 30 %.",
        "Neither C1 nor C2 covers 40 %.",
        "C1 does not dominate the area.",
        "C1 is not twice as large as C3.",
        "C4 does not have the lowest IoU.",
    ],
    "right number, of something else": [
        "84.1 % of the pixels are right.",
        "C4 is right in 55 % of cases.",
        "A field survey found 84.1 % of the pixels right.",
        "40 % of C1 burned down last summer.",
        "40 % of C1 is forest plantation owned by the state.",
        "95 % of C1 is polluted.",
        "C1 is 10 m deep.",
        "C1 grew by 40 %.",
        "C1 yields 490 ha of rice.",
    ],
    "time and place": [
        "C1 covers 40 % of the map and lies in the north.",
        "C4 lies in the upper left corner.",
        "C1 covers 40 % of the map, more than ten years ago.",
        "C2 has increased since last year and covers 30 %.",
        "C1 was destroyed and covers 40 %.",
    ],
    "not checkable": [
        "The map is excellent and can be relied upon.",
        "C1 is worse than ever.",
        "C1 covers 40 % at 12 GHz.",
        "C1 outweighs everything.",
        "See https://example.org for C1.",
        "C1 covers 40 %, see [here](evil).",
    ],
    "a verb that ends in over": [
        "Forests cover 1 % of the map.",
        "C1 and C2 cover 10 % and 5 % of the map.",
    ],
    "brightness in other words": [
        "C1 is bright and covers 40 %.",
        "C2 is dark with a median of -5.0 dB in HH.",
        "C2 has a low HH backscatter of -5.0 dB.",
        "C1 has a high median backscatter of -22.0 dB in HH.",
        "C2 is a dark surface.",
        "The backscatter of C1 is high.",
    ],
    "a list judged by one of it": [
        "C2 and C1 cover 40 %.",
        "C4 and C1 have a high confidence.",
        "C1 and C4 have the lowest confidence.",
        "C1 and C2 together cover 30 % of the map.",
        "C1 and C2 have a mean confidence of 88 %.",
        "C1 and C4 are mapped. They have a high confidence.",
        "C1 and C2 are mapped. Both have a mean confidence of 95 %.",
    ],
    "all classes judged by the map": [
        "All classes have a high confidence.",
        "Each class has a mean confidence of 84.1 %.",
    ],
    "levels in other words": [
        "The overall accuracy of 87.4 % is very low.",
        "C4 has a confidence of 55 %, which is high.",
        "C4 has an excellent IoU of 35 %.",
        "C1 has a high uncertainty.",
        "C4 is highly reliable.",
        "C1 has a high NDVI.",
    ],
    "the tail for the middle": [
        "C4 has a mean confidence of 25 %.",
        "The average confidence of the map is 52 %.",
        "C1 has a median backscatter of -24.5 dB in HH.",
        "95 % of the pixels of C1 have a high confidence.",
    ],
    "the largest of another quantity": [
        "C1 has the largest uncertainty.",
        "C4 has the smallest number of objects.",
        "C2 has the longest border with C3.",
    ],
    "a class called another": [
        "C1 is forest.",
        "C4 represents water.",
        "C1 is not water.",
        "Forest (C1) covers 40 % of the map.",
        "C2 (forest) is bright in HH with double bounce.",
    ],
    "a share of something else": [
        "33.2 % of C3 is mapped as C4.",
        "C1 has a kappa of 0.79.",
        "The mean IoU of C1 is 66.3 %.",
        "C1 has an overall accuracy of 87.4 %.",
        "The map agrees with the reference for 99.1 % of the pixels.",
        "C1 covers 40 % of the training data.",
        "C1 accounts for 40 % of the errors.",
        "C1 is often confused with C2.",
        "68 % of all errors lie in the interior.",
        "68 % of all errors are at borders of C1.",
        "All pixels of C1 have a confidence of more than 65 %.",
        "Without the optical image 12.3 % of the pixels would keep their class.",
    ],
    "relative clauses": [
        "C2, which borders C1, covers 40 %.",
        "C2 borders C1, which covers 30 %.",
        "C1 covers 40 %, followed by C3 with 20 % and C2 with 30 %.",
        "C1 covers 40 %, followed by C4 with 10 %.",
    ],
    "extent and rank": [
        "C4 covers a significant part of the map.",
        "The map is primarily C2.",
        "C4 covers almost all of the map.",
        "C2 ranks first.",
        "C1 has the same share as C2.",
        "C1 and C4 are equally common.",
        "C4 covers an eighth of the map.",
    ],
    "wrong physics": [
        "C1 is dark in HH because tree crowns scatter the pulse many times.",
        "C2 has a high backscatter of -5.0 dB in HH due to its smooth surface.",
        "C1 is dark because of double bounce.",
        "C2 is bright, for it mirrors the pulse away from the sensor.",
        "C4 is bright because of specular reflection.",
    ],
}  # fmt: skip


@pytest.mark.parametrize("text", TRUE)
def test_what_the_evidence_bears_out_is_supported(text: str) -> None:
    verdict = check(Claim("what", text), area())
    assert verdict.supported, verdict.problems
    assert verdict.items


@pytest.mark.parametrize(("lie", "text"), [(lie, text) for lie, texts in LIES.items() for text in texts])
def test_lies_are_not_supported(lie: str, text: str) -> None:
    assert not check(Claim("what", text), area()).supported


@pytest.mark.parametrize("text", [text for texts in LIES.values() for text in texts if "every" not in text])
def test_true_citations_make_no_lie_true(text: str) -> None:
    everything = tuple(area().facts)
    assert not check(Claim("what", text, everything), area()).supported


def test_physics_without_facts_is_general() -> None:
    verdict = check(Claim("why", "Smooth surfaces mirror the pulse away from the sensor."), area())
    assert verdict.supported
    assert verdict.items == 0


@pytest.mark.parametrize("kind", concepts(), ids=lambda kind: kind.name)
def test_the_physics_of_every_kind_of_land_cover_is_its_own(kind: Concept) -> None:
    changed = document()
    changed["legend"]["classes"]["C1"] |= {"name": "Thing", "kind": kind.name}
    for because in (f", because {kind.physics}", f", which is unusual; {kind.unusual}"):
        verdict = check(Claim("why", f"In HH the median of C1 is -22.0 dB{because}."), area(changed))
        assert verdict.supported, verdict.problems


def test_a_claim_about_trust_needs_something_to_check() -> None:
    assert not check(Claim("trust", "This can be trusted."), area()).supported
    assert check(Claim("check", "Look first where the map is least certain."), area()).supported


def test_the_evidence_of_a_claim_is_what_bears_it_out() -> None:
    verdict = check(
        Claim("what", "C1 covers 40 %.", ("C1.share", "nothing.of.this", "classes.C2.share")), area()
    )
    assert verdict.evidence == ("classes.C1.share", "classes.C2.share")
    assert check(Claim("what", "C2 covers 30 %."), area()).evidence == ("classes.C2.share",)


def test_ids_of_the_legend_are_known_by_name_and_by_kind() -> None:
    changed = document()
    changed["legend"]["classes"]["C1"] |= {"name": "Inland lakes", "kind": "water"}
    for text in (
        "Inland lakes cover 40 %.",
        "inland lakes cover 40 %.",
        "Water covers 40 %.",
        "C1 covers 40 %.",
    ):
        assert check(Claim("what", text), area(changed)).supported, text


def test_a_class_in_the_reference_alone_may_be_spoken_of_as_such() -> None:
    changed = document()
    accuracy = {"iou": 0.0, "recall": 0.0, "f1": 0.0, "reference_pixels": 120}
    changed["areas"]["map"]["classes"]["C5"] = {"pixels": 0, "share": 0.0, "accuracy": accuracy}
    assert check(
        Claim("trust", "C5 is in the reference with 120 pixels, and its recall is 0 %."), area(changed)
    ).supported
    assert not check(Claim("what", "C5 is mapped."), area(changed)).supported


def test_uncalibrated_numbers_have_no_unit() -> None:
    changed = document()
    changed["unit"] = "number"
    assert check(Claim("why", "The median of C1 is -22.0 in HH."), area(changed)).supported
    assert not check(Claim("why", "The median of C1 is -22.0 dB in HH."), area(changed)).supported


@given(st.floats(0.011, 0.999), st.integers(0, 2), st.floats(-0.2, 0.2))
def test_a_share_is_supported_as_far_as_its_digits_go(share: float, digits: int, off: float) -> None:
    changed = document()
    changed["areas"]["map"]["classes"]["C1"]["share"] = share
    written = round(100 * share + 100 * off, digits)
    found = check(Claim("what", f"C1 covers {written:.{digits}f} % of the map."), area(changed))
    apart = abs(written - 100 * share)
    if apart <= 0.5 * 10**-digits * (1 - 1e-6):
        assert found.supported
    if apart > 0.5 * 10**-digits * 1.001 + 0.001:
        assert not found.supported
