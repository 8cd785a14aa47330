"""What a published data set is to sarcover: its scenes with their labels, companions and split.

A collection is found where its publisher's archives were unpacked; nothing is copied or renamed. Its module
looks through the folders once and says which files belong together; `checked` compares that with what was
published.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from sarcover.config import Unit
from sarcover.errors import SarcoverError, some_of
from sarcover.scene.units import Radiometry

SPLITS = ("train", "val", "test")
_MOST_NAMED = 5


@dataclass(frozen=True)
class Item:
    """One scene, with what belongs to it.

    Attributes:
        name: unique in the collection.
        radar: files, as `open_scene` takes them.
        labels: reference rasters; several tiles are laid side by side. Empty: none was published.
        optical: optical companions.
        split: train, val or test as published, unused where it is in none of them; None where the collection
            has no split.
        acquired: when, where the collection says it beside the files.
    """

    name: str
    radar: tuple[Path, ...]
    labels: tuple[Path, ...] = ()
    optical: tuple[Path, ...] = ()
    split: str | None = None
    acquired: datetime | None = None


@dataclass(frozen=True)
class Folders:
    """Where the user says that things lie.

    Attributes:
        root: of the collection.
        labels, optical: folders of these, where they do not lie under the root.
    """

    root: Path
    labels: Path | None = None
    optical: Path | None = None


@dataclass
class Findings:
    """What a module found.

    Attributes:
        items: in order of name.
        missing: sentences about files that should be there and are not.
        notes: sentences about what the user may want to know.
        counts: split -> scenes that should be there, where the layout says otherwise than the collection.
    """

    items: list[Item] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    counts: Mapping[str, int] | None = None

    def add(self, items: Sequence[Item], missing: Sequence[str]) -> None:
        """Takes more scenes, and sentences about missing files."""
        self.items += items
        self.missing += missing


@dataclass(frozen=True)
class Collection:
    """What its publisher says of a data set.

    Attributes:
        name: as in --collection.
        title: as people call it.
        find: folders -> what lies there.
        legend: of its labels; None where the user must name one.
        unit: of its radar numbers; None where the files or the user say it.
        radiometry: of its radar numbers; None where the files may say it.
        bands: polarisations in the order of the files, for files that do not name them.
        sizes: heights and widths that its scenes have, pixels; empty where any will do.
        counts: split -> scenes as published; other splits are not counted.
        apart: splits that are published as archives of their own, and may be absent as a whole.
        label_band: description of the label's band in files of several bands.
        recode: codes of its files -> codes that the legend knows, where a legend cannot hold the former.
    """

    name: str
    title: str
    find: Callable[[Folders], Findings]
    legend: str | None = None
    unit: Unit | None = None
    radiometry: Radiometry | None = None
    bands: tuple[str, ...] = ()
    sizes: tuple[tuple[int, int], ...] = ()
    counts: Mapping[str, int] = field(default_factory=dict)
    apart: tuple[str, ...] = ()
    label_band: str | None = None
    recode: Mapping[int, int] = field(default_factory=dict)

    def refuse_size(self, name: str, shape: tuple[int, int]) -> None:
        """Raises a SarcoverError for a scene of another size than published."""
        if self.sizes and shape not in self.sizes:
            raise SarcoverError(
                f"{name} is not a scene of {self.title}",
                expected=" or ".join(f"{height} x {width}" for height, width in self.sizes)
                + " pixels (height x width)",
                got=f"{shape[0]} x {shape[1]}",
                do="unpack the publisher's files again, or take your own with --collection folders",
            )


@dataclass(frozen=True)
class Collected:
    """A collection as it lies on disk, checked.

    Attributes:
        collection: what it is.
        items: its scenes, in order of name; names are unique.
        warnings: what is missing or noteworthy, one sentence each.
    """

    collection: Collection
    items: tuple[Item, ...]
    warnings: tuple[str, ...]

    @property
    def has_split(self) -> bool:
        """Whether the collection divides its scenes."""
        return any(item.split is not None for item in self.items)

    @property
    def labelled(self) -> bool:
        """Whether there are labels."""
        return any(item.labels for item in self.items)


def checked(collection: Collection, folders: Folders, *, allow_incomplete: bool = False) -> Collected:
    """Looks for a collection and compares it with what was published.

    Args:
        collection: which.
        folders: where.
        allow_incomplete: take what is there; what is missing becomes warnings.

    Raises:
        SarcoverError: nothing of it lies there; it is not all there; names that come twice.
    """
    for folder in (folders.root, folders.labels, folders.optical):
        if folder is not None and not folder.is_dir():
            what = "is no folder" if folder.exists() else "does not exist"
            raise SarcoverError(f"{folder} {what}", expected=f"the folder of {collection.title}")
    found = collection.find(folders)
    if not found.items:
        raise SarcoverError(
            f"{folders.root} holds nothing of {collection.title}",
            expected="the folders as they were unpacked, as https://sarcover.github.io/collections/ shows",
            got="; ".join(found.missing) or "no scene",
        )
    _refuse_twice(collection, found.items)
    missing = [*found.missing, *_miscounted(collection, found)]
    if missing and not allow_incomplete:
        raise SarcoverError(
            f"{folders.root} is not what was published as {collection.title}",
            expected="every file of it",
            got="; ".join(missing),
            do="unpack it again, or take what is there with --allow-incomplete",
        )
    unlabelled = [item.name for item in found.items if not item.labels]
    items = found.items
    if unlabelled and len(unlabelled) < len(items):
        items = [item for item in items if item.labels]
        missing.append(f"without labels and left out: {named(unlabelled)}")
    ordered = tuple(sorted(items, key=lambda item: item.name))
    return Collected(collection, ordered, tuple(dict.fromkeys([*missing, *found.notes])))


def named(names: Sequence[str]) -> str:
    """How many there are, and the names of the first few."""
    return f"{len(names)} ({some_of(sorted(names), _MOST_NAMED)})"


def _miscounted(collection: Collection, found: Findings) -> list[str]:
    counts = Counter(item.split for item in found.items)
    published = collection.counts if found.counts is None else found.counts
    return [
        f"{counts[split]} scenes of {split} instead of {expected}"
        for split, expected in published.items()
        if counts[split] != expected and not (split in collection.apart and not counts[split])
    ]


def _refuse_twice(collection: Collection, items: Sequence[Item]) -> None:
    twice = [name for name, count in Counter(item.name for item in items).items() if count > 1]
    if twice:
        raise SarcoverError(
            f"scenes of {collection.title} have the same name",
            expected="each name once",
            got=named(twice),
            do="name the folder of one copy of the data set",
        )
