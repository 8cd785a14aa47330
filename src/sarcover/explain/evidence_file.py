"""The evidence file, read back: it may come from others, so its keys are checked first."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sarcover.errors import SarcoverError
from sarcover.explain.quantities import KEY
from sarcover.files import read_json

FORMAT, VERSION = "sarcover-evidence", 1

_AREA_ID = re.compile(r"map|tile-\d+-\d+|area-\d+")


def read_evidence(path: str | Path) -> dict[str, Any]:
    """An evidence file.

    Raises:
        SarcoverError: it is missing, broken, something else, or of another version.
    """
    content = read_json(path)
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise SarcoverError(f"{path} is no evidence", expected=f'a JSON object with "format": "{FORMAT}"')
    if content.get("version") != VERSION:
        raise SarcoverError(
            f"{path} is evidence of another version",
            expected=str(VERSION),
            got=str(content.get("version")),
            do="make it again with: sarcover explain --map",
        )
    if not _is_whole(content):
        raise SarcoverError(f"{path} is damaged", expected="areas and a legend as explain writes them")
    return content


def _is_whole(content: Mapping[str, Any]) -> bool:
    """Whether a document has the parts that narrators stand on, under keys that explain writes."""
    try:
        classes, bands, areas = content["legend"]["classes"], content["bands"], content["areas"]
        keys = [*classes, *bands["radar"], *bands["optical"]]
        shares = [
            isinstance(values["pixels"], int) and key in classes
            for area in areas.values()
            for key, values in area.get("classes", {}).items()
        ]
        named = [isinstance(land["name"], str) for land in classes.values()]
        ids = [_AREA_ID.fullmatch(key) for key in areas]
    except (KeyError, TypeError, AttributeError):
        return False
    return bool(areas) and all(map(KEY.fullmatch, keys)) and all(ids) and all(shares) and all(named)
