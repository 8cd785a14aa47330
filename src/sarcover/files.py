"""Files that are whole or not there: temporary names, then a rename."""

from __future__ import annotations

import errno
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sarcover.errors import SarcoverError


def refuse_existing(path: str | Path, overwrite: bool) -> Path:
    """`path` as a Path; refused if something is there already and `overwrite` is off."""
    path = Path(path)
    if path.exists() and not overwrite:
        raise SarcoverError(f"{path} exists already", do="choose another name or add --overwrite")
    return path


@contextmanager
def disk_errors(path: str | Path) -> Iterator[None]:
    """Turns what the disk can do to us (full, read-only, no such folder) into one line for the user."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise SarcoverError(f"{path}: the disk is full", do="free some space and run again") from error
        if error.errno in (errno.EACCES, errno.EROFS, errno.ENOTDIR, errno.EPERM):
            raise SarcoverError(f"{path}: cannot be written ({error.strerror})") from error
        raise


@contextmanager
def atomic_file(final: str | Path) -> Iterator[Path]:
    """A temporary path beside `final` (same suffix) that becomes `final` when the block ends well.

    A block that fails or is interrupted leaves nothing under the final name.
    """
    final = Path(final)
    with disk_errors(final):
        final.parent.mkdir(parents=True, exist_ok=True)
        temporary = final.with_name(f".{final.stem}.{os.getpid()}.part{final.suffix}")
        try:
            yield temporary
            os.replace(temporary, final)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(final: str | Path, *, overwrite: bool = False) -> Iterator[Path]:
    """The same for a folder: filled under a temporary name, renamed when the block ends well."""
    final = refuse_existing(final, overwrite)
    with disk_errors(final):
        final.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{final.name}.", suffix=".part", dir=final.parent))
        temporary.chmod(0o777 & ~_umask())
        try:
            yield temporary
            if final.is_dir():
                shutil.rmtree(final)
            elif final.exists():
                final.unlink()
            os.replace(temporary, final)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def write_json(path: str | Path, value: Any) -> None:
    """`value` as indented JSON, atomically."""
    with atomic_file(path) as temporary:
        temporary.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def read_json(path: str | Path) -> Any:
    """A JSON file; missing or broken ones are errors of the user's input."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise SarcoverError(f"{path} does not exist") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise SarcoverError(f"{path} is not valid JSON", got=str(error)) from error
