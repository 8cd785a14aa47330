"""Which known product files are: each has its reader, which says what its numbers are."""

from __future__ import annotations

import logging
import tarfile
import tempfile
import zipfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from sarcover.errors import SarcoverError, UnreadableError
from sarcover.files import is_full
from sarcover.scene import ceos, jaxa, rtc, sentinel1
from sarcover.scene.product import Product
from sarcover.scene.safe import is_safe

log = logging.getLogger("sarcover")

_BY_NAME = (jaxa, ceos, rtc)  # readers of products that are files in a folder
_ARCHIVES = (".tar.gz", ".tgz", ".tar", ".zip")
_UNPACKED = (".tif", ".tiff", ".txt", ".hdr")


def recognise(paths: Sequence[Path]) -> Product | None:
    """The known product that a folder, an archive or files are; None if they are none.

    Raises:
        SarcoverError: a product that cannot be read, or an archive whose product is not known.
    """
    alone = paths[0] if len(paths) == 1 else None
    if alone is not None and is_safe(alone):
        return sentinel1.product(alone)
    if alone is not None and alone.is_dir():
        return _product(_images(alone)) if is_product_folder(alone) else None
    if alone is not None and is_archive(alone):
        return _unpacked(alone)
    return _product(paths)


def is_archive(path: Path) -> bool:
    """Whether a file is an archive, by its name."""
    return path.name.lower().endswith(_ARCHIVES)


def is_product_folder(path: Path) -> bool:
    """Whether a folder is one known product and nothing else, rather than a folder of scenes."""
    if is_safe(path):
        return True
    keys = {product_key(image.name) for image in _images(path)}
    return len(keys) == 1 and None not in keys


def is_side_layer(path: Path) -> bool:
    """Whether a file is a layer of a product beside its bands (mask, angle, height) rather than a scene."""
    return jaxa.is_side_layer(path) or rtc.is_side_layer(path)


def is_image(path: Path) -> bool:
    """Whether a file is a band of a known product, with a raster's suffix or without."""
    return product_key(path.name) is not None


def product_key(name: str) -> str | None:
    """What the files of one known product share in their names; None for other files."""
    return next((key for reader in _BY_NAME if (key := reader.key(name)) is not None), None)


def _images(folder: Path) -> list[Path]:
    found = (path for path in folder.iterdir() if path.suffix.lower() in (".tif", ".tiff") or is_image(path))
    return sorted(path for path in found if not is_side_layer(path))


def _product(paths: Sequence[Path]) -> Product | None:
    """The product that all these files belong to; None if they do not."""
    keys = {product_key(path.name) for path in paths}
    if len(keys) != 1 or None in keys:
        return None
    return next((found for reader in _BY_NAME if (found := reader.product(paths)) is not None), None)


def _unpacked(archive: Path) -> Product:
    folder = tempfile.TemporaryDirectory(prefix="sarcover-")
    try:
        if archive.suffix.lower() == ".zip":
            _unzip(archive, Path(folder.name))
        else:
            _untar(archive, Path(folder.name))
    except FileNotFoundError as error:
        raise SarcoverError(f"{archive} does not exist") from error
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, OSError) as error:
        if is_full(error):
            raise SarcoverError(
                f"{archive} cannot be unpacked: the disk of {folder.name} is full",
                expected="room for all unpacked archives of a run at once",
                do="free some space there, name another folder in TMPDIR, or unpack the archives yourself",
            ) from error
        raise UnreadableError(
            f"{archive} cannot be unpacked", got=str(error), do="is it complete?"
        ) from error
    log.warning("%s: an archive has no random access; unpacked into a temporary folder", archive.name)
    product = _product(_images(Path(folder.name)))
    if product is None:
        raise SarcoverError(
            f"{archive} holds no product that is known",
            expected="an ALOS or ALOS-2 scene or mosaic tile as JAXA delivers it, or a Sentinel-1 product",
            do="unpack it and name its GeoTIFFs",
        )
    return replace(product, paths=(archive,), keep=(folder, product.keep))


def _wanted(name: str) -> bool:
    """Whether a member of an archive belongs to a product."""
    member = PurePosixPath(name).name
    named = is_image(Path(member)) or is_side_layer(Path(member)) or ceos.is_file(member)
    return named or member.lower().endswith(_UNPACKED)


def _untar(archive: Path, folder: Path) -> None:
    with tarfile.open(archive) as tar:
        for member in tar.getmembers():
            if member.isfile() and _wanted(member.name):
                member.name = PurePosixPath(member.name).name  # nothing outside the folder
                tar.extract(member, folder, filter="data")


def _unzip(archive: Path, folder: Path) -> None:
    with zipfile.ZipFile(archive) as packed:
        for member in packed.infolist():
            if not member.is_dir() and _wanted(member.filename):
                member.filename = PurePosixPath(member.filename).name  # nothing outside the folder
                packed.extract(member, folder)
