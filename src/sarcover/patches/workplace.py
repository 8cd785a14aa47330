"""Where an unfinished store waits: killed at any moment, the same command goes on after its last shard.

Beside `store` lies the hidden folder `.store.work` while it is made:

    lock            held by the process that works; the system lets go of it when that dies
    job.json        what is prepared, from which files, how: another job starts over
    *.json, *.parquet   what earlier steps found (weights of blocks, anchors)
    journal.jsonl   one line a finished shard: its files with their checksums, and how to go on after it
    store/          the store under way

A line of the journal is believed where the files on disk agree with its checksums.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any

from sarcover.config import PrepareSettings
from sarcover.errors import SarcoverError, UnreadableError
from sarcover.files import disk_errors, publish_folder, read_json, replaceable_folder, sha256, write_json
from sarcover.lock import JOB, LOCK, discard, take_up
from sarcover.patches.proof import RefusedSplitError

logger = logging.getLogger(__name__)

MARKER = "store.yaml"
_JOURNAL, _STORE = "journal.jsonl", "store"
_MINE = (LOCK, JOB, _JOURNAL, _STORE)
_NOT_IN_SHARDS = ("same_ground", "guard_days")  # what the proof alone asks of the split


class Workplace:
    """The folder of an unfinished store, held by this process: a context.

    It is removed when the store is published, or when an error of the input or a defect ends the run. An
    interruption, a full disk or a kill leaves it, and so does a split that the proof refuses but may pass
    when less is asked of it.

    Args:
        out: the store.
        job: everything that the store depends on, as plain values.
        overwrite: replace an existing store.

    Attributes:
        folder: for what steps find.
        store: folder of the store under way.

    Raises:
        SarcoverError: something is there already, or another process works there.
    """

    def __init__(self, out: str, job: Mapping[str, Any], *, overwrite: bool) -> None:
        self.out, self.overwrite = Path(out), overwrite
        self._job = json.loads(json.dumps(job))

    def __enter__(self) -> Workplace:
        with disk_errors(self.out):
            final = replaceable_folder(self.out, MARKER, overwrite=self.overwrite)
            final.parent.mkdir(parents=True, exist_ok=True)
            self.folder = final.with_name(f".{final.name}.work")
            self.store = self.folder / _STORE
            self._lock, _ = take_up(self.folder, str(self.out), self._job)
            try:
                self.store.mkdir(exist_ok=True)
            except BaseException:
                os.close(self._lock)
                raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None and _can_go_on(error) and self._begun():
            logger.warning(
                "%s: what is finished is kept; the same command goes on with it%s", self.out, _also(error)
            )
        else:
            gone = self.folder.with_name(f"{self.folder.name}.gone")
            discard(self.folder, gone)
        os.close(self._lock)

    def once(self, name: str, make: Callable[[], Any]) -> Any:
        """Plain values that a step finds; from an earlier run if it finished that step."""
        file = self.folder / f"{name}.json"
        if not file.exists():
            with disk_errors(self.out):
                write_json(file, make())
        return read_json(file)

    def finished(self) -> list[dict[str, Any]]:
        """Lines of the journal that the files on disk bear out, of the shards from the first on."""
        journal = self.folder / _JOURNAL
        lines: list[dict[str, Any]] = []
        if journal.exists():
            for text in journal.read_text(encoding="utf-8").splitlines(keepends=True):
                line = _line(text)
                if line is None or not self._is_true(line["shard"]):
                    break
                lines.append(line)
        with disk_errors(self.out):
            journal.write_text("".join(_text(line) for line in lines), encoding="utf-8")
        if lines:
            logger.info("%s: goes on after %d finished shards", self.out, len(lines))
        return lines

    def finish(self, line: Mapping[str, Any]) -> None:
        """To be called when a shard is on disk: `shard` as the writer describes it, and how to go on."""
        with disk_errors(self.out), (self.folder / _JOURNAL).open("a", encoding="utf-8") as journal:
            journal.write(_text(line))

    def publish(self) -> None:
        """Gives the store its name."""
        publish_folder(self.store, self.out, MARKER, overwrite=self.overwrite)

    def _begun(self) -> bool:
        entries = [entry.name for entry in self.folder.iterdir() if entry.name not in _MINE]
        return bool(entries) or (self.folder / _JOURNAL).exists()

    def _is_true(self, shard: Mapping[str, Any]) -> bool:
        """Whether the files of a shard are what the journal says."""
        for name, file in shard["files"].items():
            path = self.store / "shards" / name
            if not path.is_file() or path.stat().st_size != file["bytes"] or sha256(path) != file["sha256"]:
                return False
        return True


def describe_job(settings: PrepareSettings, version: str) -> dict[str, Any]:
    """What a store depends on: settings, and name, size and time of every file."""
    given = asdict(settings)
    for irrelevant in (*_NOT_IN_SHARDS, "out", "overwrite", "workers", "check", "verify"):
        given.pop(irrelevant)
    paths = [*settings.scenes, *settings.labels, *settings.optical]
    paths += [path for path in (settings.split_raster, settings.split_polygons, settings.legend) if path]
    return {"settings": given, "files": _fingerprint(paths), "version": version}


def _fingerprint(paths: Iterable[str]) -> str:
    digest = hashlib.sha256()
    for path in map(Path, paths):
        inside = sorted(path.rglob("*")) if path.is_dir() else [path]
        for file in inside:
            with suppress(OSError):  # a name that is no file of this machine: GDAL will say what it is
                status = file.stat()
                digest.update(f"{file} {status.st_size} {status.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def _can_go_on(error: BaseException) -> bool:
    """Whether what is finished can serve later: after an interruption, with more room, or less to prove."""
    of_disk = isinstance(error.__cause__, OSError) and not isinstance(error, UnreadableError)
    if isinstance(error, SarcoverError):
        return of_disk or isinstance(error, RefusedSplitError)
    return isinstance(error, KeyboardInterrupt | SystemExit | OSError)


def _also(error: BaseException) -> str:
    changed = " or ".join(f"--{name.replace('_', '-')}" for name in _NOT_IN_SHARDS)
    return f", also with another {changed}" if isinstance(error, RefusedSplitError) else ""


def _text(line: Mapping[str, Any]) -> str:
    return json.dumps(line, separators=(",", ":")) + "\n"


def _line(text: str) -> dict[str, Any] | None:
    """A line of the journal; None if it is not whole."""
    if not text.endswith("\n"):
        return None
    try:
        line: dict[str, Any] = json.loads(text)
    except ValueError:
        return None
    return line if "shard" in line else None
