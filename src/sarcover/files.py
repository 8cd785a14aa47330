"""Files that are whole or not there: temporary names, then a rename."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from sarcover.errors import SarcoverError


def refuse_existing(path: str | Path, overwrite: bool) -> Path:
    """`path` as a Path; refused if something is there already and `overwrite` is off."""
    path = Path(path)
    if path.exists() and not overwrite:
        raise SarcoverError(f"{path} exists already", do="choose another name or add --overwrite")
    return path


def sha256(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def is_full(error: Exception) -> bool:
    """Whether an error says that there is no room for what is written."""
    return isinstance(error, OSError) and error.errno in _FULL


@contextmanager
def disk_errors(path: str | Path) -> Iterator[None]:
    """Turns what the disk can do to us (full, read-only, no such folder) into one line for the user."""
    try:
        yield
    except OSError as error:
        if is_full(error):
            raise SarcoverError(f"{path}: the disk is full", do="free some space and run again") from error
        raise SarcoverError(f"{path}: {error.strerror or error}") from error


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
def atomic_folder(
    final: str | Path, *, marker: str | tuple[str, ...], overwrite: bool = False
) -> Iterator[Path]:
    """The same for a folder: filled under a temporary name, renamed when the block ends well.

    Args:
        final: the folder.
        marker: names that are in every folder of this kind; one that lacks them is somebody else's work and
            is never replaced, unless it is empty.
        overwrite: replace an existing folder; until the new one is in its place the old one is kept.
    """
    markers = (marker,) if isinstance(marker, str) else marker
    with disk_errors(final):
        final = _replaceable(final, markers, overwrite)
        final.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{final.name}.", suffix=".part", dir=final.parent))
        temporary.chmod(0o777 & ~_umask())
        try:
            yield temporary
            _take_the_place(temporary, _replaceable(final, markers, overwrite))
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def replaceable_folder(final: str | Path, marker: str, *, overwrite: bool = False) -> Path:
    """Where a folder may be written, links followed; refused as in `atomic_folder`."""
    return _replaceable(final, (marker,), overwrite)


def publish_folder(folder: Path, final: str | Path, marker: str, *, overwrite: bool = False) -> None:
    """Gives a finished folder its final name, beside which it lies; refused as in `atomic_folder`."""
    with disk_errors(final):
        _take_the_place(folder, _replaceable(final, (marker,), overwrite))


def _replaceable(path: str | Path, markers: tuple[str, ...], overwrite: bool) -> Path:
    """Where a folder may be written, links followed; refused if somebody else's work is there."""
    final = refuse_existing(path, overwrite).resolve()
    if final.exists() and not final.is_dir():
        raise SarcoverError(f"{path} is a file", expected="a folder", do="choose another name")
    missing = [name for name in markers if not (final / name).exists()]
    if missing and final.exists() and any(final.iterdir()):
        raise SarcoverError(
            f"{path} is not replaced, for it holds something else",
            expected=f"a folder with {' and '.join(markers)}",
            do="choose another name",
        )
    return final


def _take_the_place(new: Path, final: Path) -> None:
    """Renames `new` to `final`; what was there goes last, and comes back if that fails."""
    old = new.with_name(f"{new.name}.old")
    try:
        if final.exists():
            os.replace(final, old)
        os.replace(new, final)
    except BaseException:
        if old.exists() and not final.exists():
            os.replace(old, final)
        raise
    if old.exists():
        shutil.rmtree(old)


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


def read_yaml(path: str | Path, *, do: str = "") -> Any:
    """A YAML file, likewise; `do` is what the user can do about a broken one."""
    try:
        return yaml.load(Path(path).read_text(encoding="utf-8"), Loader=_YAML_LOADER)
    except FileNotFoundError as error:
        raise SarcoverError(f"{path} does not exist") from error
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        raise SarcoverError(f"{path} is not valid YAML", got=str(error), do=do) from error


# The C loader reads the hashes of a national store in a second, the Python one in a minute.
_YAML_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
