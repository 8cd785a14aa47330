"""What is written of a map, and where: the map, what lies beside it, and what is done to it at the end."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sarcover.config import Layer, PolygonFormat
from sarcover.errors import SarcoverError
from sarcover.mapping.layers import KINDS, layer_path

_BESIDE = (".json", ".qml", ".xml", ".gpkg", ".parquet")


@dataclass(frozen=True)
class Outputs:
    """The files of a map.

    Attributes:
        out: the map.
        layers: rasters of how sure the model is, in a fixed order, each once.
        sieve: smallest object of the map, pixels; below 2 for all.
        polygons: whether and how the map is also written as polygons.
        min_area: smallest polygon, pixels; below 2 for all.
        simplify: how far the polygons' borders are simplified, pixels.

    Raises:
        SarcoverError: a number below 0, or a map whose name is that of another file beside it.
    """

    out: Path
    layers: tuple[Layer, ...] = ()
    sieve: int = 0
    polygons: PolygonFormat = "none"
    min_area: int = 0
    simplify: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "layers", tuple(name for name in KINDS if name in self.layers))
        if self.out.suffix.lower() in _BESIDE:
            raise SarcoverError(
                f"{self.out} is no name for a map", expected="a GeoTIFF", do=f"write to {self.item.stem}.tif"
            )
        for name in ("sieve", "min_area", "simplify"):
            value = getattr(self, name)
            if not value >= 0:
                raise SarcoverError(name, expected="0 or more pixels", got=f"{value:g}")
        if self.polygons == "none" and (self.min_area or self.simplify):
            raise SarcoverError(
                "min_area and simplify are for polygons",
                do="add --polygons gpkg or parquet, or --sieve for the map itself",
            )

    @property
    def item(self) -> Path:
        """The STAC item."""
        return self.out.with_suffix(".json")

    @property
    def style(self) -> Path:
        """How QGIS shows the map."""
        return self.out.with_suffix(".qml")

    @property
    def class_names(self) -> Path:
        """GDAL's side file."""
        return self.out.with_name(self.out.name + ".aux.xml")

    @property
    def vector(self) -> Path | None:
        """The polygons."""
        return None if self.polygons == "none" else self.out.with_suffix(f".{self.polygons}")

    def layer(self, name: Layer) -> Path:
        """One of the layers."""
        return layer_path(self.out, name)

    def layer_style(self, name: Layer) -> Path:
        """How QGIS shows it."""
        return self.layer(name).with_suffix(".qml")

    @property
    def files(self) -> list[Path]:
        """All of them, the map first; GDAL's side file comes without being asked for."""
        layers = [path for name in self.layers for path in (self.layer(name), self.layer_style(name))]
        return [self.out, self.style, self.item, *layers, *([] if self.vector is None else [self.vector])]
