"""Legends: what the codes of a land-cover raster mean, and which classes a model tells apart.

A legend is a table. The built-in ones are legends/*.yaml; a user's own YAML of the same form is as good:

    name: my-classes
    title: What it shows
    source: where codes, names and colours come from
    ignore: [0, 255]            # codes of the raster that mean no label
    classes:                    # in the order of the model's outputs
      - {code: 1, name: Water, colour: "#0000ff"}
      - {code: 2, name: Forest, colour: "#008800", sources: [6, 7, 8, 9, 11]}

`code` is what a map holds, `sources` are the raster's codes that become this class (default: `code` itself).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from sarcover.errors import SarcoverError
from sarcover.files import read_yaml

IGNORE = 255
"""No label: in label arrays, in maps, in losses and metrics."""

_MOST = 256  # unknown codes listed: every one of an 8-bit raster
_LARGEST = 2.0**53  # whole numbers beyond are not exact as floats
_STRANGE = 254  # no class of a legend of at most 254 classes
_CHUNK = 1 << 22  # pixels encoded at a time: keeps temporaries small beside the raster


@dataclass(frozen=True)
class LandClass:
    """One class.

    Attributes:
        code: what a map holds for it, 0 to 254.
        name: as shown to people.
        colour: "#rrggbb".
        sources: codes of the reference raster that become this class; 255 cannot be one.
    """

    code: int
    name: str
    colour: str
    sources: tuple[int, ...]


@dataclass(frozen=True)
class Legend:
    """The classes 0..K-1 of a model, in order, and how reference rasters and maps code them.

    Attributes:
        name: short name, or the stem of the user's file.
        title: one line for people.
        source: where codes, names and colours come from.
        classes: the K classes, at most 255.
        ignore: codes of the reference raster that mean no label; 255 always does.

    Raises:
        SarcoverError: when codes, names or source codes are used twice, or a colour is none.
    """

    name: str
    title: str
    source: str
    classes: tuple[LandClass, ...]
    ignore: tuple[int, ...] = field(default=())

    def __post_init__(self) -> None:
        _check(self)

    @property
    def num_classes(self) -> int:
        """K."""
        return len(self.classes)

    @property
    def names(self) -> list[str]:
        """Names in the order of the classes."""
        return [item.name for item in self.classes]

    @property
    def colours(self) -> list[str]:
        """Colours "#rrggbb" in the order of the classes."""
        return [item.colour for item in self.classes]

    @property
    def codes(self) -> list[int]:
        """Codes of a map in the order of the classes."""
        return [item.code for item in self.classes]

    def encode(self, raster: NDArray[Any], *, reuse: bool = False) -> NDArray[np.uint8]:
        """Classes of a reference raster.

        Args:
            raster: source codes, any shape, integers or floats with whole values; NaN means no label.
            reuse: the raster is not needed any more: its memory may become the result's.

        Returns:
            uint8 of the same shape: 0..K-1, or 255 where there is no label.

        Raises:
            SarcoverError: codes that the legend does not know, each with its number of pixels; fractions.
        """
        return self._translate(raster, self._from_sources, reuse)

    def index_of_codes(self, raster: NDArray[Any]) -> NDArray[np.uint8]:
        """Classes 0..K-1 or 255 of a map, the inverse of `decode`; errors as `encode`."""
        return self._translate(raster, self._from_codes)

    def decode(self, index: NDArray[Any]) -> NDArray[np.uint8]:
        """Codes that a map holds: classes 0..K-1 -> codes, 255 stays; uint8 of the same shape."""
        table = np.full(256, IGNORE, np.uint8)
        table[: self.num_classes] = self.codes
        return table[np.asarray(index, np.uint8)]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for YAML and JSON."""
        return {
            "name": self.name,
            "title": self.title,
            "source": self.source,
            "ignore": list(self.ignore),
            "classes": [
                {"code": item.code, "name": item.name, "colour": item.colour, "sources": list(item.sources)}
                for item in self.classes
            ],
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], *, where: str = "legend") -> Legend:
        """The inverse of `to_dict`; `where` names the file in errors about missing and unknown keys."""
        _check_keys(values, where, required=("classes",), optional=("name", "title", "source", "ignore"))
        rows = values["classes"]
        if not isinstance(rows, (list, tuple)):
            raise SarcoverError(f"{where}: classes", expected="a list", got=type(rows).__name__)
        name = str(values.get("name", where))
        return cls(
            name=name,
            title=str(values.get("title", name)),
            source=str(values.get("source", "")),
            classes=tuple(_land_class(row, f"{where}: class {number}") for number, row in enumerate(rows, 1)),
            ignore=_integers(values.get("ignore", ()), f"{where}: ignore"),
        )

    @cached_property
    def _from_sources(self) -> dict[int, int]:
        known = dict.fromkeys((IGNORE, *self.ignore), IGNORE)
        known.update((code, k) for k, item in enumerate(self.classes) for code in item.sources)
        return known

    @cached_property
    def _from_codes(self) -> dict[int, int]:
        return {IGNORE: IGNORE} | {item.code: k for k, item in enumerate(self.classes)}

    @cached_property
    def _made(self) -> dict[tuple[str, bool], _Table]:
        """Tables by type of raster, and whether they are of the codes of maps."""
        return {}

    def _translate(
        self, raster: NDArray[Any], known: dict[int, int], reuse: bool = False
    ) -> NDArray[np.uint8]:
        raster = np.asarray(raster)
        flat = raster.reshape(-1)
        kind = raster.dtype.str, known is self._from_codes
        if kind not in self._made:
            self._made[kind] = _Table(known, raster.dtype)
        table = self._made[kind]
        unknown: dict[int, int] = {}
        result = np.empty(flat.shape, np.uint8)
        for start in range(0, flat.size, _CHUNK):
            part = flat[start : start + _CHUNK]
            if part.dtype.kind == "f":
                part = self._whole_numbers(part)
            found, strange = table(part, reuse)
            if part.size == flat.size and not strange.size:
                return found.reshape(raster.shape)
            result[start : start + _CHUNK] = found
            if strange.size:
                for code, count in zip(*np.unique(strange, return_counts=True), strict=True):
                    unknown[int(code)] = unknown.get(int(code), 0) + int(count)
        if unknown:
            listed = ", ".join(f"{code} ({count} pixels)" for code, count in sorted(unknown.items())[:_MOST])
            listed += f" and {len(unknown) - _MOST} more codes" if len(unknown) > _MOST else ""
            raise SarcoverError(
                f"legend {self.name} does not know all codes of the raster",
                expected=", ".join(str(code) for code in sorted(known)),
                got=listed,
                do="choose the raster's own legend, or list these codes in a legend of your own",
            )
        return result.reshape(raster.shape)

    def _whole_numbers(self, part: NDArray[Any]) -> NDArray[np.int64]:
        part = np.where(np.isnan(part), IGNORE, part)
        broken = part[~np.isfinite(part) | (part != np.rint(part))]
        if broken.size:
            raise SarcoverError(
                f"legend {self.name}: the raster does not hold codes",
                expected="whole numbers",
                got=f"{broken[0]} and {broken.size - 1} more" if broken.size > 1 else str(broken[0]),
                do="give the class raster, not a continuous one",
            )
        whole: NDArray[np.int64] = np.clip(part, -_LARGEST, _LARGEST).astype(np.int64)
        return whole


class _Table:
    """code -> class for whole arrays: one look-up for 8- and 16-bit rasters, a search for wider ones."""

    def __init__(self, known: dict[int, int], dtype: np.dtype[Any]) -> None:
        if dtype.kind not in "biuf":
            raise SarcoverError("the raster does not hold codes", expected="numbers", got=str(dtype))
        self.codes = np.array(sorted(known), np.int64)
        self.classes = np.array([known[code] for code in sorted(known)], np.uint8)
        self.direct: tuple[NDArray[np.uint8], NDArray[np.bool_]] | None = None
        if dtype.kind in "iu" and dtype.itemsize <= 2:
            # Codes from 0 up, then the negative ones: where a negative index finds them.
            every = np.arange(1 << 8 * dtype.itemsize).astype(dtype)
            self.direct = self._search(every)
        self.bytes = b""  # as `direct`, _STRANGE for codes that are not known
        if dtype == np.uint8 and self.direct is not None and _STRANGE not in self.classes:
            table = np.where(self.direct[1], self.direct[0], _STRANGE).astype(np.uint8)
            self.bytes = table.tobytes()
            # code - class, modulo 256, and the last code of those in a row that are known and have the same.
            self.shift = np.arange(256, dtype=np.uint8) - table
            breaks = np.flatnonzero((np.diff(self.shift) != 0) | ~self.direct[1][1:] | ~self.direct[1][:-1])
            self.until = np.append(breaks, 255)[np.searchsorted(breaks, np.arange(256))]
            self.until[~self.direct[1]] = -1

    def __call__(self, part: NDArray[Any], reuse: bool = False) -> tuple[NDArray[np.uint8], NDArray[Any]]:
        """Classes of the codes, in their own memory to `reuse` it, and those codes that are not known."""
        if self.bytes and part.size:  # both ways several times as fast as indexing
            least = part.min()
            if part.max() <= self.until[least]:
                return np.subtract(part, self.shift[least], out=part if reuse else None), part[:0]
            translated = bytearray(part).translate(self.bytes)
            if bytes([_STRANGE]) not in translated:
                return np.frombuffer(translated, np.uint8), part[:0]
        classes, known = self._search(part) if self.direct is None else (table[part] for table in self.direct)
        return classes, part[~known] if not known.all() else part[:0]

    def _search(self, part: NDArray[Any]) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        codes = part.astype(np.int64)
        at = np.minimum(np.searchsorted(self.codes, codes), self.codes.size - 1)
        return self.classes[at], self.codes[at] == codes


def legend_names() -> list[str]:
    """Names of the built-in legends."""
    return sorted(
        item.name.removesuffix(".yaml") for item in _tables().iterdir() if item.name.endswith(".yaml")
    )


def load_legend(name_or_yaml: str | Path) -> Legend:
    """A built-in legend by name, or a user's YAML file.

    Raises:
        SarcoverError: no such name or file; a file that is not a legend.
    """
    given = str(name_or_yaml)
    if given in legend_names():
        return Legend.from_dict(yaml.safe_load((_tables() / f"{given}.yaml").read_text("utf-8")), where=given)
    path = Path(given)
    if not path.is_file():
        raise SarcoverError(
            f"legend {given} is not known",
            expected=f"one of {', '.join(legend_names())}, or a YAML file",
        )
    values = read_yaml(path)
    if not isinstance(values, dict):
        raise SarcoverError(f"{path} is not a legend", expected="keys name and classes")
    return Legend.from_dict({"name": path.stem, **values}, where=str(path))


def _tables() -> Any:
    return files("sarcover") / "legends"


def _land_class(row: Any, where: str) -> LandClass:
    _check_keys(row, where, required=("code", "name", "colour"), optional=("sources",))
    (code,) = _integers([row["code"]], f"{where}: code")
    sources = _integers(row.get("sources", (code,)), f"{where}: sources")
    return LandClass(code, str(row["name"]), str(row["colour"]).lower(), sources)


def _check_keys(values: Any, where: str, *, required: tuple[str, ...], optional: tuple[str, ...]) -> None:
    known = (*required, *optional)
    if not isinstance(values, Mapping):
        raise SarcoverError(where, expected=f"keys {', '.join(known)}", got=repr(values))
    missing = [key for key in required if key not in values]
    strange = [str(key) for key in values if key not in known]
    if missing or strange:
        got = [f"no {key}" for key in missing] + [f"the unknown key {key}" for key in strange]
        raise SarcoverError(where, expected=f"keys {', '.join(known)}", got=", ".join(got))


def _integers(values: Any, where: str) -> tuple[int, ...]:
    if not isinstance(values, (list, tuple)) or any(type(value) is not int for value in values):
        raise SarcoverError(where, expected="whole numbers", got=repr(values))
    return tuple(values)


def _check(legend: Legend) -> None:
    where, classes = f"legend {legend.name}", legend.classes
    if not 1 <= len(classes) <= IGNORE:
        raise SarcoverError(where, expected=f"1 to {IGNORE} classes", got=str(len(classes)))
    for item in classes:
        if not 0 <= item.code < IGNORE:
            raise SarcoverError(
                f"{where}: code of {item.name}", expected="0 to 254 (255 is nodata)", got=str(item.code)
            )
        if not re.fullmatch(r"#[0-9a-fA-F]{6}", item.colour):
            raise SarcoverError(f"{where}: colour of {item.name}", expected='"#rrggbb"', got=item.colour)
        if not item.name.strip() or not item.sources:
            raise SarcoverError(f"{where}: class {item.code}", expected="a name and at least one source code")
    sources = [code for item in classes for code in item.sources]
    _refuse_twice(legend.codes, f"{where}: code", "one class")
    _refuse_twice([name.casefold() for name in legend.names], f"{where}: name", "one class")
    _refuse_twice(sources, f"{where}: source code", "one class")
    _refuse_twice([*sources, *{*legend.ignore, IGNORE}], f"{where}: source code", "a class or no label")


def _refuse_twice(values: list[Any], what: str, where: str) -> None:
    twice = sorted({value for value in values if values.count(value) > 1})
    if twice:
        raise SarcoverError(f"{what} {twice[0]} stands twice", expected=f"each in {where} only")
