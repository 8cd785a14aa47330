"""sarcover: land-cover maps from radar (SAR) scenes.

The public names, and the rooms (`sarcover.radar` and so on), are loaded when they are first used, so that
`import sarcover` (and `sarcover --help`) stays quick.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import version as _version
from typing import TYPE_CHECKING, Any

__version__ = _version("sarcover")

_PUBLIC = {
    "SarcoverError": "sarcover.errors",
    "open_scene": "sarcover.scene",
    "load_legend": "sarcover.legend",
    "build_model": "sarcover.models",
    "load_model": "sarcover.bundle",
    "map_scene": "sarcover.mapping",
    "map_blocks": "sarcover.mapping",
}

_ROOMS = (
    "assessment", "bundle", "config", "legend", "losses", "mapping", "metrics", "models", "patches", "radar",
    "scene", "simulate", "training",
)  # fmt: skip

__all__ = [
    "SarcoverError",
    "__version__",
    "build_model",
    "load_legend",
    "load_model",
    "map_blocks",
    "map_scene",
    "open_scene",
]

if TYPE_CHECKING:
    from sarcover.bundle import load_model
    from sarcover.errors import SarcoverError
    from sarcover.legend import load_legend
    from sarcover.mapping import map_blocks, map_scene
    from sarcover.models import build_model
    from sarcover.scene import open_scene


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(import_module(_PUBLIC[name]), name)
    if name in _ROOMS:
        return import_module(f"sarcover.{name}")
    raise AttributeError(f"module 'sarcover' has no attribute {name!r}")
