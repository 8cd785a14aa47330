"""What file names say: polarisation and date; and the date among tags."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

POLARISATIONS = ("HH", "HV", "VH", "VV")

_POLARISATION = re.compile(rf"(?<![A-Za-z0-9])({'|'.join(POLARISATIONS)})(?![A-Za-z0-9])", re.IGNORECASE)
_DATE = re.compile(r"(?<!\d)(19\d\d|20\d\d)[-_]?(0[1-9]|1[0-2])[-_]?(0[1-9]|[12]\d|3[01])(?!\d)")
_SENTINEL = re.compile(r"(?<!\d)((?:19|20)\d{6})T\d{6}(?!\d)")
_ALOS2 = re.compile(r"ALOS2\d{9}-(\d{6})")


def polarisations(stem: str) -> list[str]:
    """The polarisations that a file's name, or a band's, holds as words of their own, in order."""
    return [p.upper() for p in _POLARISATION.findall(stem)]


def without_polarisation(stem: str) -> str:
    """The name with its polarisation replaced: files of one scene agree in it."""
    return _POLARISATION.sub("*", stem)


def date_in(name: str) -> datetime | None:
    """The acquisition date in a file's name: an ALOS-2 id (yymmdd), yyyymmdd or yyyy-mm-dd; else None."""
    if match := _ALOS2.search(name):
        return _parsed(f"20{match[1]}")
    if match := _SENTINEL.search(name):
        return _parsed(match[1])
    if match := _DATE.search(name):
        return _parsed("".join(match.groups()))
    return None


def acquisition(tags: Mapping[str, str], path: Path) -> datetime | None:
    """The date in a raster's tags, in the names of file or folder, or (often of processing) TIFF's own."""
    for key in ("ACQUIRED", "ACQUISITION_DATE", "ACQUISITIONDATE", "ACQUISITION_TIME", "DATETIME"):
        if date := parse_date(tags.get(key, "")):
            return date
    named = date_in(path.name) or date_in(path.resolve().parent.name)
    return named or parse_date(tags.get("TIFFTAG_DATETIME", ""))


def parse_date(text: str) -> datetime | None:
    """A date as metadata write it (ISO 8601, or TIFF's 2022:09:01 10:00:00), in UTC; None if it is none."""
    text = text.strip()
    if re.match(r"\d{4}:\d\d:\d\d", text):
        text = text[:10].replace(":", "-") + text[10:]
    try:
        date = datetime.fromisoformat(text)
    except ValueError:
        return None
    return date.replace(tzinfo=UTC) if date.tzinfo is None else date.astimezone(UTC)


def _parsed(digits: str) -> datetime | None:
    try:
        return datetime.strptime(digits, "%Y%m%d").replace(tzinfo=UTC)
    except ValueError:
        return None
