"""The typed settings of every job: one frozen dataclass a verb.

`cli.py` makes flags, help and YAML keys of them; the functions that do the work take them as they are.
This room knows nobody.
"""

from sarcover.config.choices import (
    Augmentation,
    CollectionName,
    Combine,
    Device,
    Layer,
    MaskKind,
    PolygonFormat,
    Precision,
    Runtime,
    Season,
    Size,
    Split,
    Turns,
    Unit,
)
from sarcover.config.data import (
    CollectSettings,
    InfoSettings,
    PrepareSettings,
    SimulateSettings,
    StoreFilterSettings,
    StoreMergeSettings,
    StoreShowSettings,
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
    "CollectSettings",
    "CollectionName",
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
    "MaskKind",
    "PolygonFormat",
    "Precision",
    "PrepareSettings",
    "PretrainSettings",
    "Runtime",
    "Season",
    "SimulateSettings",
    "Size",
    "Split",
    "StoreFilterSettings",
    "StoreMergeSettings",
    "StoreShowSettings",
    "Turns",
    "Unit",
]
