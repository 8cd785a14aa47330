"""Files into scenes: bands by polarisation, unit, mask, grid and time; read by windows, never whole."""

from sarcover.scene.grids import OnGrid
from sarcover.scene.opening import find_scenes, open_scene
from sarcover.scene.optical import Optical, open_optical
from sarcover.scene.optical_on_grid import OpticalOnGrid
from sarcover.scene.scene import Scene

__all__ = ["OnGrid", "Optical", "OpticalOnGrid", "Scene", "find_scenes", "open_optical", "open_scene"]
