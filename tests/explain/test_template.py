"""The template says nothing that the evidence does not bear out, and no change of it goes unnoticed."""

import re
from typing import Any

import pytest
from explain_helpers import area, document, documents
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sarcover.explain.check import check
from sarcover.explain.claims import KINDS, Claim, with_names
from sarcover.explain.numbers import find_numbers
from sarcover.explain.template import template_claims

SLOW = settings(deadline=None, max_examples=20, suppress_health_check=list(HealthCheck))


@SLOW
@given(documents())
def test_every_sentence_is_borne_out_by_any_evidence(made: dict[str, Any]) -> None:
    evidence = area(made)
    claims = template_claims(evidence)
    assert {claim.kind for claim in claims} == set(KINDS)
    for claim in claims:
        verdict = check(claim, evidence)
        assert verdict.supported, (claim.text, verdict.problems)
        assert verdict.items, claim.text
        assert set(claim.evidence) <= set(evidence.facts), claim
        assert claim.evidence, claim.text


def test_the_words_for_known_evidence() -> None:
    texts = [with_names(claim.text, area()) for claim in template_claims(area())]
    for text in (
        "Water is the most common class: it covers 40.0 % of the mapped pixels (494 ha).",
        "Built-up covers 30.0 % (370 ha).",
        "Water borders mainly on Built-up: 62.0 % of its border with other classes.",
        "Water is dark in HH (median −22.0 dB, 10th to 90th percentiles −24.5 to −18.9 dB), because its "
        "surface is smooth against the wavelength and mirrors the pulse away from the sensor (specular "
        "reflection).",
        "Built-up is bright in HH (median −5.0 dB, 10th to 90th percentiles −7.5 to −1.9 dB), because walls "
        "and level ground form corners that send the pulse straight back (double bounce), and tall walls add "
        "layover.",
        "Without the optical image 12.3 % of all mapped pixels would get another class; without the radar "
        "45.6 %.",
        "Forest has the lowest mean confidence, 55.0 %.",
        "The most frequent confusion is Cropland mapped as Forest, 33.2 % of all errors; 77.0 % of these "
        "pixels lie at a border.",
        "In HH, the median of Water lies 1.3 dB above that of the training pixels, and 73.0 % of its pixels "
        "lie within training's 10th to 90th percentiles.",
        "Visit places that are mapped as Forest next to Cropland, along their borders: the map confuses the "
        "two.",
    ):
        assert text in texts


def test_the_same_evidence_gives_the_same_words() -> None:
    assert template_claims(area(document())) == template_claims(area(document()))


def test_a_bright_lake_is_called_unusual() -> None:
    made = document()
    band = made["areas"]["map"]["classes"]["C1"]["backscatter"]["HH"]
    band |= {"median": -3.0, "p10": -5.0, "p90": 0.0}
    (text,) = [c.text for c in template_claims(area(made)) if c.text.startswith("C1 is bright")]
    assert "unusual for this kind of surface; wind may have roughened the surface" in text


def test_an_area_without_a_class_is_told_as_such() -> None:
    made = document()
    facts = made["areas"]["map"]
    facts["classes"] = {}
    facts["pixels"] = {"total": 50, "mapped": 0, "mapped_share": 0.0, "unmapped_share": 1.0}
    (claim,) = template_claims(area(made))
    assert claim.text == "This area has no data: 100 % of its pixels are without a class."
    assert check(claim, area(made)).supported


def test_uncalibrated_scenes_get_no_physics() -> None:
    made = document()
    made["unit"] = "number"
    texts = [claim.text for claim in template_claims(area(made)) if claim.kind == "why"]
    assert any("median −22.0," in text for text in texts)
    assert not any(re.search(r"\bdB\b|scatter|bounce|mirror", text) for text in texts)


def claims_with_numbers() -> list[tuple[Claim, int]]:
    claims = template_claims(area())
    return [(claim, n) for claim in claims for n in range(len(find_numbers(claim.text.replace("−", "-"))))]


@pytest.mark.parametrize(("claim", "n"), claims_with_numbers(), ids=lambda value: str(value)[:60])
def test_no_changed_number_of_the_template_goes_unnoticed(claim: Claim, n: int) -> None:
    text = claim.text.replace("−", "-")
    number = find_numbers(text)[n]
    start, end = number.digits
    written = text[start:end]
    value = float(written.replace(",", ""))
    changed = f"{value / 3:.1f}" if number.relation != "=" else f"{value * 1.37 + 3:.1f}"
    verdict = check(Claim(claim.kind, text[:start] + changed + text[end:]), area())
    assert not verdict.supported, text[:start] + changed + text[end:]


SWAPS = {"C1": "C4", "C2": "C3", "C3": "C2", "C4": "C1"}


@pytest.mark.parametrize(
    "claim", [c for c in template_claims(area()) if c.kind != "check"], ids=lambda c: c.text[:60]
)
def test_no_swapped_classes_of_the_template_go_unnoticed(claim: Claim) -> None:
    text = re.sub(r"C[1-4]", lambda match: SWAPS[match[0]], claim.text)
    if text != claim.text:
        assert not check(Claim(claim.kind, text), area()).supported, text


@SLOW
@given(documents(), st.data())
def test_no_share_that_is_far_off_goes_unnoticed(made: dict[str, Any], data: st.DataObject) -> None:
    evidence = area(made)
    key = data.draw(st.sampled_from(evidence.present))
    share = 100 * (evidence.get(f"classes.{key}.share") or 0)
    told = data.draw(st.floats(0, 100).map(lambda value: round(value, 1)))
    if abs(told - share) > 0.06:
        assert not check(
            Claim("what", f"{key} covers {told:.1f} % of the mapped pixels."), evidence
        ).supported
