"""What a run says of itself while it goes: a table of metrics, TensorBoard, and progress with a time left."""

from __future__ import annotations

import csv
import logging
import time
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Any

from lightning.fabric.loggers.tensorboard import TensorBoardLogger
from rich.progress import TextColumn

from sarcover.errors import SarcoverError
from sarcover.files import atomic_file, disk_errors
from sarcover.progress import progress_bar

logger = logging.getLogger(__name__)

COLUMNS = ("step", "epoch", "loss", "learning_rate", "val_miou", "val_oa")
PLAIN_LINES = 50  # over a whole run, where there is no terminal


class Table:
    """A CSV file with one row a step; continuing a run first cuts off what its checkpoint does not know.

    Args:
        path: the file.
        done: steps that are done; rows beyond are removed.
    """

    def __init__(self, path: Path, done: int) -> None:
        self.path = path
        rows = [] if not path.exists() else path.read_text(encoding="utf-8").splitlines()[1:]
        kept = [row for row in rows if row.partition(",")[0].isdigit() and int(row.partition(",")[0]) <= done]
        with atomic_file(path) as temporary:
            temporary.write_text("\n".join([",".join(COLUMNS), *kept]) + "\n", encoding="utf-8")

    def append(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Adds rows; columns that a row lacks stay empty."""
        with disk_errors(self.path), self.path.open("a", encoding="utf-8", newline="") as file:
            csv.DictWriter(file, COLUMNS, lineterminator="\n").writerows(rows)


class Journal:
    """The table, TensorBoard if asked for, and the progress bar (plain lines where stderr is no terminal).

    Args:
        title: what is going on.
        folder: where the logs go.
        total: steps of the whole run.
        done: steps done before.
        tensorboard: log to TensorBoard too.

    Raises:
        SarcoverError: TensorBoard is not installed.
    """

    def __init__(self, title: str, folder: Path, total: int, done: int, *, tensorboard: bool = False) -> None:
        self.title = title
        self.total = total
        self._table = Table(folder / "metrics.csv", done)
        self._board = _tensorboard(folder, done) if tensorboard else None
        self._score = ""
        self._bar = progress_bar(TextColumn("{task.fields[state]}"))
        self._task = self._bar.add_task(title, total=total, completed=done, state="")
        self._line_every = max(1, total // PLAIN_LINES)
        self._done, self._started = done, time.monotonic()

    def __enter__(self) -> Journal:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()
        if self._board is not None:
            self._board.finalize("success" if error is None else "failed")

    def write(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Rows of finished steps, as `COLUMNS` says; the last one is shown."""
        self._table.append(rows)
        for row in rows:
            if self._board is not None:
                values = {key: value for key, value in row.items() if key != "step"}
                self._board.log_metrics(values, step=row["step"])
            if row.get("val_miou") is not None:
                self._score = f"  val mIoU {row['val_miou']:.4f}"
            state = f"loss {row['loss']:.4f}  rate {row['learning_rate']:.2e}{self._score}"
            self._bar.update(self._task, completed=row["step"], state=state)
            due = row["step"] % self._line_every == 0 or row["step"] == self.total or "val_miou" in row
            if self._bar.disable and due:
                left = self._time_left(row["step"])
                logger.info("%s: step %d of %d  %s%s", self.title, row["step"], self.total, state, left)

    def _time_left(self, step: int) -> str:
        seconds = (time.monotonic() - self._started) / max(step - self._done, 1) * (self.total - step)
        return f"  {timedelta(seconds=round(seconds))} left" if step < self.total else ""


def _tensorboard(folder: Path, done: int) -> TensorBoardLogger:
    try:
        return TensorBoardLogger(folder, name="tensorboard", version="", purge_step=done + 1)
    except ModuleNotFoundError as error:
        raise SarcoverError(
            "TensorBoard is not installed",
            do="pip install 'sarcover[tensorboard]', or choose --logger csv",
        ) from error
