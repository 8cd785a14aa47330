"""Data sets that are gathered, not shipped: radar and optical images for labels that are published alone."""

from __future__ import annotations

from typing import Any

from sarcover.collect.dynamic_world_plus import collect_dynamic_world_plus
from sarcover.config import CollectSettings

__all__ = ["collect"]


def collect(settings: CollectSettings) -> dict[str, Any]:
    """Gathers the data set that `settings.name` names; see `dynamic_world_plus`."""
    return collect_dynamic_world_plus(settings)
