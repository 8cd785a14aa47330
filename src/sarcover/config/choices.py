"""What a setting may be, where that is one of a few words."""

from typing import Literal

Unit = Literal["dn", "linear_power", "amplitude", "db", "uncalibrated"]
Split = Literal["train", "val", "test"]
Size = Literal["tiny", "small", "base"]
Device = Literal["auto", "cpu", "cuda", "mps"]
Precision = Literal["float32", "bf16"]
Runtime = Literal["auto", "torch", "onnx", "openvino"]
Augmentation = Literal["none", "flips", "dihedral"]
Combine = Literal["newest", "first", "average"]
Layer = Literal["confidence", "entropy", "margin", "probabilities"]
PolygonFormat = Literal["none", "gpkg", "parquet"]
