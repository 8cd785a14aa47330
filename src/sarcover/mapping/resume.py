"""Where an unfinished map waits: killed at any moment, the same command goes on with what is finished.

Beside `map.tif` lies the hidden folder `.map.tif.work` while it is made:

    lock             held by the process that works; the system lets go of it when that dies
    job.json         what is mapped, with what, how: another job starts over
    *.raw            the pixels, in place
    below-*, right-* what windows hand on to later ones (see `carry`)
    journal.jsonl    one line a piece, written when all of that is in the hands of the system
    ready/, done.json   the files that are being published, and that all of them are whole

A line of the journal is believed where the bytes on disk agree with its checksums. So it does not matter in
which order a disk writes, or whether it lost something in a power cut.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from sarcover.errors import SarcoverError
from sarcover.files import disk_errors, write_json
from sarcover.lock import LOCK, discard, take_up
from sarcover.mapping.carry import FileCarry
from sarcover.mapping.raster import WorkingRaster
from sarcover.mapping.stream import Piece

logger = logging.getLogger(__name__)

_SYNC_SECONDS = 15.0  # what a power cut may cost; a killed process loses nothing that is in the journal
_JOURNAL, _READY, _DONE = "journal.jsonl", "ready", "done.json"


@dataclass(frozen=True)
class Record:
    """A line of the journal.

    Attributes:
        number: of the piece.
        at: its row, column, height and width.
        windows, skipped: as in `Piece`.
        pixels: file -> CRC-32 of its pixels there.
        edges: what it hands on, as `FileCarry.done` tells it.
    """

    number: int
    at: tuple[int, int, int, int]
    windows: int
    skipped: int
    pixels: dict[str, int]
    edges: dict[str, list[int]]


def work_folder(out: Path) -> Path:
    """Where the unfinished map of this name waits."""
    return out.with_name(f".{out.name}.work")


def _gone(out: Path) -> Path:
    return out.with_name(f".{out.name}.gone")


def is_publishing(out: Path) -> bool:
    """Whether a run was killed while it gave a map's finished files their names: some may have them."""
    return (work_folder(out) / _DONE).exists()


class Workplace:
    """The folder of an unfinished map, held by this process: a context.

    It is removed when the map is published or a defect ends the run; what the user can mend, or an
    interruption, leaves it, if a piece is finished.

    Args:
        out: the map.
        job: everything that the map depends on, as plain values.

    Attributes:
        folder: for files of the map under way.
        windows, skipped: of the pieces that an earlier run has finished.

    Raises:
        SarcoverError: another process works there, or the folder is somebody else's.
    """

    def __init__(self, out: Path, job: Mapping[str, Any]) -> None:
        self.out, self.folder = out, work_folder(out)
        self._job = json.loads(json.dumps(job))
        self.windows = self.skipped = 0
        self._rasters: Mapping[Path, WorkingRaster] = {}
        self._carry: FileCarry | None = None
        self._kept, self._finished, self._synced = 0, 0, time.monotonic()
        self._journal = -1

    @property
    def publishing(self) -> bool:
        """Whether this very map was being given its name when an earlier run was killed."""
        return (self.folder / _DONE).exists()

    def __enter__(self) -> Workplace:
        with disk_errors(self.out):
            self.folder.parent.mkdir(parents=True, exist_ok=True)
            self._lock, kept = take_up(self.folder, str(self.out), self._job, self._refuse_others)
            if kept:
                self._finished = int((self.folder / _JOURNAL).exists())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._carry is not None:
            self._carry.close()
        if self._journal >= 0:
            os.close(self._journal)
        worth = self._finished > 0 and isinstance(error, SarcoverError | KeyboardInterrupt | SystemExit)
        if worth or isinstance(error, GeneratorExit):
            logger.warning("%s: what is finished is kept; the same command goes on with it", self.out)
        else:
            discard(self.folder, _gone(self.out))
        os.close(self._lock)

    def bytes_there(self) -> int:
        """Disk space that the folder already has."""
        return sum(512 * path.stat().st_blocks for path in self.folder.rglob("*"))

    def resume(self, rasters: Mapping[Path, WorkingRaster], carry: FileCarry, reach: int) -> int:
        """Takes up what an earlier run has finished.

        Args:
            rasters: the map's files by their final names.
            carry: where unfinished pixels wait.
            reach: how many window rows above it add to a window row.

        Returns:
            Number of the first piece to be made: that of the first unfinished one, or an earlier one where
            what it needs from its neighbours is lost.
        """
        self._rasters, self._carry = rasters, carry
        with disk_errors(self.out):
            edges: dict[int, dict[str, list[int]]] = {}
            length = 0
            for record, end in _records(self.folder / _JOURNAL):
                if not self._is_true(record):
                    break
                for raster in rasters.values():
                    raster.keep(*record.at)
                self.windows, self.skipped = self.windows + record.windows, self.skipped + record.skipped
                edges[record.number] = record.edges
                edges.pop(record.number - carry.per_row, None)
                self._kept, length = self._kept + 1, end
            self._finished = self._kept
            self._journal = os.open(self.folder / _JOURNAL, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o666)
            os.ftruncate(self._journal, length)
            os.lseek(self._journal, 0, os.SEEK_END)
            if self._kept:
                logger.info("%s: goes on after %d finished windows", self.out, self.windows)
            if carry.restore(edges, self._kept):
                return self._kept
            return max(0, self._kept // carry.per_row - reach) * carry.per_row

    def new(self, pieces: Iterable[Piece]) -> Iterator[Piece]:
        """The pieces that are not yet finished; others were made again for their edges alone."""
        for piece in pieces:
            if piece.number >= self._kept:
                yield piece
            elif self._carry is not None:
                self._carry.done(piece.number)

    def finish(self, piece: Piece) -> None:
        """To be called, in order, when all rasters hold a piece."""
        assert self._carry is not None
        at = (piece.row, piece.column, *piece.valid.shape)
        with disk_errors(self.out):
            record = Record(
                piece.number,
                at,
                piece.windows,
                piece.skipped,
                {path.name: raster.raw.checksum(*at) for path, raster in self._rasters.items()},
                self._carry.done(piece.number),
            )
            os.write(self._journal, _line(record).encode())
            self._finished += 1
            self._sync()

    def publish(self, makers: Mapping[Path, Callable[[Path], None]]) -> None:
        """Makes all files before the first gets its name; they get them in the order of `makers`.

        Args:
            makers: final name -> function that writes the file to the path it is given.
        """
        ready = self.folder / _READY
        if not self.publishing:
            with disk_errors(self.out):
                shutil.rmtree(ready, ignore_errors=True)
                ready.mkdir()
        for final, make in makers.items():
            if not (self.publishing and (final.exists() or (ready / final.name).exists())):
                with disk_errors(final):
                    make(ready / final.name)
                    _sync_file(ready / final.name)
        with disk_errors(self.out):
            write_json(self.folder / _DONE, [final.name for final in makers])
            for final in makers:
                if (ready / final.name).exists():
                    os.replace(ready / final.name, final)

    def _refuse_others(self) -> None:
        """Refuses a folder that does not say its job and holds more than a run that was killed at once."""
        if any(entry.name not in (LOCK, _JOURNAL) for entry in self.folder.iterdir()):
            raise SarcoverError(
                f"{self.folder} holds something that is not an unfinished map", do="remove it"
            ) from None

    def _is_true(self, record: Record) -> bool:
        """Whether a record is the next one, and the rasters hold what it says."""
        found = {path.name: raster.raw.checksum(*record.at) for path, raster in self._rasters.items()}
        return record.number == self._kept and record.pixels == found

    def _sync(self) -> None:
        if time.monotonic() - self._synced < _SYNC_SECONDS:
            return
        for raster in self._rasters.values():
            raster.raw.sync()
        assert self._carry is not None
        self._carry.sync()
        os.fsync(self._journal)
        self._synced = time.monotonic()


def _line(record: Record) -> str:
    return json.dumps(asdict(record), separators=(",", ":")) + "\n"


def _records(journal: Path) -> Iterator[tuple[Record, int]]:
    """The journal's lines up to the first that is not whole, and where in the file each one ends."""
    if not journal.exists():
        return
    end = 0
    with journal.open("rb") as lines:
        for line in lines:
            try:
                said = json.loads(line)
                record = Record(**{**said, "at": tuple(said["at"])})
            except (ValueError, TypeError, KeyError):
                return
            if not line.endswith(b"\n"):
                return
            end += len(line)
            yield record, end


def _sync_file(path: Path) -> None:
    file = os.open(path, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)
