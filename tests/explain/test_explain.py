"""The verb: what it writes, what it refuses, and that the command line reaches all of it."""

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from explain_helpers import CODES, backscatter, landscape, write_map, write_raster, write_scene

from sarcover import cli
from sarcover.config import ExplainSettings
from sarcover.errors import SarcoverError
from sarcover.explain import explain, make_writer
from sarcover.files import read_json

INDEX = landscape()


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    reference = landscape(seed=0)
    reference[20:32, 10:50] = 2
    codes = np.where(reference == 255, 255, np.array([*CODES, *[255] * 251])[reference]).astype(np.uint8)
    return {
        "map": str(write_map(tmp_path / "map.tif", INDEX)),
        "scene": str(write_scene(tmp_path / "scene.tif", backscatter(INDEX), bands=("HH", "HV"))),
        "reference": str(write_raster(tmp_path / "reference.tif", codes, nodata=255)),
    }


def test_three_files_beside_the_map(files: dict[str, str], tmp_path: Path) -> None:
    result = explain(
        ExplainSettings(map=files["map"], scenes=(files["scene"],), reference=(files["reference"],))
    )
    assert result["out"] == str(tmp_path / "explanation.json")
    made = read_json(tmp_path / "explanation.json")
    evidence = tmp_path / "explanation.evidence.json"
    assert (made["format"], made["version"]) == ("sarcover-explanation", 1)
    assert made["evidence"] == {
        "file": evidence.name,
        "sha256": hashlib.sha256(evidence.read_bytes()).hexdigest(),
    }
    assert made["narrator"] == {"name": "template"}
    facts = read_json(evidence)["areas"]["map"]
    claims = made["areas"]["map"]["claims"]
    assert {claim["kind"] for claim in claims} == {"what", "why", "trust", "check"}
    for claim in claims:
        assert claim["status"] == "supported"
        for path in claim["evidence"]:
            value: Any = facts
            for key in path.split("."):
                value = value[key]
            assert isinstance(value, int | float)
    assert made["grounding"]["share_supported"] == result["share_supported"] == 1.0
    assert result["claims"] == len(claims)
    text = (tmp_path / "explanation.md").read_text()
    for title in (
        "# What map.tif shows",
        "## What is here",
        "## Why the map says so",
        "## How far to trust it",
        "## What to check",
    ):
        assert title in text
    assert not re.search(r"\bC[1-5]\b", text)
    assert not list(tmp_path.glob(".*part*"))


def test_the_same_inputs_give_the_same_words(files: dict[str, str], tmp_path: Path) -> None:
    settings = {"map": files["map"], "scenes": (files["scene"],)}
    explain(ExplainSettings(out=str(tmp_path / "a.json"), **settings))
    explain(ExplainSettings(out=str(tmp_path / "b.json"), **settings))
    assert (tmp_path / "a.md").read_text() == (tmp_path / "b.md").read_text()
    assert (tmp_path / "a.evidence.json").read_bytes() == (tmp_path / "b.evidence.json").read_bytes()


def test_tiles_are_explained_one_by_one(files: dict[str, str], tmp_path: Path) -> None:
    result = explain(ExplainSettings(map=files["map"], tiles=40))
    assert result["areas"] == 4
    made = read_json(tmp_path / "explanation.json")
    assert list(made["areas"]) == ["tile-0-0", "tile-0-1", "tile-1-0", "tile-1-1"]
    text = (tmp_path / "explanation.md").read_text()
    assert text.count("### What is here") == 4
    assert "## tile-1-1" in text


def test_evidence_is_narrated_anew_without_the_map(files: dict[str, str], tmp_path: Path) -> None:
    explain(ExplainSettings(map=files["map"], scenes=(files["scene"],)))
    before = (tmp_path / "explanation.md").read_text()
    for path in ("map", "scene"):
        Path(files[path]).unlink()
    evidence = tmp_path / "explanation.evidence.json"
    content = evidence.read_bytes()
    explain(ExplainSettings(evidence=str(evidence), out=str(tmp_path / "again.json")))
    assert (tmp_path / "again.md").read_text() == before
    assert evidence.read_bytes() == content
    assert not (tmp_path / "again.evidence.json").exists()
    assert read_json(tmp_path / "again.json")["evidence"]["file"] == evidence.name


def test_nothing_is_overwritten_unasked(files: dict[str, str], tmp_path: Path) -> None:
    settings = {"map": files["map"]}
    explain(ExplainSettings(**settings))
    with pytest.raises(SarcoverError, match="exists already"):
        explain(ExplainSettings(**settings))
    explain(ExplainSettings(**settings, overwrite=True))
    (tmp_path / "explanation.json").unlink()
    with pytest.raises(SarcoverError, match=r"explanation.md exists already"):
        explain(ExplainSettings(**settings))


def test_an_input_is_never_an_output(files: dict[str, str], tmp_path: Path) -> None:
    drawn = tmp_path / "explanation.json"
    drawn.write_text("{}")
    with pytest.raises(SarcoverError, match="is an input of the explanation"):
        explain(ExplainSettings(map=files["map"], area=str(drawn), overwrite=True))
    assert drawn.read_text() == "{}"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({}, "--map MAP.tif, or --evidence"),
        ({"map": "a.tif", "evidence": "b.json"}, "--map MAP.tif, or --evidence"),
        ({"map": "a.tif", "out": "a.txt"}, "ends in .json"),
        ({"map": "a.tif", "narrator": "openai"}, "--narrator-model"),
        ({"map": "no.tif"}, "no.tif does not exist"),
        ({"evidence": "no.json"}, "no.json does not exist"),
    ],
)
def test_what_cannot_be_explained_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SarcoverError, match=message):
        explain(ExplainSettings(**changes))
    assert list(tmp_path.iterdir()) == []


def test_a_failing_narrator_leaves_the_evidence_alone(files: dict[str, str], tmp_path: Path) -> None:
    settings = ExplainSettings(
        map=files["map"], narrator="openai", narrator_model="m", url="http://127.0.0.1:9/v1", retries=0
    )
    with pytest.raises(SarcoverError, match="does not answer"):
        explain(settings)
    assert (tmp_path / "explanation.evidence.json").is_file()  # to be narrated by another
    assert not (tmp_path / "explanation.json").exists()
    assert not (tmp_path / "explanation.md").exists()


def test_the_narrators_by_name(tmp_path: Path) -> None:
    assert make_writer(ExplainSettings(map="m")) is None
    server = make_writer(
        ExplainSettings(map="m", narrator="openai", narrator_model="phi3", url="http://localhost:8080/v1/")
    )
    assert server is not None
    assert server.name == "openai"
    with pytest.raises(SarcoverError, match="cannot be loaded"):
        make_writer(ExplainSettings(map="m", narrator="transformers", narrator_model=str(tmp_path)))


def test_the_command_line(files: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["explain", "--map", files["map"], "--scenes", files["scene"], "--out", str(tmp_path / "e.json")]
    assert cli.main([*words, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["out"] == str(tmp_path / "e.json")
    assert result["share_supported"] == 1.0
    assert cli.main(words) == 2
    assert "exists already" in capsys.readouterr().err
    assert cli.main([*words, "--overwrite"]) == 0
    assert "narrator" in capsys.readouterr().out
