"""From a scene and a model to a land-cover map, streamed window by window."""

from sarcover.mapping.blocks import Block, map_blocks
from sarcover.mapping.cog import read_legend
from sarcover.mapping.fleet import FleetResult
from sarcover.mapping.predict import map_scene, map_with
from sarcover.mapping.result import MapResult

__all__ = ["Block", "FleetResult", "MapResult", "map_blocks", "map_scene", "map_with", "read_legend"]
