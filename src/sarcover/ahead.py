"""Work done ahead by threads, results in order."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

_MOST = 8  # workers by default: reading and decompressing gain little from more


def ahead(work: Callable[[T], R], items: Iterable[T], depth: int = 1, threads: int = 1) -> Iterator[R]:
    """`work` of every item, in the order of the items, whichever thread is first.

    Only a few items are ahead of the consumer, so memory does not grow with their number.

    Args:
        work: what to do; it may raise, and then does so when its item's turn comes.
        items: taken one by one, by the consumer's thread.
        depth: items begun before their turn.
        threads: that work.
    """
    waiting: deque[Future[R]] = deque()
    pool = ThreadPoolExecutor(threads, thread_name_prefix="sarcover-ahead")
    try:
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) > depth:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def by_workers(work: Callable[[T], R], items: Iterable[T], workers: int | None) -> Iterator[R]:
    """As `ahead`, by so many threads; with one worker there is no thread at all.

    Args:
        work, items: as in `ahead`.
        workers: threads; None for one a processor, at most eight.
    """
    threads = workers or min(_MOST, processors())
    return map(work, items) if threads == 1 else ahead(work, items, 2 * threads, threads)


def processors() -> int:
    """Those that this process may use."""
    # macOS and Windows cannot say which those are.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
