"""Small PALSAR products in CEOS format: volume, leader, image and trailer files with JAXA's records.

Records are filled by the byte positions of the format descriptions (1-based there and here), so the writer is
independent of the reader, which counts from 0.
"""

import struct
from pathlib import Path

import numpy as np

ALOS2 = "ALOS2041062800-150226-UBDR1.5RUA"
ALOS = "ALPSRP068040890-H1.5GUA"
CODES = {"summary": (18, 10, 18, 20), "projection": (18, 20, 18, 20), "platform": (18, 30, 18, 20),
         "attitude": (18, 40, 18, 20), "radiometric": (18, 50, 18, 20)}  # fmt: skip


def record(number, codes, length, fields):
    """fields: first byte (from 1) -> bytes or text."""
    data = bytearray(b" " * length)
    data[:12] = struct.pack(">IBBBBI", number, *codes, length)
    for first, content in fields.items():
        content = content if isinstance(content, bytes) else content.encode("ascii")
        data[first - 1 : first - 1 + len(content)] = content
    return bytes(data)


def leader(
    corners,
    *,
    factor="-82.3000000",
    clock="90.000",
    heading="ASCEND",
    incidence="36.300",
    polynomial=(),
    orbit="4106",
    time="20150226034512345",
    spacing=(6.25, 6.25),
):
    """corners: latitude and longitude of top left, top right, bottom right, bottom left."""
    summary = {
        21: "ALOS2041062800-150226", 69: time, 445: f"{orbit:>8}", 477: f"{clock:>8}",
        485: f"{incidence:>8}", 1535: f"{heading:<8}",
    }  # fmt: skip
    summary |= {1887 + 20 * k: f"{value:20.13E}" for k, value in enumerate(polynomial)}
    places = [number for corner in corners for number in corner]
    mapped = {93: f"{spacing[0]:16.7f}", 109: f"{spacing[1]:16.7f}"}
    mapped |= {1073 + 16 * k: f"{value:16.7f}" for k, value in enumerate(places)}
    parts = [
        record(1, (11, 192, 18, 18), 720, {49: "LED"}),
        record(2, CODES["summary"], 4096, summary),
        record(3, CODES["projection"], 1620, mapped),
        record(4, CODES["platform"], 4680, {}),
        record(5, CODES["attitude"], 16384, {}),
        record(6, CODES["radiometric"], 9860, {13: "   1   1", 21: f"{factor:>16}"}),
    ]
    return b"".join(parts)


def image(numbers, ranges=(0, 0, 0), bits=16, group=1):
    """numbers: (H, W); ranges: slant range of first, middle and last pixel, metres."""
    height, width = numbers.shape
    length = 192 + 2 * width + 12  # the records of real products may be longer than their pixels
    head = record(1, (50, 192, 18, 18), 720, {
        181: f"{height:6d}", 187: f"{length:6d}", 217: f"{bits:4d}", 221: f"{group:4d}", 225: f"{2:4d}",
        233: f"{1:4d}", 237: f"{height:8d}", 249: f"{width:8d}", 277: f"{180:4d}", 281: f"{2 * width:8d}",
        429: "IU2 ",
    })  # fmt: skip
    lines = []
    for number, line in enumerate(numbers.astype(">u2"), 1):
        prefix = {13: struct.pack(">II", number, 1), 65: struct.pack(">III", *map(int, ranges))}
        lines.append(record(number + 1, (50, 11, 18, 20), length, prefix | {193: line.tobytes()}))
    return head + b"".join(lines)


def write_ceos(folder, dn, corners, *, product=ALOS2, ranges=(0, 0, 0), **facts):
    """Writes VOL, LED, IMG and TRL of `dn`: polarisation -> (H, W) uint16; returns the folder."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"VOL-{product}").write_bytes(record(1, (192, 192, 18, 18), 360, {61: "AL"}))
    (folder / f"TRL-{product}").write_bytes(record(1, (63, 192, 18, 18), 720, {}))
    (folder / f"LED-{product}").write_bytes(leader(corners, **facts))
    for pol, numbers in dn.items():
        (folder / f"IMG-{pol}-{product}").write_bytes(image(np.asarray(numbers), ranges))
    return folder
