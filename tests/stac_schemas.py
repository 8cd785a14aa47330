"""STAC validation without a network: pystac's own schemas, and those in tests/schemas."""

import json
from pathlib import Path
from typing import Any

import pystac
from pystac.validation import validate_dict
from pystac.validation.stac_validator import JsonSchemaSTACValidator

SCHEMAS = Path(__file__).parent / "schemas"


def validate(content: dict[str, Any]) -> list[str]:
    """Raises where an item or collection breaks its schemas; the addresses of those it was held against."""
    validator = JsonSchemaSTACValidator()
    for path in SCHEMAS.glob("*.json"):
        schema = json.loads(path.read_text(encoding="utf-8"))
        validator.schema_cache[schema["$id"]] = schema
    plain = json.loads(json.dumps(content, allow_nan=False))
    unknown = set(plain["stac_extensions"]) - set(validator.schema_cache)
    assert not unknown, f"{unknown} would be fetched from the network"
    held: list[str] = validate_dict(plain, validator=validator)  # as it is: from_dict would update it
    read = pystac.Collection if plain["type"] == "Collection" else pystac.Item
    read.from_dict(plain)
    return held
