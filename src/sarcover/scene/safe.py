"""Copernicus SAFE products, as a folder or a zip: their files by name, whichever of the two it is."""

from __future__ import annotations

import fnmatch
import re
import zipfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from xml.etree import ElementTree

from sarcover.errors import UnreadableError

_NAME = re.compile(r"S[12][A-D]_.*\.(SAFE|zip)$", re.IGNORECASE)
_RADAR = re.compile(r"S1[A-D]_", re.IGNORECASE)


def is_safe(path: Path) -> bool:
    """Whether a folder or zip is a Sentinel product, by its name or its manifest."""
    if _NAME.match(path.name):
        return True
    return path.is_dir() and (path / "manifest.safe").is_file()


def is_radar(path: Path) -> bool:
    """Whether a SAFE product is Sentinel-1's, by its name."""
    return _RADAR.match(path.name) is not None


@dataclass(frozen=True)
class Safe:
    """A SAFE product.

    Attributes:
        path: its folder, or the zip that holds it.
    """

    path: Path

    @property
    def name(self) -> str:
        """The product's name, without .SAFE or .zip."""
        return re.sub(r"\.(SAFE|zip)$", "", self.path.resolve().name, flags=re.IGNORECASE)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Its files, in order, relative to the folder with the manifest.

        Raises:
            SarcoverError: a zip that cannot be read.
        """
        return tuple(sorted(self._members))

    def find(self, pattern: str) -> list[str]:
        """The files that match a pattern (annotation/*-vv-*.xml), ignoring case; * also matches /."""
        return [name for name in self.names if fnmatch.fnmatch(name.lower(), pattern.lower())]

    def one(self, pattern: str) -> str:
        """The only file that matches.

        Raises:
            UnreadableError: there is none, or more than one.
        """
        found = self.find(pattern)
        if len(found) != 1:
            raise UnreadableError(
                f"{self.path} is not a whole product",
                expected=f"one file {pattern}",
                got=", ".join(found[:3]) or "none",
                do="download it again",
            )
        return found[0]

    def xml(self, name: str) -> ElementTree.Element:
        """The root of an XML file.

        Raises:
            SarcoverError: it cannot be read.
        """
        try:
            return ElementTree.fromstring(self._read(name))
        except (OSError, ElementTree.ParseError, zipfile.BadZipFile, EOFError, KeyError) as error:
            raise UnreadableError(
                f"{self.path}: {name} cannot be read", got=str(error), do="is the product complete?"
            ) from error

    def raster(self, name: str) -> Path:
        """A raster's name as GDAL takes it; the braces keep a path's slashes out of GDAL's own syntax."""
        inner = self._members[name]
        return Path(f"/vsizip/{{{self.path.resolve()}}}/{inner}") if self._zipped else Path(inner)

    @property
    def _zipped(self) -> bool:
        return not self.path.is_dir()

    @cached_property
    def _members(self) -> dict[str, str]:
        """Names relative to the product -> names as they are read."""
        if not self._zipped:
            files = (path for path in self.path.rglob("*") if path.is_file())
            return {path.relative_to(self.path).as_posix(): str(path) for path in files}
        try:
            with zipfile.ZipFile(self.path) as packed:
                names = [name for name in packed.namelist() if not name.endswith("/")]
        except (OSError, zipfile.BadZipFile) as error:
            raise UnreadableError(
                f"{self.path} cannot be read as a zip", got=str(error), do="is it complete?"
            ) from error
        tops = {PurePosixPath(name).parts[0] for name in names}
        top = f"{tops.pop()}/" if len(tops) == 1 else ""
        return {name.removeprefix(top): name for name in names}

    def _read(self, name: str) -> bytes:
        if not self._zipped:
            return Path(self._members[name]).read_bytes()
        with zipfile.ZipFile(self.path) as packed:
            return packed.read(self._members[name])
