"""A folder that one process at a time works in, and that a killed one leaves for the next."""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import shutil
import socket
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from sarcover.errors import SarcoverError
from sarcover.files import read_json, write_json

logger = logging.getLogger(__name__)

LOCK, JOB = "lock", "job.json"
_NO_LOCKS = (errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK)  # some cluster file systems


def lock_folder(folder: Path, what: str) -> int:
    """Makes a folder if need be and takes its lock; the system lets go of it when the process dies.

    Args:
        folder: its parent is there.
        what: is being made in it, for messages.

    Returns:
        The lock, an open file: closing it gives it back.

    Raises:
        SarcoverError: another process holds it.
    """
    while True:
        folder.mkdir(exist_ok=True)
        try:
            lock = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except FileNotFoundError:  # another process has just finished and removed the folder
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in _NO_LOCKS:
                logger.warning("%s: this file system has no locks; let no other process make it", what)
                return lock
            if not isinstance(error, BlockingIOError):
                os.close(lock)
                raise
            holder = os.pread(lock, 200, 0).decode(errors="replace").strip()
            os.close(lock)
            raise SarcoverError(
                f"{what} is being made by another process", got=holder, do="wait for it, or write elsewhere"
            ) from error
        if _is(folder / LOCK, lock):
            os.ftruncate(lock, 0)
            os.pwrite(lock, f"process {os.getpid()} on {socket.gethostname()}\n".encode(), 0)
            return lock
        os.close(lock)


def take_up(
    folder: Path, what: str, job: Mapping[str, Any], without_job: Callable[[], None] = lambda: None
) -> tuple[int, bool]:
    """Takes a folder's lock; keeps its content if it is of this very job, else empties it.

    Args:
        folder: its parent is there.
        what: is being made in it, for messages.
        job: what is made, from what, how: plain values.
        without_job: is called where the folder does not say its job; it may refuse it.

    Returns:
        The lock, see `lock_folder`, and whether the content was kept.

    Raises:
        SarcoverError: another process holds the lock.
    """
    lock = lock_folder(folder, what)
    try:
        return lock, _is_of_job(folder, what, job, without_job)
    except BaseException:
        os.close(lock)
        raise


def discard(folder: Path, gone: Path) -> None:
    """Removes a folder under another name: a removal that was killed must not look like unfinished work."""
    shutil.rmtree(gone, ignore_errors=True)  # of such a one
    with suppress(OSError):
        os.replace(folder, gone)
    shutil.rmtree(gone, ignore_errors=True)


def _is_of_job(folder: Path, what: str, job: Mapping[str, Any], without_job: Callable[[], None]) -> bool:
    before = None
    try:
        before = read_json(folder / JOB)
    except SarcoverError:
        without_job()
    if before == job:
        return True
    if before is not None:
        changed = [key for key in job if before.get(key) != job[key]]
        logger.warning("%s: starts over, for %s changed", what, ", ".join(changed) or "the job")
    for entry in folder.iterdir():
        if entry.is_dir():
            shutil.rmtree(entry)
        elif entry.name != LOCK:
            entry.unlink()
    write_json(folder / JOB, job)
    return False


def _is(path: Path, file: int) -> bool:
    """Whether the path still names the open file."""
    try:
        return os.path.samestat(path.stat(), os.fstat(file))
    except FileNotFoundError:
        return False
