"""The command line: what a user types, and what comes back."""

import json
import logging
import subprocess
import sys
import types
from dataclasses import dataclass, fields
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sarcover import SarcoverError, cli, config
from sarcover.cli_adapter import parse

TORCH_FREE = """
import sys
from sarcover.cli import VERBS, main
for verb in VERBS:
    assert main([verb, "--help"]) == 0
assert main([]) == 0
heavy = {"torch", "rasterio", "lightning", "matplotlib"} & set(sys.modules)
sys.exit(f"imported {heavy}" if heavy else 0)
"""


@dataclass(frozen=True)
class ProbeSettings:
    """A verb for the tests.

    Args:
        out: where to write.
        words: some words.
        learning_rate: a number.
        steps: a count, or nothing.
        windows: four counts.
        mode: one of two.
        refine: on, off, or left to the model.
        augment: on by default.
        overwrite: off by default.
    """

    out: str
    words: tuple[str, ...] = ()
    learning_rate: float = 0.5
    steps: int | None = None
    windows: tuple[int, int, int, int] | None = None
    mode: Literal["fast", "exact"] = "fast"
    refine: bool | None = None
    augment: bool = True
    overwrite: bool = False


def probe(*words: str, positional: str = "") -> ProbeSettings:
    return parse("probe", ProbeSettings, words, positional=positional)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Runs a verb whose job is the given function; gives exit code, stdout and stderr."""

    def call(job: Any, *flags: str) -> tuple[int, str, str]:
        module = types.ModuleType("probe_job")
        module.job = job  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "probe_job", module)
        monkeypatch.setitem(cli.VERBS, "probe", cli.Verb(ProbeSettings, "probe_job:job", "a probe"))
        code = cli.main(["probe", "--out", "x", *flags])
        return code, *capsys.readouterr()

    return call


def test_without_a_verb_all_verbs_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([]) == 0
    listed = [line[2:20].strip() for line in capsys.readouterr().out.splitlines() if line.startswith("  ")]
    assert listed == list(cli.VERBS)
    assert {"demo", "simulate", "info", "prepare", "pretrain", "finetune", "evaluate", "map"} < set(listed)


def test_help_answers_without_the_heavy_libraries() -> None:
    done = subprocess.run([sys.executable, "-c", TORCH_FREE], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("verb", cli.VERBS)
def test_help_explains_every_flag(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([verb, "--help"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    described = {name.strip() for name in cli.VERBS[verb].settings.__doc__.split(":")}
    for field in fields(cli.VERBS[verb].settings):
        if field.name != cli.VERBS[verb].positional:
            assert "--" + field.name.replace("_", "-") in text
        assert any(part.endswith(field.name) for part in described), f"{field.name} has no help"


def test_every_verb_has_a_job() -> None:
    for verb in cli.VERBS.values():
        assert callable(cli._job(verb))


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    from importlib.metadata import version

    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"sarcover {version('sarcover')}\n"


def test_several_words_after_a_flag() -> None:
    settings = probe("--words", "a.tif", "b.tif", "--out", "o", "--windows", "8", "8", "8", "4")
    assert settings.words == ("a.tif", "b.tif")
    assert settings.windows == (8, 8, 8, 4)


def test_dashes_and_underscores_are_the_same() -> None:
    assert probe("--out", "o", "--learning-rate", "1e-3") == probe("--out=o", "--learning_rate=0.001")


def test_booleans_are_switched_both_ways() -> None:
    on = probe("--out", "o", "--no-augment", "--overwrite")
    assert (on.augment, on.overwrite) == (False, True)
    assert probe("--out", "o", "--no-overwrite", "--augment") == ProbeSettings("o")


def test_a_boolean_may_be_left_open(tmp_path: Path) -> None:
    assert [probe("--out", "o", *f).refine for f in ((), ("--refine",), ("--no-refine",))] == [
        None,
        True,
        False,
    ]
    file = tmp_path / "recipe.yaml"
    file.write_text("out: o\nrefine: null\n")
    assert probe("--config", str(file)).refine is None
    file.write_text("out: o\naugment: null\n")
    with pytest.raises(SarcoverError, match="augment; expected true or false; got None"):
        probe("--config", str(file))


def test_words_that_look_like_numbers_stay_words() -> None:
    assert probe("--out", "7", "--words", "2022-09", "202209", "null").words == ("2022-09", "202209", "null")


@pytest.mark.parametrize("word", ["-3", "-3.", "-.3e1", "-30e-1", "-0.03E+2"])
def test_negative_numbers_are_values_however_they_are_written(word: str) -> None:
    assert probe("--out", "o", "--learning-rate", word).learning_rate == -3


def test_flags_override_the_config_file(tmp_path: Path) -> None:
    file = tmp_path / "recipe.yaml"
    file.write_text("out: o\nlearning_rate: 1e-3\nwords: [a, b]\nsteps: null\naugment: false\n")
    assert probe("--config", str(file)) == ProbeSettings("o", ("a", "b"), 1e-3, augment=False)
    assert probe("--config", str(file), "--learning-rate", "2", "--augment").learning_rate == 2.0


def test_bare_words_fill_the_positional_field(tmp_path: Path) -> None:
    assert probe("a", "b", "--out", "o", positional="words").words == ("a", "b")
    assert probe("--steps", "3", "--out", "o", "a", positional="words").words == ("a",)
    file = tmp_path / "recipe.yaml"
    file.write_text("words: [c]\nout: o\n")
    assert probe("--config", str(file), positional="words").words == ("c",)
    with pytest.raises(SarcoverError, match="probe needs WORD"):
        probe("--out", "o", positional="words")


plain_words = st.text("abcdefghij/._0123456789", min_size=1, max_size=12)


@given(
    st.builds(
        ProbeSettings,
        out=plain_words,
        words=st.lists(plain_words, max_size=3).map(tuple),
        learning_rate=st.floats(allow_nan=False, allow_infinity=False, allow_subnormal=False),
        steps=st.none() | st.integers(-(10**9), 10**9),
        windows=st.none() | st.tuples(*[st.integers(1, 64)] * 4),
        mode=st.sampled_from(["fast", "exact"]),
        augment=st.booleans(),
        overwrite=st.booleans(),
    )
)
def test_any_settings_can_be_written_as_flags(settings: ProbeSettings) -> None:
    flags = []
    for field in fields(settings):
        value, name = getattr(settings, field.name), "--" + field.name.replace("_", "-")
        if isinstance(value, bool):
            flags.append(name if value else name.replace("--", "--no-"))
        elif isinstance(value, tuple):
            flags += [name, *map(str, value)] if value else []
        elif value is not None:
            flags.append(f"{name}={value}")
    assert probe(*flags) == settings


def test_printed_settings_can_be_read_back(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("--data", "store", "--out", "run", "--windows", "4", "4", "4", "2", "--no-augment")
    with pytest.raises(SystemExit):
        parse("finetune", config.FinetuneSettings, [*words, "--print-config"])
    file = tmp_path / "recipe.yaml"
    file.write_text(capsys.readouterr().out)
    again = parse("finetune", config.FinetuneSettings, ["--config", str(file)])
    assert again == config.FinetuneSettings("store", "run", windows=(4, 4, 4, 2), augment=False)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["--out", "o", "--learning-rat", "1"],
            "no flag --learning-rat; the nearest is --learning-rate",
        ),
        (["--out", "o", "--no-augmnt"], "probe has no flag --no-augmnt; the nearest is --no-augment"),
        (["--out", "o", "--steps", "many"], "probe: --steps; expected a whole number; got many"),
        (["--out", "o", "--steps", "1.5"], "probe: --steps; expected a whole number; got 1.5"),
        (["--out", "o", "--learning-rate", "x"], "probe: --learning-rate; expected a number; got x"),
        (["--out", "o", "--mode", "slow"], "probe: --mode; expected one of fast, exact; got slow"),
        (["--out", "o", "--windows", "1", "2"], "probe: --windows; expected 4 values, each a whole number"),
        (["--out", "o", "--words"], "probe: --words; expected one or more values"),
        (["--out", "o", "--augment=maybe"], "--augment takes no value; write --augment or --no-augment"),
        (["--out", "o", "--words", "a", "--words", "b"], "the flag --words is given twice"),
        (["--out", "o", "stray"], "probe has no use for 'stray'"),
        (["--mode", "fast"], "probe needs --out; see sarcover probe --help"),
        (["--out", "o", "--config", "nowhere.yaml"], "--config nowhere.yaml does not exist"),
    ],
)
def test_a_mistake_in_the_flags_is_one_line(words: list[str], message: str) -> None:
    with pytest.raises(SarcoverError) as caught:
        probe(*words)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("yaml", "message"),
    [
        ("out: o\nlearning_rat: 1\n", "probe has no setting 'learning_rat'; the nearest is 'learning_rate'"),
        ("out: o\nsteps: many\n", "--steps; expected a whole number; got many"),
        ("out: o\naugment: 1\n", "augment; expected true or false; got 1"),
        ("out: o\nwindows: [1, 2]\n", "--windows; expected 4 values, each a whole number; got 1 2"),
        (
            "out: o\nwindows: 4\n",
            "windows; expected 4 values, each a whole number; got 4; write windows: [4]",
        ),
        ("- out\n", "expected a mapping of settings, one per line; got list"),
        ("out: [\n", "is not a readable YAML file"),
    ],
)
def test_a_mistake_in_the_config_file_is_one_line(tmp_path: Path, yaml: str, message: str) -> None:
    file = tmp_path / "recipe.yaml"
    file.write_text(yaml)
    with pytest.raises(SarcoverError) as caught:
        probe("--config", str(file))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_unknown_verb_names_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["evalute"]) == 2
    assert capsys.readouterr().err == "sarcover: error: no verb 'evalute'; the nearest is 'evaluate'\n"


def test_json_is_all_there_is_on_stdout(run: Any) -> None:
    def job(settings: ProbeSettings) -> dict[str, Any]:
        print("chatter of a library")
        logging.getLogger("sarcover.probe").warning("mind this")
        scores = np.array([0.5, np.nan], np.float32)
        return {"path": Path("a/b"), "scores": scores, "n": np.int64(3), "bad": float("inf"), "s": settings}

    code, out, err = run(job, "--json")
    result = json.loads(out, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert code == 0
    assert result["path"] == "a/b"
    assert result["scores"] == [0.5, None]
    assert (result["n"], result["bad"], result["s"]["out"]) == (3, None, "x")
    assert err.splitlines() == ["chatter of a library", "warning: mind this"]


def test_people_see_paths_figures_and_classes(run: Any) -> None:
    row = {"name": "Water", "iou": 0.75, "precision": 1.0, "recall": 0.75, "f1": 0.857, "support": 4000}
    absent = dict.fromkeys(row) | {"name": "Bare", "support": 0}
    result = {"map": Path("m.tif"), "n_pixels": 123456, "miou": 1 / 3, "confusion": [[1]]}
    _, out, _ = run(lambda settings: result | {"classes": [row, absent]})
    lines = out.splitlines()
    assert lines[:4] == ["out       x", "map       m.tif", "pixels    123,456", "mean IoU  0.3333"]
    assert lines[-2].split() == ["Water", "0.750", "1.000", "0.750", "0.857", "4,000"]
    assert lines[-1].split() == ["Bare", "-", "-", "-", "-", "0"]


def test_an_error_of_the_user_is_one_line_and_exit_code_2(run: Any) -> None:
    def job(settings: ProbeSettings) -> None:
        raise SarcoverError("scene.tif is truncated", expected="4 rows", got="2", do="fetch it again")

    code, out, err = run(job)
    assert (code, out) == (2, "")
    assert err == "sarcover: error: scene.tif is truncated; expected 4 rows; got 2; fetch it again\n"


def test_items_that_failed_are_told_beside_those_that_did_not(run: Any) -> None:
    items = [{"path": "a.tif", "error": "a.tif is truncated"}, {"path": "b.tif", "what": "scene"}]
    code, out, err = run(lambda settings: items, "--json")
    assert (code, err) == (2, "sarcover: error: a.tif is truncated\n")
    assert json.loads(out)["items"] == items
    code, out, err = run(lambda settings: items)
    assert (code, err) == (2, "sarcover: error: a.tif is truncated\n")
    assert "b.tif" in out
    assert "a.tif" not in out


def test_the_rooms_are_there_without_an_import_of_their_own() -> None:
    rooms = ("legend", "losses", "mapping", "metrics", "models", "radar", "scene")
    program = f"import sarcover; print([getattr(sarcover, name).__name__ for name in {rooms}])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str([f"sarcover.{name}" for name in rooms])
    with pytest.raises(AttributeError, match="no attribute 'raddar'"):
        import_module("sarcover").raddar  # noqa: B018


def test_verbose_adds_the_traceback_and_debug_messages(run: Any) -> None:
    def job(settings: ProbeSettings) -> None:
        logging.getLogger("sarcover.probe").debug("a detail")
        raise SarcoverError("no")

    _, _, quiet = run(job)
    code, _, err = run(job, "-v")
    assert code == 2
    assert "a detail" in err
    assert "Traceback" in err
    assert "a detail" not in quiet
    assert "Traceback" not in quiet


def test_an_interruption_is_one_line_and_exit_code_130(run: Any) -> None:
    def job(settings: ProbeSettings) -> None:
        raise KeyboardInterrupt

    assert run(job) == (130, "", "sarcover: interrupted\n")


def test_a_defect_of_the_program_is_not_hidden(run: Any) -> None:
    with pytest.raises(ZeroDivisionError):
        run(lambda settings: 1 / 0)


def test_only_the_first_process_of_a_run_speaks(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert run(lambda settings: {"n": 1}, "--json")[:2] == (0, "")


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        (Path("x"), {"out": "x"}),
        ({"n": 1}, {"out": "x", "n": 1}),
        ({"run": "x"}, {"run": "x"}),
        ([{"n": 1}, {"n": 2}], {"out": "x", "items": [{"n": 1}, {"n": 2}]}),
    ],
)
def test_every_result_is_an_object_that_says_where_it_lies(run: Any, result: Any, expected: Any) -> None:
    assert json.loads(run(lambda settings: result, "--json")[1]) == expected


def test_logging_is_left_as_it_was(run: Any) -> None:
    ours = logging.getLogger("sarcover")
    before = (list(ours.handlers), ours.propagate, ours.level)
    run(lambda settings: {"n": 1})
    assert (list(ours.handlers), ours.propagate, ours.level) == before


def test_a_reader_that_goes_away_is_no_error() -> None:
    shell = f"\"{sys.executable}\" -c \"from sarcover.cli import main; main(['map', '--help'])\" | true"
    done = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, check=False)
    assert done.stderr == ""
