"""Many scenes into one map of many tiles, by this process or by a cluster: one unit of work a tile.

A unit is idempotent: what it makes depends on nothing but the tile, its scenes and the settings, and it is
finished when its files lie under their final names. So it does not matter which machine makes it, how often
it is begun, or what dies meanwhile.
"""

from sarcover.mapping.fleet.result import FleetResult
from sarcover.mapping.fleet.run import is_fleet, map_fleet

__all__ = ["FleetResult", "is_fleet", "map_fleet"]
