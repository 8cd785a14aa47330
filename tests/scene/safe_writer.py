"""Small Sentinel-1 GRD products of the layout that ESA delivers."""

import zipfile
from pathlib import Path

import numpy as np
import rasterio
from rasterio.control import GroundControlPoint
from rasterio.crs import CRS

NAME = "S1A_IW_GRDH_1SDV_20220901T205432_20220901T205457_044823_055A3C_1F2E"
LINES = (0, 17, 40, 59)
PIXELS = (0, 25, 50, 79)


def gamma(line, pixel):
    """A of the calibration: bilinear, so that a table of it is exact everywhere."""
    return 500.0 + 0.5 * line + 1.0 * pixel + 0.01 * line * pixel


def range_noise(line, pixel):
    return 20000.0 + 30.0 * line + 10.0 * pixel


def azimuth_noise(line):
    return 1.0 + 0.005 * line


def incidence(line, pixel):
    return 30.0 + 0.1 * pixel + 0.0 * line


def _list(numbers):
    return f'<x count="{len(numbers)}">{" ".join(f"{n:.10g}" for n in numbers)}</x>'


def _tag(tag, numbers):
    return _list(numbers).replace("<x", f"<{tag}").replace("</x>", f"</{tag}>")


def annotation(pol, shape, place, spacing=10.0, grid=(LINES, PIXELS)):
    """place(line, pixel) -> longitude, latitude of the middle of a pixel."""
    points = []
    for line in grid[0]:
        for pixel in grid[1]:
            lon, lat = place(line, pixel)
            points.append(
                f"<geolocationGridPoint><line>{line}</line><pixel>{pixel}</pixel><latitude>{lat:.12f}</latitude>"
                f"<longitude>{lon:.12f}</longitude><height>0</height>"
                f"<incidenceAngle>{incidence(line, pixel):.10f}</incidenceAngle></geolocationGridPoint>"
            )
    return f"""<?xml version="1.0" encoding="UTF-8"?><product><adsHeader><missionId>S1A</missionId>
    <productType>GRD</productType><polarisation>{pol}</polarisation><mode>IW</mode>
    <startTime>2022-09-01T20:54:32.123456</startTime><stopTime>2022-09-01T20:54:57.1</stopTime>
    <absoluteOrbitNumber>44823</absoluteOrbitNumber></adsHeader>
    <generalAnnotation><productInformation><pass>Ascending</pass></productInformation></generalAnnotation>
    <imageAnnotation><imageInformation><rangePixelSpacing>{spacing}</rangePixelSpacing>
    <azimuthPixelSpacing>{spacing}</azimuthPixelSpacing><numberOfSamples>{shape[1]}</numberOfSamples>
    <numberOfLines>{shape[0]}</numberOfLines></imageInformation></imageAnnotation>
    <geolocationGrid><geolocationGridPointList>{"".join(points)}</geolocationGridPointList></geolocationGrid>
    </product>"""


def calibration():
    vectors = "".join(
        f"<calibrationVector><line>{line}</line>{_tag('pixel', PIXELS)}"
        f"{_tag('sigmaNought', [1.0] * len(PIXELS))}{_tag('gamma', [gamma(line, p) for p in PIXELS])}"
        f"</calibrationVector>"
        for line in LINES
    )
    return f"<calibration><calibrationVectorList>{vectors}</calibrationVectorList></calibration>"


def noise(old=False):
    """Since IPF 2.9 along range and azimuth; before that along range alone."""
    kind, values = ("noiseVector", "noiseLut") if old else ("noiseRangeVector", "noiseRangeLut")
    vectors = "".join(
        f"<{kind}><line>{line}</line>{_tag('pixel', PIXELS)}"
        f"{_tag(values, [range_noise(line, p) for p in PIXELS])}</{kind}>"
        for line in LINES
    )
    azimuth = "" if old else (
        "<noiseAzimuthVectorList>"
        + "".join(
            f"<noiseAzimuthVector><swath>IW{n}</swath><firstAzimuthLine>0</firstAzimuthLine>"
            f"<firstRangeSample>{first}</firstRangeSample><lastAzimuthLine>59</lastAzimuthLine>"
            f"<lastRangeSample>{last}</lastRangeSample>{_tag('line', LINES)}"
            f"{_tag('noiseAzimuthLut', [azimuth_noise(line) for line in LINES])}</noiseAzimuthVector>"
            for n, (first, last) in enumerate(((0, 39), (40, 79)), 1)
        )
        + "</noiseAzimuthVectorList>"
    )  # fmt: skip
    return f"<noise><list>{vectors}</list>{azimuth}</noise>"


MANIFEST = """<?xml version="1.0"?><xfdu:XFDU xmlns:xfdu="urn:ccsds:schema:xfdu:1" xmlns:s="urn:s1">
<s:orbitReference><s:relativeOrbitNumber type="start">126</s:relativeOrbitNumber>
<s:relativeOrbitNumber type="stop">126</s:relativeOrbitNumber></s:orbitReference></xfdu:XFDU>"""


def write_grd(folder, dn, place, *, name=NAME, old_noise=False, **options):
    """Writes a product of `dn`: polarisation -> (60, 80) uint16, and returns its folder."""
    root = Path(folder, f"{name}.SAFE")
    for inner in ("annotation/calibration", "measurement", "preview"):
        (root / inner).mkdir(parents=True)
    (root / "manifest.safe").write_text(MANIFEST)
    for number, (pol, values) in enumerate(dn.items(), 1):
        stem = f"s1a-iw-grd-{pol.lower()}-20220901t205432-20220901t205457-044823-055a3c-{number:03d}"
        (root / f"annotation/{stem}.xml").write_text(annotation(pol, values.shape, place, **options))
        (root / f"annotation/calibration/calibration-{stem}.xml").write_text(calibration())
        (root / f"annotation/calibration/noise-{stem}.xml").write_text(noise(old_noise))
        gcps = [GroundControlPoint(line, pixel, *place(line, pixel), 0) for line in LINES for pixel in PIXELS]
        with rasterio.open(
            root / f"measurement/{stem}.tiff", "w", driver="GTiff", count=1, dtype="uint16",
            height=values.shape[0], width=values.shape[1], gcps=gcps, crs=CRS.from_epsg(4326),
        ) as file:  # fmt: skip
            file.write(np.asarray(values, np.uint16), 1)
    return root


def zipped(root):
    """The product as the hubs deliver it: a zip with the .SAFE folder in it."""
    path = root.with_suffix(".zip")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(root.rglob("*")):
            archive.write(file, file.relative_to(root.parent))
    return path
