"""The typed settings of every job: one frozen dataclass a verb.

`cli.py` makes flags, help and YAML keys of them; the functions that do the work take them as they are.
This room knows nobody.
"""

from sarcover.config.choices import (
    Augmentation,
    Combine,
    Device,
    Layer,
    PolygonFormat,
    Precision,
    Runtime,
    Size,
    Split,
    Unit,
)
from sarcover.config.data import (
    InfoSettings,
    PrepareSettings,
    SimulateSettings,
)
from sarcover.config.training import (
    EvaluateSettings,
    FinetuneSettings,
    ImportCheckpointSettings,
    PretrainSettings,
)
from sarcover.config.use import (
    DemoSettings,
    ExplainSettings,
    ExportSettings,
    MapSettings,
)

__all__ = [
    "Augmentation",
    "Combine",
    "DemoSettings",
    "Device",
    "EvaluateSettings",
    "ExplainSettings",
    "ExportSettings",
    "FinetuneSettings",
    "ImportCheckpointSettings",
    "InfoSettings",
    "Layer",
    "MapSettings",
    "PolygonFormat",
    "Precision",
    "PrepareSettings",
    "PretrainSettings",
    "Runtime",
    "SimulateSettings",
    "Size",
    "Split",
    "Unit",
]
