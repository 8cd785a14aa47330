"""How far a long job is: a bar on stderr with the time left, where stderr is a terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)

_shown = ContextVar("_shown", default=True)


@contextmanager
def without_bars() -> Iterator[None]:
    """No bars within the block, in this thread: another one tells how far the whole is."""
    before = _shown.set(False)
    try:
        yield
    finally:
        _shown.reset(before)


def progress_bar(*further: ProgressColumn) -> Progress:
    """Title, bar, counter and time left, then further columns; disabled where stderr is no terminal."""
    console = Console(stderr=True)
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        *further,
        console=console,
        disable=not (console.is_terminal and _shown.get()),
    )


@contextmanager
def progress(title: str, total: int) -> Iterator[Callable[[int], None]]:
    """Shows the bar while the block runs; yields a function to be told how many more are done."""
    with progress_bar() as bar:
        task = bar.add_task(title, total=total)
        yield lambda done: bar.advance(task, done)
