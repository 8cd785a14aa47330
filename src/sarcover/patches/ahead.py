"""Work done ahead by threads, results in order."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

_MOST = 8  # threads by default: reading and decompressing gain little from more


def in_order(work: Callable[[T], R], items: Iterable[T], workers: int | None) -> Iterator[R]:
    """`work` of every item, in the order of the items, whichever thread is first.

    Only a few items are ahead of the consumer, so memory does not grow with their number. With one worker
    there is no thread at all.

    Args:
        work: what to do; it may raise, and then does so when its item's turn comes.
        items: taken one by one.
        workers: threads; None for one a processor, at most eight.
    """
    threads = workers or min(_MOST, len(os.sched_getaffinity(0)))
    if threads == 1:
        yield from map(work, items)
        return
    waiting: deque[Future[R]] = deque()
    pool = ThreadPoolExecutor(threads)
    try:
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) > 2 * threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
