"""Files that are not on a local disk, as GDAL's virtual file systems name them."""

from __future__ import annotations

import re
from pathlib import Path

_URL = re.compile(r"(https?|ftp|s3|gs|az):/+(.*)")
_STORES = {"s3": "vsis3", "gs": "vsigs", "az": "vsiaz"}


def is_remote(path: str | Path) -> bool:
    """Whether a name is a URL, or begins with /vsi: only GDAL can tell whether there is such a file."""
    text = str(path)
    return text.startswith("/vsi") or _URL.match(text) is not None


def exists(path: str | Path) -> bool:
    """Whether a file or folder may be there: on a local disk it is."""
    return is_remote(path) or Path(path).exists()


def gdal_name(path: str | Path) -> str:
    """A file's name as GDAL takes it.

    URLs become names of its virtual file systems: https://host/a.tif is /vsicurl/https://host/a.tif, and
    s3://bucket/a.tif is /vsis3/bucket/a.tif. The slashes that `Path` takes from a URL are put back.
    """
    text = str(path)
    if text.startswith("/vsicurl/") and (match := _URL.fullmatch(text.removeprefix("/vsicurl/"))):
        return f"/vsicurl/{match[1]}://{match[2]}"
    match = _URL.fullmatch(text)
    if match is None:
        return text
    scheme, rest = match.groups()
    return f"/{_STORES[scheme]}/{rest}" if scheme in _STORES else f"/vsicurl/{scheme}://{rest}"
