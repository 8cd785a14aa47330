"""From a scene and a model to a land-cover map, streamed window by window."""

from sarcover.mapping.cog import read_legend
from sarcover.mapping.predict import MapResult, map_scene, map_with

__all__ = ["MapResult", "map_scene", "map_with", "read_legend"]
