"""The command line: one line of the table a verb. No other file prints or parses arguments.

A verb's module is imported when the verb runs, so help and mistakes in the flags answer at once.
"""

from __future__ import annotations

import json
import logging
import math
import os
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import asdict, dataclass, is_dataclass
from datetime import date
from importlib import import_module
from pathlib import PurePath
from typing import Any, TextIO

from sarcover import config
from sarcover.errors import SarcoverError


@dataclass(frozen=True)
class Verb:
    """Settings, "module:function" that takes them, one line of help, and the field of the bare words."""

    settings: type[Any]
    job: str
    help: str
    positional: str = ""


VERBS = {
    "demo": Verb(config.DemoSettings, "sarcover.demo:demo", "the whole job on a simulated landscape"),
    "simulate": Verb(config.SimulateSettings, "sarcover.simulate:simulate", "write scenes with known truth"),
    "info": Verb(config.InfoSettings, "sarcover.info:describe", "say what a file or folder is", "paths"),
    "collect": Verb(
        config.CollectSettings,
        "sarcover.collect:collect",
        "images for labels that are published alone",
        "name",
    ),
    "prepare": Verb(config.PrepareSettings, "sarcover.patches:prepare", "scenes and labels into a store"),
    "store show": Verb(
        config.StoreShowSettings, "sarcover.patches:show_store", "say what a store holds", "store"
    ),
    "store merge": Verb(
        config.StoreMergeSettings, "sarcover.patches:merge_stores", "several stores into one", "stores"
    ),
    "store filter": Verb(
        config.StoreFilterSettings, "sarcover.patches:filter_store", "some patches of a store", "store"
    ),
    "pretrain": Verb(config.PretrainSettings, "sarcover.training:pretrain", "an encoder without labels"),
    "finetune": Verb(config.FinetuneSettings, "sarcover.training:finetune", "train a model on a store"),
    "evaluate": Verb(config.EvaluateSettings, "sarcover.training:evaluate", "score a model on a split"),
    "map": Verb(config.MapSettings, "sarcover.mapping:map_with", "map a scene with a model"),
    "export": Verb(config.ExportSettings, "sarcover.export:export", "a model for another runtime"),
    "explain": Verb(config.ExplainSettings, "sarcover.explain:explain", "say what a map shows, and why"),
    "import-checkpoint": Verb(
        config.ImportCheckpointSettings,
        "sarcover.checkpoint_import:import_checkpoint",
        "published weights into a bundle",
        "file",
    ),
}

SHARED_FLAGS = """Every verb also takes --json (the result as one JSON object on stdout; everything else
goes to stderr) and -v, --verbose (debug messages, and a traceback with an error). List flags take
several words: --scenes a.tif b.tif. Keys of a YAML file are the flags' names; flags override the file."""

CHATTERING = (
    "rasterio",
    "torch",
    "lightning",
    "lightning.fabric",
    "lightning.pytorch",
    "matplotlib",
    "transformers",
)
_HELP = (" -h", " --help")
EXIT_USER_ERROR = 2
EXIT_INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one verb.

    Returns:
        0, or 2 after an error of the input or the request (in one of several items, too), or 130 after an
        interruption. Any other exception is a defect of the program and shows its traceback.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    as_json = "--json" in words
    verbose = "-v" in words or "--verbose" in words
    words = [word for word in words if word not in ("--json", "-v", "--verbose")]
    with _messages(verbose):
        return _guarded(words, as_json, verbose)


def _guarded(words: list[str], as_json: bool, verbose: bool) -> int:
    try:
        try:
            code = _run(words, as_json)
        except SystemExit as end:  # help was asked for, and printed
            code = end.code if isinstance(end.code, int) else 0
        sys.stdout.flush()
        return code
    except BrokenPipeError:  # `sarcover info ... | head`: the reader has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (SarcoverError, OSError) as error:
        return _fail(f"error: {' '.join(str(error).split())}", EXIT_USER_ERROR, verbose)
    except KeyboardInterrupt:
        return _fail("interrupted", EXIT_INTERRUPTED, verbose)


def _run(words: list[str], as_json: bool) -> int:
    if not words or words[0] in ("-h", "--help", "help"):
        print(_overview())
        return 0
    if words[0] == "--version":
        from sarcover import __version__

        print(f"sarcover {__version__}")
        return 0
    words = _one_name(words)
    if words[0].endswith(_HELP):
        print(_overview(words[0].split()[0]))
        return 0
    name, verb = words[0], VERBS.get(words[0])
    from sarcover.cli_adapter import nearest, parse
    from sarcover.memory import keep_freed_memory

    if verb is None:
        raise SarcoverError(f"no verb '{name}'", do=f"the nearest is '{nearest(name, list(VERBS))}'")
    settings = parse(name, verb.settings, words[1:], positional=verb.positional, epilog=SHARED_FLAGS)
    keep_freed_memory()
    with redirect_stdout(sys.stderr):  # what a library prints must not mix with the result
        result = as_object(plain(_job(verb)(settings)), getattr(settings, "out", None))
    if _first_process():
        _print(result, as_json)
    return _failed_items(result)


def _one_name(words: list[str]) -> list[str]:
    """Words with a verb of two of them, as `store show`, as one."""
    if not any(name.startswith(f"{words[0]} ") for name in VERBS):
        return words
    return [" ".join([*words, "--help"][:2]), *words[2:]]


def _failed_items(result: Mapping[str, Any]) -> int:
    """The exit code; items that a verb could not do tell so by an `error`, beside those that it did."""
    parts = [*result.get("items", []), *result.get("failed", [])]
    errors = [item["error"] for item in parts if "error" in item]
    for error in errors:
        _fail(f"error: {error}", EXIT_USER_ERROR, verbose=False)
    return EXIT_USER_ERROR if errors else 0


def _first_process() -> bool:
    """Whether this is the one of a run's processes that speaks."""
    return all(os.environ.get(rank, "0") == "0" for rank in ("RANK", "LOCAL_RANK", "SLURM_PROCID"))


def _job(verb: Verb) -> Callable[[Any], Any]:
    module, _, function = verb.job.partition(":")
    job: Callable[[Any], Any] = getattr(import_module(module), function)
    return job


def _overview(first: str = "") -> str:
    """The verbs, or those that begin with this word."""
    shown = {name: verb for name, verb in VERBS.items() if not first or name.split()[0] == first}
    lines = "\n".join(f"  {name:<18} {verb.help}" for name, verb in shown.items())
    return (
        "sarcover: land-cover maps from radar (SAR) scenes\n\n"
        f"usage: sarcover VERB [--flag VALUE ...]\n\n{lines}\n\n"
        "sarcover VERB --help shows the flags of a verb; sarcover --version the version."
    )


def _fail(message: str, code: int, verbose: bool) -> int:
    if verbose:
        traceback.print_exc()
    print(f"sarcover: {message}", file=sys.stderr)
    return code


def plain(value: Any) -> Any:
    """A result as JSON can hold it: paths and dates as text, arrays as lists, NaN and infinity as null."""
    if is_dataclass(value) and not isinstance(value, type):
        value = asdict(value)
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, PurePath | date):
        return str(value)
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if value is None or isinstance(value, str | int | float | bool) else str(value)


def _print(result: Any, as_json: bool) -> None:
    if as_json:
        print(json.dumps(result, ensure_ascii=False, allow_nan=False))
        return
    from rich.console import Console

    from sarcover.cli_summary import summary

    console = Console(highlight=False, markup=False, emoji=False)
    if "items" in result:  # those that failed are told on stderr
        result = {**result, "items": [item for item in result["items"] if "error" not in item]}
    for part in summary(result):
        console.print(part, soft_wrap=isinstance(part, str))


def as_object(result: Any, out: str | None) -> dict[str, Any]:
    """The plain result of a job as one JSON object that says where the result lies."""
    if isinstance(result, list):
        result = {"items": result}
    elif not isinstance(result, dict):
        result = {}
    return result if not out or out in result.values() else {"out": out, **result}


class _Messages(logging.StreamHandler[TextIO]):
    """Log records as plain lines on whatever stderr is at that moment (a progress bar may stand in)."""

    def emit(self, record: logging.LogRecord) -> None:
        self.stream = sys.stderr
        super().emit(record)

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        return text if record.levelno == logging.INFO else f"{record.levelname.lower()}: {text}"


@contextmanager
def _messages(verbose: bool) -> Iterator[None]:
    """Our own messages to stderr; the libraries' chatter off, unless asked for. Afterwards as before."""
    ours = logging.getLogger("sarcover")
    before = ours.handlers, ours.propagate, ours.level
    ours.handlers, ours.propagate = [_Messages()], False
    ours.setLevel(logging.DEBUG if verbose else logging.INFO)
    libraries = [] if verbose else [logging.getLogger(name) for name in CHATTERING]
    levels = [library.level for library in libraries]
    for library in libraries:
        library.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("default" if verbose else "ignore")
            yield
    finally:
        ours.handlers, ours.propagate = before[:2]
        ours.setLevel(before[2])
        for library, level in zip(libraries, levels, strict=True):
            library.setLevel(level)
