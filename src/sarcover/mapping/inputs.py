"""Does this scene fit this model? Bands, unit, radiometry and the optical companion; then reading for it."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from rasterio.enums import ColorInterp

from sarcover.bundle import Bundle
from sarcover.errors import SarcoverError
from sarcover.scene import OpticalOnGrid, Scene, open_optical
from sarcover.scene.places import Placed

logger = logging.getLogger(__name__)

Paths = str | Path | Sequence[str | Path]
_UNNAMED = re.compile(r"band\d+")


class MissingBandsError(SarcoverError):
    """The files that were opened do not have the bands that the model needs."""


class Fitted(NamedTuple):
    """A scene with the model's bands, and the dB that bring it to the model's radiometry."""

    scene: Scene
    offset_db: float


def fit(bundle: Bundle, scene: Scene) -> Fitted:
    """A scene as the model takes it.

    Raises:
        SarcoverError: a band that the model needs is missing (MissingBandsError), or calibrated and
            uncalibrated values meet; or the numbers are those of a colour table.
    """
    scene = _with_bands_of(bundle, scene)
    _check_unit(bundle, scene)
    _check_no_picture(scene)
    return Fitted(scene, _radiometric_offset(bundle, scene))


def _with_bands_of(bundle: Bundle, scene: Scene) -> Scene:
    """The scene with the model's bands: by name, or in order where one of the two has no names."""
    indices = _matching(
        scene.name,
        bundle.bands,
        scene.bands,
        "add the missing polarisation, name the bands with --bands, or choose a model for these bands",
    )
    return scene.select(tuple(scene.bands[index] for index in indices))


def _matching(what: str, wanted: Sequence[str], there: Sequence[str], do: str) -> list[int]:
    """Indices of the wanted bands: by name, or in order where the names of one side are mere numbers."""
    if set(wanted) <= set(there):
        return [there.index(name) for name in wanted]
    unnamed = all(map(_UNNAMED.fullmatch, there)) or all(map(_UNNAMED.fullmatch, wanted))
    if unnamed and len(wanted) == len(there):
        logger.warning("%s: bands %s are taken as %s, in order", what, _list(there), _list(wanted))
        return list(range(len(there)))
    raise MissingBandsError(
        f"{what} does not have the bands that the model needs",
        expected=_list(wanted),
        got=_list(there),
        do=do,
    )


def _check_unit(bundle: Bundle, scene: Scene) -> None:
    if (bundle.unit == "uncalibrated") != (scene.unit == "uncalibrated"):
        calibrated = "calibrated values (dn, linear_power, amplitude or db)"
        wants_raw = bundle.unit == "uncalibrated"
        raise SarcoverError(
            f"{scene.name} and the model have different units",
            expected="uncalibrated values" if wants_raw else calibrated,
            got=scene.unit,
            do="say what the numbers are with --unit, or choose a model for such scenes",
        )


def _check_no_picture(scene: Scene) -> None:
    """Refuses maps, their layers, and indices into a table of colours.

    Shades of grey may be shown of numbers that mean something.
    """
    for source in scene.sources:
        if "SARCOVER_VERSION" in source.file.info.tags:
            raise SarcoverError(
                f"{source.file.path} was made by sarcover from a scene",
                expected="radar: backscatter or digital numbers",
                do="name the scenes themselves, and write maps to a folder of their own",
            )
        dataset = source.file.dataset()
        if dataset.colorinterp[source.index - 1] != ColorInterp.palette:
            continue
        colours = dataset.colormap(source.index).values()
        if any(len({*colour[:3]}) > 1 for colour in colours):
            raise SarcoverError(
                f"{source.file.path}: its numbers stand for colours of a table",
                expected="radar: backscatter or digital numbers",
                do="map the scene itself, not a picture of it",
            )


def _radiometric_offset(bundle: Bundle, scene: Scene) -> float:
    """dB that bring the scene to the model's radiometry, by the incidence angle at the scene's middle.

    gamma0 = sigma0 / cos(incidence), sigma0 = beta0 sin(incidence).
    """
    here, there = scene.radiometry, bundle.radiometry
    if here == there or scene.unit == "uncalibrated":
        return 0.0
    if scene.incidence is None or "unknown" in (here, there):
        logger.warning(
            "%s: radiometry is %s, the model was trained on %s; not converted, for the incidence angle or "
            "the radiometry is not known (sigma0 and gamma0 are 0.9 dB apart at 35 degrees)",
            *(scene.name, here, there),
        )
        return 0.0
    angle = math.radians(scene.incidence)
    below_gamma0 = {"gamma0": 1.0, "sigma0": math.cos(angle), "beta0": math.cos(angle) / math.sin(angle)}
    offset = 10 * math.log10(below_gamma0[there] / below_gamma0[here])
    logger.info("%s: converted from %s to %s, %+.2f dB", scene.name, here, there, offset)
    return offset


def companion(bundle: Bundle, grid: Placed, name: str, files: Sequence[str | Path]) -> OpticalOnGrid | None:
    """The optical companion on a grid; None for models that take none, or do without.

    Args:
        bundle: the model's description.
        grid: a scene, or another grid.
        name: of what is mapped, for messages.
        files: of the companion.

    Raises:
        SarcoverError: it is missing, superfluous, elsewhere, or does not have the model's bands.
    """
    if not bundle.optical_bands:
        if files:
            raise SarcoverError("the model takes no optical input", do="leave --optical out")
        return None
    if not files and "optical" in bundle.optional_inputs:
        logger.warning("%s is mapped with radar alone: no optical companion is named", name)
        return None
    if not files:
        raise SarcoverError(
            "the model needs an optical companion of the scene",
            expected=_list(bundle.optical_bands),
            do="name it with --optical",
        )
    opened = [open_optical(path) for path in files]
    for path, other in zip(files, opened, strict=True):
        if (other.bands, other.scale) != (opened[0].bands, opened[0].scale):
            raise SarcoverError(
                f"{path} is not like {files[0]}",
                expected=f"{_list(opened[0].bands)}, scale {opened[0].scale:g}",
                got=f"{_list(other.bands)}, scale {other.scale:g}",
            )
    choose = "choose the companion that the model was trained with"
    indices = _matching(str(files[0]), bundle.optical_bands, opened[0].bands, choose)
    placed = OpticalOnGrid(opened[0], files, grid, indices)
    if not placed.overlaps():
        raise SarcoverError(
            f"{files[0]} does not reach the scene {name}", do="name its companion with --optical"
        )
    return placed


def _list(names: Sequence[str]) -> str:
    return " ".join(names)
