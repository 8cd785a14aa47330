"""Settings of the verbs for radar scenes, reference maps and stores."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from sarcover.config.choices import CollectionName, MaskKind, Season, Split, Unit


@dataclass(frozen=True)
class SimulateSettings:
    """A radar landscape with known truth, written as the files a user has.

    Args:
        out: folder to write: scenes/, labels/ and, on request, optical/.
        tiles: names of the one-degree label tiles, by their south-west corner, as JAXA names them.
        size: pixels per side, from the north-west pixel of each tile; 12000 is a whole tile.
        months: year-month of each acquisition; one scene per tile and month.
        sensor: palsar (L-band HH; four optical bands) or sentinel (C-band VV and VH; twelve optical bands).
        looks: equivalent number of looks of the speckle.
        incidence: incidence angle at the scene's middle, degrees.
        noise_floor: noise-equivalent backscatter, dB.
        optical: also write four-band optical companions (blue, green, red, near infrared).
        cloud_cover: share of each optical companion under cloud, 0 to 1.
        seed: the landscape's seed; any window of the same seed is the same land.
        overwrite: replace an existing folder.
    """

    out: str
    tiles: tuple[str, ...] = ("N36E138",)
    size: int = 2048
    months: tuple[str, ...] = ("2022-09",)
    sensor: Literal["palsar", "sentinel"] = "palsar"
    looks: float = 4.0
    incidence: float = 36.0
    noise_floor: float = -30.0
    optical: bool = False
    cloud_cover: float = 0.3
    seed: int = 0
    overwrite: bool = False


@dataclass(frozen=True)
class InfoSettings:
    """What a scene, store, bundle, run or map is.

    Args:
        paths: files or folders.
        optical: optical files that belong to the scenes.
        unit: the unit of a scene that does not say it itself.
    """

    paths: tuple[str, ...] = ()
    optical: tuple[str, ...] = ()
    unit: Unit | None = None


@dataclass(frozen=True)
class CollectSettings:
    """Gather images for labels that are published alone; interrupted, the same call goes on.

    Args:
        name: dynamic-world-plus: Sentinel-1 and Sentinel-2 for the label tiles of Dynamic World.
        labels: folder of the label tiles, as they are unpacked (PANGAEA 933475, Zenodo 4766508).
        out: folder for the images: s1/, s1_count/ (passes a pixel) and s2/.
        store: also make a patch store of them, in this folder.
        patch: patch side of that store, pixels; a tile of 510 fits into 512.
        endpoint: address of the STAC API.
        optical_endpoint: that of the optical images; default: the same.
        token_url: where tokens for the files are given, with {collection} in it; default: for files of
            Planetary Computer its own, else none.
        sar_collection: radar images, terrain-corrected.
        optical_collection: optical images.
        sar_bands: polarisations, as the catalogue's assets are called.
        optical_bands: optical bands, likewise.
        sar_unit: unit of the radar files.
        radiometry: of the radar files: sigma0, gamma0 or beta0.
        orbit: passes to take: descending, ascending or any.
        mode: instrument mode to take, or any.
        days: how many days before and after the label a pass may be.
        optical_days: the same for the optical image, of which the nearest day is taken.
        rate: most requests a second.
        workers: tiles at a time.
        retries: how often a failed request is repeated.
        delay: seconds before the first repetition; doubled each time.
        overwrite: fetch everything anew.
    """

    name: Literal["dynamic-world-plus"]
    labels: str
    out: str
    store: str | None = None
    patch: int = 512
    endpoint: str = "https://planetarycomputer.microsoft.com/api/stac/v1"
    optical_endpoint: str | None = None
    token_url: str | None = None
    sar_collection: str = "sentinel-1-rtc"
    optical_collection: str = "sentinel-2-l2a"
    sar_bands: tuple[str, ...] = ("VV", "VH")
    optical_bands: tuple[str, ...] = (
        "B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B11", "B12",
    )  # fmt: skip
    sar_unit: Literal["linear_power", "amplitude", "db"] = "linear_power"
    radiometry: Literal["sigma0", "gamma0", "beta0"] = "gamma0"
    orbit: Literal["descending", "ascending", "any"] = "descending"
    mode: str = "IW"
    days: int = 180
    optical_days: int = 0
    rate: float = 20.0
    workers: int = 4
    retries: int = 5
    delay: float = 1.0
    overwrite: bool = False


@dataclass(frozen=True)
class PrepareSettings:
    """Scenes and a reference map into a patch store.

    Args:
        out: folder of the store.
        scenes: radar scenes: files, or folders of files; of a collection, its folder.
        collection: a published data set as it ships, in the folder that scenes names: its labels, legend,
            unit and split come with it.
        allow_incomplete: take a collection although files of it are missing; they are listed.
        labels: reference rasters; none makes an unlabelled store for pretraining.
        legend: of the labels: name of a legend, or a YAML file; labels need one.
        optical: optical companions; each covers one or more scenes. Where several reach a scene, that of the
            nearest day counts.
        unit: the unit of scenes that do not say it themselves.
        bands: polarisations to take, in this order; default: those that the first scene has.
        leave_out: pixels that become nodata, where a product marks them: shadow, layover, ocean. Scenes that
            do not are named.
        crs: coordinate system that scenes, labels and companions are brought to; default: each scene's own.
        resolution: pixel size in its units; default: the first scene's. Radar is averaged as power, labels
            are those of the nearest pixel.
        patch: patch side, pixels; a multiple of 8.
        stride: step between training patches, pixels; default: patch. Validation and test never
            overlap. With a smaller stride a training pixel counts in statistics and class counts once for
            each patch that shows it.
        anchors: take only patches that hold one of so many places, drawn from all labels by inverse class
            frequency, so that rare classes count; default: patches from everywhere.
        anchor_power: a pixel of a class of frequency f is drawn in proportion to f to the power of minus
            this, 0 to 4: 0 draws all pixels alike, 1 as many of each class.
        anchor_splits: splits whose patches must hold an anchor; leave out val and test to score all of their
            ground.
        split: how pixels are divided: block (with a guard band), stratified (blocks, with each class divided
            alike), polygons, month, season, raster, none (all for training), or official (as a collection was
            published); default: official where a collection has one, else block.
        split_raster: raster of codes 1 train, 2 validation, 3 test, 0 unused; on any grid
            (split: raster).
        split_polygons: polygons (GeoJSON or another vector file) with an attribute split: train, val or test
            (split: polygons).
        share_context: let a patch see the radar of other splits (never their labels).
        months_train: year-months for training (split: month).
        months_val: year-months for validation (split: month).
        months_test: year-months for testing (split: month).
        seasons_train: seasons for training, by the initials of their months (split: season).
        seasons_val: seasons for validation (split: season).
        seasons_test: seasons for testing (split: season).
        same_ground: let splits by month or season hold labels of the same ground at other times; scores then
            say how a model does at another time, not on other land.
        block: side of a split block, pixels (split: block, stratified).
        guard: least distance between pixels of different splits, pixels; block, stratified and polygons
            keep it by leaving pixels out (default: 16), other splits are refused where they do not keep it.
        guard_days: least days between acquisitions of different splits.
        val_fraction: share of the labelled pixels for validation (split: block, stratified).
        test_fraction: share of the labelled pixels for testing (split: block, stratified).
        min_valid: least share of valid pixels in a kept training patch.
        min_labelled: least share of labelled pixels in a kept training patch (where there are labels).
        seed: seed of the blocks and of the anchors.
        workers: threads that read ahead; default: one a processor, at most 8. The store is the same.
        overwrite: replace an existing store.
        check: prove the split of this store again, from its index alone, and do nothing else.
        verify: compare every file of this store with its checksum, and do nothing else.
    """

    out: str = ""
    scenes: tuple[str, ...] = ()
    collection: CollectionName | None = None
    allow_incomplete: bool = False
    labels: tuple[str, ...] = ()
    legend: str | None = None
    optical: tuple[str, ...] = ()
    unit: Unit | None = None
    bands: tuple[str, ...] | None = None
    leave_out: tuple[MaskKind, ...] = ()
    crs: str | None = None
    resolution: float | None = None
    patch: int = 256
    stride: int | None = None
    anchors: int | None = None
    anchor_power: float = 1.0
    anchor_splits: tuple[Split, ...] = ("train", "val", "test")
    split: (
        Literal["official", "block", "stratified", "polygons", "month", "season", "raster", "none"] | None
    ) = None
    split_raster: str | None = None
    split_polygons: str | None = None
    share_context: bool = False
    months_train: tuple[str, ...] = ()
    months_val: tuple[str, ...] = ()
    months_test: tuple[str, ...] = ()
    seasons_train: tuple[Season, ...] = ()
    seasons_val: tuple[Season, ...] = ()
    seasons_test: tuple[Season, ...] = ()
    same_ground: bool = False
    block: int = 1024
    guard: int | None = None
    guard_days: int = 0
    val_fraction: float = 0.15
    test_fraction: float = 0.15
    min_valid: float = 0.1
    min_labelled: float = 0.001
    seed: int = 0
    workers: int | None = None
    overwrite: bool = False
    check: str | None = None
    verify: str | None = None


@dataclass(frozen=True)
class StoreShowSettings:
    """What a store holds: patches, classes, dates, ground and the proof of its split.

    Args:
        store: the store.
        picture: also draw its footprints and class shares into this PNG file.
    """

    store: str
    picture: str | None = None


@dataclass(frozen=True)
class StoreMergeSettings:
    """Several stores into one; patches keep their splits, and the proof is made anew.

    Args:
        out: folder of the new store.
        stores: two stores or more, of the same bands, unit, legend and patch size.
        overwrite: replace an existing store.
    """

    out: str
    stores: tuple[str, ...] = ()
    overwrite: bool = False


@dataclass(frozen=True)
class StoreFilterSettings:
    """Some of a store's patches into a store of their own.

    Args:
        store: the store.
        out: folder of the new store.
        splits: take patches of these splits.
        scenes: take patches of these scenes.
        dates: take patches of this day to that day, as in 2022-09-01 2022-11-30.
        bounds: take patches that reach into this part of the earth: west, south, east and north, degrees.
        classes: take patches that hold one of these classes, by name.
        min_valid: least share of valid pixels.
        min_labelled: least share of labelled pixels.
        where: take patches for which this holds, an expression over the columns of the index, as in
            "n_3 > 100 and valid_share > .5".
        overwrite: replace an existing store.
    """

    store: str
    out: str
    splits: tuple[Split, ...] = ()
    scenes: tuple[str, ...] = ()
    dates: tuple[str, str] | None = None
    bounds: tuple[float, float, float, float] | None = None
    classes: tuple[str, ...] = ()
    min_valid: float = 0.0
    min_labelled: float = 0.0
    where: str | None = None
    overwrite: bool = False
