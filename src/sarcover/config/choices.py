"""What a setting may be, where that is one of a few words."""

from typing import Literal

Unit = Literal["dn", "linear_power", "amplitude", "db", "uncalibrated"]
Split = Literal["train", "val", "test"]
Season = Literal["djf", "mam", "jja", "son"]
CollectionName = Literal[
    "whu-opt-sar",
    "openearthmap-sar",
    "pie-rgb-sar",
    "hrlulc-alos2",
    "dynamic-world",
    "sen1floods11",
    "sen1floods11-bolivia",
    "ombria",
    "ombria-2021",
    "terramesh",
    "folders",
]
Size = Literal["tiny", "small", "base", "large", "huge"]
Device = Literal["auto", "cpu", "cuda", "mps"]
Precision = Literal["float32", "bf16"]
Runtime = Literal["auto", "torch", "onnx", "openvino"]
Turns = Literal["all", "passes", "look"]
Augmentation = Literal["none", "look", "flips", "dihedral"]
Combine = Literal["newest", "first", "average"]
MaskKind = Literal["shadow", "layover", "ocean"]
Layer = Literal["confidence", "entropy", "margin", "probabilities"]
PolygonFormat = Literal["none", "gpkg", "parquet"]
