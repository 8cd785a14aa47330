"""The folder of a map of many tiles, and what in it says which tiles are finished.

fleet.json          the settings: only a run with the same goes on in the folder
tiles/NAME.tif      and what lies beside each tile
.fleet/NAME.json    its record, written when all files of the tile have their names
.fleet/lock         held by the process that hands out the work
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sarcover.errors import SarcoverError
from sarcover.files import disk_errors, read_json, write_json
from sarcover.lock import lock_folder

_ABOUT, _RECORDS, _TILES = "fleet.json", ".fleet", "tiles"


def fingerprint(content: Any) -> str:
    """SHA-256 of plain values."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def remove(folder: Path, names: Iterable[str]) -> None:
    """Removes files that may be there."""
    for name in names:
        (folder / name).unlink(missing_ok=True)


class FleetFolder:
    """Where the tiles of a map lie.

    Args:
        path: the folder.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.tiles, self._records = path, path / _TILES, path / _RECORDS

    def tile(self, name: str) -> Path:
        """A tile's map."""
        return self.tiles / f"{name}.tif"

    @contextmanager
    def held(self, settings: Mapping[str, Any], overwrite: bool) -> Iterator[None]:
        """Makes the folder, or takes it up; no other process hands out its work meanwhile.

        Args:
            settings: plain values on which all tiles depend.
            overwrite: replace tiles that were made with other settings.

        Raises:
            SarcoverError: it holds something else, or a map with other settings; another process is at it.
        """
        plain = json.loads(json.dumps(settings))
        with disk_errors(self.path):
            self._check(plain, overwrite)
            self._records.mkdir(parents=True, exist_ok=True)
            lock = lock_folder(self._records, str(self.path))
        try:
            with disk_errors(self.path):
                if self._check(plain, overwrite):
                    for name in self.records():
                        self.drop(name)
                self.tiles.mkdir(exist_ok=True)
                write_json(self.path / _ABOUT, plain)
            yield
        finally:
            os.close(lock)

    def _check(self, settings: Mapping[str, Any], overwrite: bool) -> bool:
        """Whether there is a map with other settings, which is to be replaced."""
        if self.path.exists() and not self.path.is_dir():
            raise SarcoverError(f"{self.path} is a file", expected="a folder, for a map of many tiles")
        about = self.path / _ABOUT
        if not about.exists():
            if self.path.exists() and any(entry.name != _RECORDS for entry in self.path.iterdir()):
                raise SarcoverError(
                    f"{self.path} holds something else than a map of many tiles", do="choose another --out"
                )
            return False
        before = read_json(about)
        changed = sorted(key for key in {*before, *settings} if before.get(key) != settings.get(key))
        if changed and not overwrite:
            raise SarcoverError(
                f"{self.path} holds a map that was made with other settings",
                got=f"another {', '.join(changed)}",
                do="choose another --out, or add --overwrite to replace its tiles",
            )
        return bool(changed)

    def records(self) -> dict[str, dict[str, Any]]:
        """Of all finished tiles, by name."""
        found = (self.record(path.stem) for path in sorted(self._records.glob("*.json")))
        return {record["name"]: record for record in found if record is not None}

    def record(self, name: str) -> dict[str, Any] | None:
        """Of a finished tile; None where there is none, or not all its files are there."""
        try:
            record: dict[str, Any] = read_json(self._records / f"{name}.json")
        except SarcoverError:
            return None
        return record if all((self.tiles / file).exists() for file in record["files"]) else None

    def keep(self, name: str, record: Mapping[str, Any]) -> None:
        """Says that a tile is finished."""
        write_json(self._records / f"{name}.json", record)

    def forget(self, name: str) -> None:
        """Says that it is not."""
        (self._records / f"{name}.json").unlink(missing_ok=True)

    def drop(self, name: str) -> None:
        """Removes a tile."""
        record = self.record(name)
        self.forget(name)
        if record is not None:
            remove(self.tiles, record["files"])
