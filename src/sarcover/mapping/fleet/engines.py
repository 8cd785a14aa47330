"""What makes the tiles: this process, one after another, or the workers of a Dask cluster."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Any

from sarcover.ahead import processors
from sarcover.devices import device_count
from sarcover.errors import SarcoverError
from sarcover.mapping.fleet.unit import Order, Unit, make
from sarcover.memory import keep_freed_memory

logger = logging.getLogger(__name__)

_IN_FLIGHT = 1000  # tasks the scheduler knows at a time: enough for any cluster, little for its memory
_CONNECT_SECONDS = 60
_BYTES_A_WORKER = 3 * 2**30  # PyTorch, a base-size model and what mapping holds


@dataclass(frozen=True)
class Made:
    """What became of a unit: its record, or the reason why there is none."""

    unit: Unit
    record: dict[str, Any] | None
    error: str = ""


def run_here(order: Order, units: Sequence[Unit], retries: int) -> Iterator[Made]:
    """One unit after another, in this process."""
    for unit in units:
        yield _attempts(order, unit, retries)


def _attempts(order: Order, unit: Unit, retries: int) -> Made:
    for left in range(retries, -1, -1):
        try:
            return Made(unit, make(order, unit))
        except (SarcoverError, OSError) as error:
            if not left:
                return Made(unit, None, str(error))
            logger.warning("tile %s is tried again: %s", unit.tile.name, error)
    raise AssertionError("at least one attempt")


@dataclass(frozen=True)
class Cluster:
    """Which Dask cluster.

    Attributes:
        address: of a scheduler that runs; None for worker processes on this machine, for this run.
        workers: how many of these; None for as many as cores and memory, or the GPUs, allow.
        threads: of each.
        gpu: whether each unit needs a GPU: workers must offer the resource GPU.
    """

    address: str | None
    workers: int | None
    threads: int
    gpu: bool


def run_on_cluster(order: Order, units: Sequence[Unit], retries: int, cluster: Cluster) -> Iterator[Made]:
    """On a Dask cluster, in the order in which units are done.

    The scheduler holds no more than 1000 of them at a time. A unit whose worker dies is given to another
    one; after four such deaths it is given up, for it may be what kills them.

    Raises:
        SarcoverError: Dask is not installed, no scheduler answers, or no worker has a GPU.
    """
    distributed = _distributed()
    with _client(distributed, cluster) as client:
        resources = {"GPU": 1} if cluster.gpu else None

        def submit(unit: Unit) -> Any:
            key = f"tile-{unit.tile.name}-{unit.fingerprint[:8]}"
            return client.submit(
                _make_in_worker, order, unit, key=key, pure=False, retries=retries, resources=resources
            )

        waiting = iter(units)
        running = {submit(unit): unit for unit in islice(waiting, _IN_FLIGHT)}
        done = distributed.as_completed(list(running), raise_errors=False)
        for future in done:
            unit = running.pop(future)
            yield Made(unit, *_outcome(distributed, future))
            future.release()
            for following in islice(waiting, 1):
                new = submit(following)
                running[new] = following
                done.add(new)


def _make_in_worker(order: Order, unit: Unit) -> dict[str, Any]:
    """As the command in a process of its own."""
    keep_freed_memory()
    return make(order, unit)


def _outcome(distributed: Any, future: Any) -> tuple[dict[str, Any] | None, str]:
    if future.status == "finished":
        return future.result(), ""
    if future.status == "cancelled":
        return None, "it was cancelled: the scheduler has gone"
    error = future.exception()
    if isinstance(error, distributed.scheduler.KilledWorker):
        return None, "its workers died, one after another (out of memory?); their logs say more"
    return None, str(error) if isinstance(
        error, SarcoverError | OSError
    ) else f"{type(error).__name__}: {error}"


def _distributed() -> Any:
    try:
        import distributed
        import distributed.scheduler
    except ImportError as error:
        raise SarcoverError(
            "--engine dask needs the package distributed, which is not installed",
            do="pip install 'sarcover[cluster]'",
        ) from error
    return distributed


@contextmanager
def _client(distributed: Any, cluster: Cluster) -> Iterator[Any]:
    if cluster.address is None:
        with _own(distributed, cluster) as own, closing(distributed.Client(own)) as client:
            yield client
        return
    try:
        client = distributed.Client(cluster.address, timeout=_CONNECT_SECONDS)
    except (OSError, ValueError) as error:
        raise SarcoverError(
            f"no Dask scheduler answers at {cluster.address}",
            got=str(error),
            do="start one with `dask scheduler`, or leave --address out",
        ) from error
    with closing(client):
        _check_workers(client, cluster)
        yield client


def _check_workers(client: Any, cluster: Cluster) -> None:
    """What can be told of the workers that are there; others may come later."""
    workers = client.scheduler_info(n_workers=-1)["workers"].values()
    logger.info("the cluster at %s has %d workers", cluster.address, len(workers))
    if cluster.gpu and workers and not any(worker["resources"].get("GPU") for worker in workers):
        raise SarcoverError(
            "no worker of the cluster offers a GPU", do="start them with `dask worker --resources GPU=1`"
        )
    if any(worker["nthreads"] > 1 for worker in workers):
        logger.warning(
            "some workers run several tasks at a time, but one tile: start them with --nthreads 1, and more "
            "of them, or give each tile more cores with --threads"
        )


def _own(distributed: Any, cluster: Cluster) -> Any:
    """Worker processes on this machine, each looked after by one that starts it anew when it dies."""
    count = cluster.workers or _workers_that_fit(distributed, cluster)
    threads = {name: str(cluster.threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
    quiet = logging.ERROR
    options = {"nthreads": 1, "silence_logs": quiet, "memory_limit": distributed.system.MEMORY_LIMIT // count}
    workers: dict[int, Any] = {}
    for number in range(count):
        own = {**options, "env": threads}
        if cluster.gpu:
            gpu = str(number % max(1, device_count("cuda")))
            own |= {"resources": {"GPU": 1}, "env": {**threads, "CUDA_VISIBLE_DEVICES": gpu}}
        workers[number] = {"cls": distributed.Nanny, "options": own}
    scheduler = {"cls": distributed.Scheduler, "options": {"host": "127.0.0.1", "dashboard_address": ":0"}}
    logger.info("%d worker processes with %d threads each", count, cluster.threads)
    return distributed.SpecCluster(workers=workers, scheduler=scheduler, silence_logs=quiet)


def _workers_that_fit(distributed: Any, cluster: Cluster) -> int:
    if cluster.gpu:
        return max(1, device_count("cuda"))
    memory = int(distributed.system.MEMORY_LIMIT)
    return max(1, min(processors() // cluster.threads, memory // _BYTES_A_WORKER))
