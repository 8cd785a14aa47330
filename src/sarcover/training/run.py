"""The folder of a run: what is in it, and whether a command begins, continues or must not touch it.

RUN/settings.yaml                 settings, versions, commit and data of the run
RUN/checkpoints/last.ckpt         weights, optimiser and step, as of the last checkpoint
RUN/checkpoints/kept.safetensors  the weights for the bundle, and their scores on the validation split
RUN/logs/metrics.csv              one row a step
RUN/metrics.json                  those scores (finetuning)
RUN/bundle/                       the model; written last: a run that has one is finished
"""

from __future__ import annotations

import json
import logging
import platform
import shutil
import subprocess
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
import yaml

from sarcover.config import FinetuneSettings, PretrainSettings
from sarcover.errors import SarcoverError
from sarcover.files import atomic_file, disk_errors
from sarcover.patches import PatchStore

logger = logging.getLogger(__name__)

TrainSettings = PretrainSettings | FinetuneSettings

# These change nothing in the numbers that a run computes. `data` may move: its fingerprint counts.
FREE_TO_CHANGE = {"out", "data", "overwrite", "checkpoint_minutes", "logger", "pictures"}
VERSIONED = ("sarcover", "torch", "lightning", "numpy")

_AT_LEAST = {
    "batch": 1,
    "accumulate": 1,
    "devices": 1,
    "epochs": 1,
    "steps": 1,
    "validations": 0,
    "pictures": 0,
    "learning_rate": 0,
    "rate_batch": 1,
    "base_rate": 0,
    "min_rate": 0,
    "weight_decay": 0,
    "clip": 0,
    "checkpoint_minutes": 0,
    "seed": 0,
}
_SHARES = (
    *("warmup", "layer_decay", "ema", "train_fraction", "drop_path", "dropout", "mask_ratio"),
    *("cloud", "drop_optical", "drop_sar"),
)


def check_settings(settings: TrainSettings) -> None:
    """Refuses numbers that make no training.

    Raises:
        SarcoverError: the first of them.
    """
    for name, value in asdict(settings).items():
        if name in _AT_LEAST and value is not None and not value >= _AT_LEAST[name]:
            raise SarcoverError(name, expected=f"{_AT_LEAST[name]} or more", got=str(value))
        if name in _SHARES and value is not None and not 0 <= value <= 1:
            raise SarcoverError(name, expected="0 to 1", got=str(value))


class Run:
    """The files of a run; see the module.

    Args:
        folder: the run's folder.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.settings = self.folder / "settings.yaml"
        self.last = self.folder / "checkpoints" / "last.ckpt"
        self.kept = self.folder / "checkpoints" / "kept.safetensors"
        self.logs = self.folder / "logs"
        self.table = self.logs / "metrics.csv"
        self.metrics = self.folder / "metrics.json"
        self.bundle = self.folder / "bundle"

    def open(self, settings: TrainSettings, store: PatchStore, processes: int) -> None:
        """Begins the run, or makes sure that this command may continue it. One process calls this.

        Raises:
            SarcoverError: the folder holds something else, a finished run, or an unfinished one with other
                settings.
        """
        with disk_errors(self.folder):
            if self.folder.exists() and any(self.folder.iterdir()):
                self._meet_what_is_there(settings)
            self.last.parent.mkdir(parents=True, exist_ok=True)
            self.logs.mkdir(exist_ok=True)
            _remove_leftovers(self.folder)
        record = _record(settings, store, processes)
        if self.settings.exists():
            self._continue(record)
        else:
            with atomic_file(self.settings) as temporary:
                temporary.write_text(yaml.safe_dump(record, sort_keys=False), encoding="utf-8")

    def _meet_what_is_there(self, settings: TrainSettings) -> None:
        if not self.settings.is_file():
            raise SarcoverError(
                f"{self.folder} is not a run",
                expected="a new folder, or one with settings.yaml",
                do="choose another name",
            )
        if settings.overwrite:
            shutil.rmtree(self.folder)
        elif self.bundle.exists():
            raise SarcoverError(
                f"{self.folder} is a finished run", do="choose another name or add --overwrite"
            )

    def _continue(self, record: dict[str, Any]) -> None:
        try:
            old = yaml.safe_load(self.settings.read_text(encoding="utf-8"))
            differing = _differences(old, record)
        except (yaml.YAMLError, UnicodeDecodeError, KeyError, TypeError) as error:
            raise SarcoverError(f"{self.settings} is broken", do="add --overwrite to begin anew") from error
        if differing:
            raise SarcoverError(
                f"{self.folder} holds an unfinished run with other settings",
                expected="; ".join(f"{key} {was}" for key, was, _ in differing),
                got="; ".join(f"{key} {now}" for key, _, now in differing),
                do="give the settings it began with, or add --overwrite to begin anew",
            )
        if old.get("threads", record["threads"]) != record["threads"]:
            logger.warning(
                "%s began with %s threads and goes on with %s: on a CPU its numbers may differ from one go's",
                self.folder,
                old["threads"],
                record["threads"],
            )
        if old.get("versions") != record["versions"] or old.get("commit") != record["commit"]:
            logger.warning(
                "%s began with %s (%s) and goes on with %s (%s): its numbers may differ from one go's",
                self.folder,
                old.get("versions"),
                old.get("commit"),
                record["versions"],
                record["commit"],
            )


def _record(settings: TrainSettings, store: PatchStore, processes: int) -> dict[str, Any]:
    """What settings.yaml holds."""
    plain: dict[str, Any] = json.loads(json.dumps(asdict(settings)))
    return {
        "job": "pretrain" if isinstance(settings, PretrainSettings) else "finetune",
        "settings": plain,
        "data": {
            "path": str(store.path.resolve()),
            "fingerprint": store.meta.fingerprint,
            "bands": list(store.meta.bands),
            "unit": store.meta.unit,
        },
        "processes": processes,
        "threads": torch.get_num_threads(),
        "versions": versions(),
        "commit": commit(),
    }


def _differences(old: dict[str, Any], new: dict[str, Any]) -> list[tuple[str, Any, Any]]:
    """(key, then, now) of what differs between two records and matters."""
    pairs = [(key, old[key], new[key]) for key in ("job", "processes")]
    pairs.append(("fingerprint of data", old["data"]["fingerprint"], new["data"]["fingerprint"]))
    keys = {**old["settings"], **new["settings"]}
    pairs += [(key, old["settings"].get(key), new["settings"].get(key)) for key in keys]
    return [(key, a, b) for key, a, b in pairs if a != b and key not in FREE_TO_CHANGE]


def versions() -> dict[str, str]:
    """Versions of Python and of what computes."""
    return {"python": platform.python_version(), **{name: version(name) for name in VERSIONED}}


def commit() -> str | None:
    """The commit that sarcover runs from, if it runs from a checkout."""
    root = Path(__file__).resolve().parents[3]
    if not (root / ".git").exists():
        return None
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None


def _remove_leftovers(folder: Path) -> None:
    """Temporary files and folders of a process that was killed while it wrote."""
    for leftover in folder.rglob(".*.part*"):
        if leftover.is_dir():
            shutil.rmtree(leftover)
        else:
            leftover.unlink(missing_ok=True)
