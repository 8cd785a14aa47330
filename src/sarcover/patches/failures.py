"""Files that are broken in the middle of many: listed and counted, the others are finished."""

from __future__ import annotations

from collections import Counter
from typing import Any

from sarcover.errors import UnreadableError


class Failures:
    """What could not be read.

    Attributes:
        whole: file or scene -> why it was left out altogether.
        windows: scene -> windows of it that could not be read.
        why: scene -> why its first window could not.
    """

    def __init__(self, state: dict[str, Any] | None = None) -> None:
        state = state or {"whole": {}, "windows": {}, "why": {}}
        self.whole: dict[str, str] = dict(state["whole"])
        self.windows: Counter[str] = Counter(state["windows"])
        self.why: dict[str, str] = dict(state["why"])

    def add(self, name: str, error: UnreadableError) -> None:
        """A file that cannot be opened, or a scene of which nothing can be read."""
        self.whole[name] = str(error)

    def add_window(self, scene: str, error: UnreadableError) -> None:
        """A window of a scene that cannot be read in it, or in what belongs to it."""
        self.windows[scene] += 1
        self.why.setdefault(scene, str(error))

    def state(self) -> dict[str, Any]:
        """Plain values, from which the same can be made."""
        return {"whole": self.whole, "windows": dict(self.windows), "why": self.why}

    def listed(self) -> list[dict[str, Any]]:
        """One entry a file or scene, in order of name: `name`, `windows` lost (None: all) and `error`."""
        lost = [
            {
                "name": name,
                "windows": number,
                "error": f"{self.why[name]}; {number} windows of {name} left out",
            }
            for name, number in self.windows.items()
        ]
        gone = [
            {"name": name, "windows": None, "error": f"{error}; left out"}
            for name, error in self.whole.items()
        ]
        return sorted([*lost, *gone], key=lambda entry: str(entry["name"]))
