"""Manners towards servers of others: a pace, patience, and no question asked twice at once."""

from __future__ import annotations

import logging
import random
import re
import threading
from collections.abc import Callable
from time import monotonic, sleep
from typing import Any, TypeVar

from sarcover.errors import UnreadableError

log = logging.getLogger("sarcover")
T = TypeVar("T")
BUSY = (429, 500, 502, 503, 504)  # what a server answers that may answer better later
_LONGEST = 60.0  # seconds
# As GDAL says it; the digits alone may stand in an address, its port or a name.
_NOT_THERE = re.compile(r"HTTP response code: (404|410)\b")


class Pace:
    """At most so many requests a second, over all threads.

    Args:
        per_second: requests; each waits for its turn.
    """

    def __init__(self, per_second: float) -> None:
        self.step = 1.0 / per_second
        self._lock = threading.Lock()
        self._next = 0.0

    def wait(self) -> None:
        """Returns when it is the caller's turn."""
        with self._lock:
            now = monotonic()
            turn = max(self._next, now)
            self._next = turn + self.step
        if turn > now:
            sleep(turn - now)


def patiently(job: Callable[[], T], *, retries: int, delay: float, pace: Pace) -> T:
    """The result of reading a remote file, which is tried again if it fails.

    Waits double from `delay` seconds on, to at most a minute, each by chance half as long again, so that many
    readers do not come back at once. A file that is not there is not asked for again.

    Raises:
        UnreadableError: what the last attempt failed with.
    """
    for attempt in range(retries + 1):
        pace.wait()
        try:
            return job()
        except UnreadableError as error:
            if attempt == retries or _NOT_THERE.search(str(error)):
                raise
            pause = min(delay * 2**attempt, _LONGEST) * random.uniform(1.0, 1.5)
            log.debug("%s; again in %.1f s", error, pause)
            sleep(pause)
    raise AssertionError("unreachable")


def http_retries(retries: int, delay: float) -> Any:
    """The same for requests of the `requests` library; a Retry-After of the server is kept to."""
    from urllib3 import Retry

    return Retry(
        total=retries,
        backoff_factor=delay,
        backoff_max=_LONGEST,
        status_forcelist=BUSY,
        allowed_methods=None,
        respect_retry_after_header=True,
    )
