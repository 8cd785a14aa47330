"""What a user can cause, and can mend."""

from collections.abc import Sequence


class SarcoverError(Exception):
    """An error of the input or the request, not of the program.

    Its text is one line: what is wrong, what was expected, what came, what to do. The command line prints
    that line and ends with exit code 2, without a traceback.

    Args:
        what: the thing that is wrong, beginning with the file or setting it is about.
        expected: what would have been right.
        got: what came instead.
        do: what the user can do about it.
    """

    def __init__(self, what: str, *, expected: str = "", got: str = "", do: str = "") -> None:
        parts = [what]
        if expected:
            parts.append(f"expected {expected}")
        if got:
            parts.append(f"got {got}")
        if do:
            parts.append(do)
        super().__init__(" ".join("; ".join(parts).split()))


class UnreadableError(SarcoverError):
    """A file that is broken: jobs over many files list it, leave it out and finish the others."""


def some_of(names: Sequence[str], most: int = 3) -> str:
    """The first few names, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
