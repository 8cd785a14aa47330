"""A folder that one process at a time works in."""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import socket
from pathlib import Path

from sarcover.errors import SarcoverError

logger = logging.getLogger(__name__)

LOCK = "lock"
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


def _is(path: Path, file: int) -> bool:
    """Whether the path still names the open file."""
    try:
        return os.path.samestat(path.stat(), os.fstat(file))
    except FileNotFoundError:
        return False
