"""ALOS PALSAR and ALOS-2 PALSAR-2 in CEOS format, levels 1.5, 2.1 and 3.1: IMG-HH-…, LED-… and VOL-… files.

sigma0 in dB = 20 log10(DN) + CF, CF the calibration factor of the leader's radiometric data record (JAXA,
"Calibration Result of ALOS-2/PALSAR-2 JAXA Standard Products"; PALSAR: Shimada et al., IEEE TGRS 47, 2009).

Positions of fields are those of JAXA's format descriptions: "ALOS-2/PALSAR-2 Level 1.1/1.5/2.1/3.1 CEOS SAR
Product Format Description" (2012, rev. F 2016) and "ALOS/PALSAR Level 1.1/1.5 product Format description"
(NEB-070062), which agree in all fields that are read here. In this file they count from 0, in the documents
from 1: the calibration factor of bytes 21-36 is [20:36].

GDAL reads the numbers, as raw data that a VRT describes. Its JAXAPALSAR driver is not used: it knows ALOS
but not ALOS-2 by name, begins one line too early, and places the right corners by the number of lines.
"""

from __future__ import annotations

import logging
import re
import struct
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from pyproj import Transformer
from rasterio.crs import CRS

from sarcover.errors import SarcoverError, UnreadableError
from sarcover.radar import ALOS2_CALIBRATION_DB
from sarcover.scene.gcps import ControlPoint, GcpPlacement
from sarcover.scene.layers import IncidenceLayer
from sarcover.scene.lut import Lut, LutIncidence
from sarcover.scene.product import Product
from sarcover.scene.raster import RasterFile
from sarcover.scene.scene import BandSource, Look, Pass
from sarcover.scene.units import Calibration

log = logging.getLogger("sarcover")

# IMG-HH-ALOS2041062800-150226-UBSR2.1GUD, IMG-HH-ALPSRP068040890-H1.5GUA
_IMAGE = re.compile(
    r"IMG-(?P<pol>HH|HV|VH|VV)-(?P<id>(?:ALOS2\d{9}-\d{6}-[A-Z]{3}(?P<look>[LR])|ALPSR[A-Z]\d{9}-[A-Z])"
    r"(?P<level>\d\.\d)(?P<option>[GR_])[A-Z_](?P<pass>[AD_]))$"
)
_FILE = re.compile(r"(IMG-(HH|HV|VH|VV)|LED|VOL|TRL)-(ALOS2\d|ALPSR)[\w.-]*$")
_DESCRIPTOR = 720  # bytes of the file descriptor record of leader and image
_PREFIX = 192  # bytes before the numbers in a processed data record
_RECORD = struct.Struct(">IBBBBI")  # number, subtype, type, two subtypes, length: the first 12 bytes of each
_SUMMARY, _PROJECTION, _RADIOMETRIC = 10, 20, 50  # types of the leader's records
_STRAIGHT = 0.5  # pixels by which the four corners may miss a grid
_NODES = 17  # pixels along a line at which incidence angles are computed
_PASS: dict[str, Pass] = {"A": "ascending", "D": "descending"}
_LOOK: dict[str, Look] = {"R": "right", "L": "left"}


@dataclass(frozen=True)
class Leader:
    """What is read of a leader file.

    Attributes:
        calibration_db: calibration factor, dB; None where the field is empty.
        acquired: time of the scene's centre, UTC.
        orbit: absolute orbit number.
        look: right or left, from the sensor's clock angle.
        flight: ascending or descending.
        incidence: angle at the scene's centre, degrees.
        polynomial: six coefficients of the incidence angle in radians, over the slant range in km.
        corners: latitude and longitude, degrees, of the centres of the corner pixels: top left, top right,
            bottom right, bottom left; None without a map projection record.
        spacing: of lines and of pixels, metres.
    """

    calibration_db: float | None
    acquired: datetime | None
    orbit: int | None
    look: Look | None
    flight: Pass | None
    incidence: float | None
    polynomial: tuple[float, ...]
    corners: tuple[tuple[float, float], ...] | None
    spacing: tuple[float, float] | None


@dataclass(frozen=True)
class Image:
    """Where the numbers lie in an image file.

    Attributes:
        path: the file.
        shape: lines and pixels.
        record: bytes from one line to the next.
    """

    path: Path
    shape: tuple[int, int]
    record: int

    def slant_ranges(self, line: int) -> NDArray[np.float64]:
        """Slant range to the first, middle and last pixel of a line, metres (bytes 65-76 of its record)."""
        with self.path.open("rb") as file:
            file.seek(_DESCRIPTOR + line * self.record + 64)
            return np.frombuffer(file.read(12), ">u4").astype(np.float64)


def key(name: str) -> str | None:
    """What the image files of one product share in their names; None for other files."""
    match = _IMAGE.match(name)
    return match["id"] if match else None


def is_file(name: str) -> bool:
    """Whether a file is one of a CEOS product's, by its name."""
    return _FILE.match(name) is not None


def product(paths: Sequence[Path]) -> Product | None:
    """The scene that these image files are, one a polarisation.

    Raises:
        SarcoverError: a leader that is missing or broken, a truncated image, or data that are complex.
    """
    found = {match["pol"]: (match, path) for path in paths if (match := _IMAGE.match(path.name))}
    if not found:
        return None
    match, path = next(iter(found.values()))
    if match["level"] in ("1.0", "1.1"):
        raise SarcoverError(
            f"{path} is level {match['level']}: raw or complex, in slant range",
            expected="level 1.5, 2.1 or 3.1",
            do="order the product at that level, or process it first",
        )
    leader = read_leader(path.with_name(f"LED-{match['id']}"))
    images = {pol: read_image(image) for pol, (_, image) in found.items()}
    shape = next(iter(images.values())).shape
    placed = _place(leader, shape, match["id"])
    grid = placed if isinstance(placed, tuple) else None
    folder = tempfile.TemporaryDirectory(prefix="sarcover-")
    alos2 = match["id"].startswith("ALOS2")
    return Product(
        name=match["id"],
        sensor=f"ALOS{'-2' if alos2 else ''} PALSAR{'-2' if alos2 else ''} L{match['level']} CEOS",
        paths=tuple(image.path for image in images.values()),
        sources={
            pol: BandSource(RasterFile(_describe(image, pol, grid, Path(folder.name))), 1)
            for pol, image in images.items()
        },
        calibration=Calibration("dn", _factor(leader, match["id"]), "sigma0"),
        acquired=leader.acquired,
        incidence=leader.incidence,
        incidence_layer=_angles(leader, next(iter(images.values()))) if match["option"] == "R" else None,
        pass_direction=leader.flight or _PASS.get(match["pass"]),
        look_direction=leader.look or _LOOK.get(match["look"] or ""),
        orbit=leader.orbit,
        nodata=0.0,
        ground=placed if isinstance(placed, GcpPlacement) else None,
        spacing=min(leader.spacing) if leader.spacing else None,
        keep=folder,
    )


def read_leader(path: Path) -> Leader:
    """The facts in a leader file.

    Raises:
        UnreadableError: it is missing, or lacks the data set summary record.
    """
    if not path.is_file():
        raise UnreadableError(
            f"{path} does not exist", expected="the leader file beside the image", do="download it again"
        )
    records = dict(reversed([*_records(path.read_bytes())]))  # the first of each type
    if _SUMMARY not in records or len(records[_SUMMARY]) < 2006:
        raise UnreadableError(
            f"{path} is no whole leader file", expected="a data set summary record", do="download it again"
        )
    summary = records[_SUMMARY]
    clock, flight = _float(summary[476:484]), _text(summary[1534:1542]).upper()
    corners, spacing = _projection(records.get(_PROJECTION, b""))
    polynomial = tuple(_float(summary[at : at + 20]) or 0.0 for at in range(1886, 2006, 20))
    orbit = _float(summary[444:452])
    return Leader(
        calibration_db=_float(records[_RADIOMETRIC][20:36]) if _RADIOMETRIC in records else None,
        acquired=_time(_text(summary[68:100])),
        orbit=int(orbit) if orbit else None,
        look=None if not clock else "right" if clock > 0 else "left",
        flight="ascending" if flight[:1] == "A" else "descending" if flight[:1] == "D" else None,
        incidence=_float(summary[484:492]) or None,
        polynomial=polynomial,
        corners=corners,
        spacing=spacing,
    )


def read_image(path: Path) -> Image:
    """Where the numbers lie in an image file.

    Raises:
        SarcoverError: it is truncated, or holds no 16-bit numbers.
    """
    with path.open("rb") as file:
        head = file.read(_DESCRIPTOR)
    if len(head) < _DESCRIPTOR:
        raise UnreadableError(f"{path} is truncated", expected="a file descriptor of 720 bytes")
    record, bits, group, lines, pixels = (
        int(_float(head[first:last]) or 0)
        for first, last in ((186, 192), (216, 220), (220, 224), (236, 244), (248, 256))
    )
    if (bits, group) != (16, 1):
        raise SarcoverError(
            f"{path}: its numbers", expected="16-bit digital numbers", got=f"{bits} bits in groups of {group}"
        )
    if lines < 1 or pixels < 1 or record < _PREFIX + 2 * pixels:
        raise UnreadableError(
            f"{path}: its file descriptor makes no sense",
            got=f"{lines} lines of {pixels} pixels in records of {record} bytes",
        )
    size, expected = path.stat().st_size, _DESCRIPTOR + lines * record
    if size < expected:
        raise UnreadableError(
            f"{path} is truncated", expected=f"{expected} bytes", got=f"{size}", do="download it again"
        )
    return Image(path, (lines, pixels), record)


def _records(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Types and contents of the records after the file descriptor, as far as they are whole."""
    at = _DESCRIPTOR
    while at + _RECORD.size <= len(data):
        _, _, kind, _, _, length = _RECORD.unpack_from(data, at)
        if length < _RECORD.size or at + length > len(data):
            return
        yield kind, data[at : at + length]
        at += length


def _projection(
    record: bytes,
) -> tuple[tuple[tuple[float, float], ...] | None, tuple[float, float] | None]:
    """Corners and spacing of the map projection data record."""
    numbers = [_float(record[at : at + 16]) for at in range(1072, 1200, 16)]
    known = [number for number in numbers if number is not None]
    corners = tuple(zip(known[::2], known[1::2], strict=True)) if len(known) == 8 and any(known) else None
    line, pixel = _float(record[92:108]), _float(record[108:124])
    return corners, (line, pixel) if line and pixel else None


def _factor(leader: Leader, name: str) -> float:
    factor = leader.calibration_db
    if factor is None or not -140 < factor < -20:
        log.warning(
            "%s: its leader has no calibration factor that can be one (%s); %g dB is taken",
            name,
            factor,
            ALOS2_CALIBRATION_DB,
        )
        return ALOS2_CALIBRATION_DB
    return factor


def _place(leader: Leader, shape: tuple[int, int], name: str) -> tuple[CRS, Affine] | GcpPlacement:
    """Coordinate system and transform (turned, for images along the orbit), or else the corners."""
    if leader.corners is None:
        raise UnreadableError(
            f"{name}: its leader does not place it", expected="corner coordinates in a map projection record"
        )
    height, width = shape
    pixels = ((0.5, 0.5), (0.5, width - 0.5), (height - 0.5, width - 0.5), (height - 0.5, 0.5))
    points = [
        ControlPoint(row, col, lon, lat)
        for (row, col), (lat, lon) in zip(pixels, leader.corners, strict=True)
    ]
    ground = GcpPlacement.of(points, shape, name)
    crs = ground.native_crs()
    lons, lats = [point.lon for point in points], [point.lat for point in points]
    x, y = Transformer.from_crs("EPSG:4326", crs.to_wkt(), always_xy=True).transform(lons, lats)
    matrix = np.array([[point.col, point.row, 1.0] for point in points])
    columns, *_ = np.linalg.lstsq(matrix, np.stack([x, y], 1), rcond=None)
    size = float(np.hypot(*columns[0]))
    missed = np.abs(matrix @ columns - np.stack([x, y], 1)).max()
    if not missed <= _STRAIGHT * size:
        log.warning("%s: its corners are no rectangle in %s; laid on it by them", name, crs.to_string())
        return ground
    (a, d), (b, e), (c, f) = columns.tolist()
    if max(abs(d), abs(b)) * max(shape) < 0.05 * size:  # north is up but for the corners' rounding
        b = d = 0.0
    return crs, Affine(a, b, c, d, e, f)


def _describe(image: Image, pol: str, grid: tuple[CRS, Affine] | None, folder: Path) -> Path:
    """Writes a VRT that tells GDAL where the numbers lie; the image is a link beside it."""
    link = folder / image.path.name
    link.symlink_to(image.path.resolve())
    height, width = image.shape
    placed = ""
    if grid is not None:
        wkt, transform = grid[0].to_wkt(), ", ".join(f"{each:.12g}" for each in grid[1].to_gdal())
        escaped = wkt.replace("&", "&amp;").replace("<", "&lt;")
        placed = f"<SRS>{escaped}</SRS><GeoTransform>{transform}</GeoTransform>"
    text = (
        f'<VRTDataset rasterXSize="{width}" rasterYSize="{height}">{placed}'
        f'<VRTRasterBand dataType="UInt16" band="1" subClass="VRTRawRasterBand">'
        f"<Description>{pol}</Description><NoDataValue>0</NoDataValue>"
        f'<SourceFilename relativeToVRT="1">{link.name}</SourceFilename>'
        f"<ImageOffset>{_DESCRIPTOR + _PREFIX}</ImageOffset><PixelOffset>2</PixelOffset>"
        f"<LineOffset>{image.record}</LineOffset><ByteOrder>MSB</ByteOrder>"
        f"</VRTRasterBand></VRTDataset>"
    )
    path = folder / f"{image.path.name}.vrt"
    path.write_text(text, encoding="utf-8")
    return path


def _angles(leader: Leader, image: Image) -> IncidenceLayer | None:
    """Incidence angles of an image whose columns are ranges: the leader's polynomial over the slant range.

    The slant range along a line is the parabola through its first, middle and last pixel.
    """
    height, width = image.shape
    pixels = np.linspace(0, width - 1, _NODES)
    vectors = []
    for line in sorted({0, height // 2, height - 1}):
        ranges = image.slant_ranges(line) / 1000
        if not (ranges[0] > 0 and (np.diff(ranges) > 0).all()):
            return None
        parabola = np.polynomial.Polynomial.fit([0, (width - 1) / 2, width - 1], ranges, 2)
        degrees = np.degrees(np.polynomial.Polynomial(leader.polynomial)(parabola(pixels)))
        vectors.append((float(line), pixels, degrees))
    middle = float(vectors[len(vectors) // 2][2][_NODES // 2])
    if not 5 < middle < 85 or (leader.incidence is not None and abs(middle - leader.incidence) > 3):
        log.warning("%s: its incidence polynomial gives %.1f degrees; not used", image.path.name, middle)
        return None
    return LutIncidence(Lut.of(vectors, str(image.path)), image.shape)


def _text(field: bytes) -> str:
    return field.decode("ascii", errors="replace").strip(" \0")


def _float(field: bytes) -> float | None:
    """A number as CEOS writes it (Fortran's D is an exponent); None where the field is empty or none."""
    try:
        number = float(_text(field).replace("D", "E").replace("d", "e"))
    except ValueError:
        return None
    return number if np.isfinite(number) else None


def _time(text: str) -> datetime | None:
    """YYYYMMDDhhmmssttt, UTC."""
    digits = re.match(r"(\d{14})(\d{0,3})", text)
    if digits is None:
        return None
    try:
        time = datetime.strptime(digits[1], "%Y%m%d%H%M%S").replace(tzinfo=UTC)
    except ValueError:
        return None
    return time + timedelta(milliseconds=int(digits[2].ljust(3, "0") or 0))
