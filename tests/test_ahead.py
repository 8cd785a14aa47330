"""Work done ahead: order, memory, errors."""

from __future__ import annotations

import threading

import pytest

from sarcover.ahead import ahead, by_workers


@pytest.mark.parametrize("threads", [1, 3])
def test_results_come_in_order_and_only_a_few_items_are_ahead(threads: int) -> None:
    done: list[int] = []

    def work(job: int) -> int:
        done.append(job)
        return job * job

    for job, square in enumerate(ahead(work, range(20), depth=2, threads=threads)):
        assert square == job * job
        assert len(done) <= job + 3


def test_an_error_comes_when_its_item_has_its_turn() -> None:
    def work(job: int) -> int:
        if job == 3:
            raise ValueError("truncated")
        return job

    results = ahead(work, range(9))
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="truncated"):
        next(results)


def test_one_worker_is_the_thread_that_asks() -> None:
    def where(_: int) -> int:
        return threading.get_ident()

    assert set(by_workers(where, range(5), 1)) == {threading.get_ident()}
    assert threading.get_ident() not in set(by_workers(where, range(5), 2))
