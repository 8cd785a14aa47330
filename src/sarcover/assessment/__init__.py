"""What mapping and evaluation wrote, assessed: comparison with a reference, pictures, the report."""

from sarcover.assessment.compare import compare, label_windows
from sarcover.assessment.pictures import Panel, class_panel, map_panel, radar_panel, reference_panel
from sarcover.assessment.report import write_report

__all__ = [
    "Panel",
    "class_panel",
    "compare",
    "label_windows",
    "map_panel",
    "radar_panel",
    "reference_panel",
    "write_report",
]
