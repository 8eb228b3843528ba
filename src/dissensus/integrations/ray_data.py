"""Shares of a run added up by Ray Data, on this machine or on a cluster.

Ray Data sends a share to whoever is free and sends it again where a worker has died; in which order
answers come does not matter. Workers need this package in the same version, and to see the run.
What compaction has added up is read here: that takes less time than a worker takes to begin.
"""

from __future__ import annotations

import contextlib
import logging
import os
import pickle
import signal
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pyarrow as pa

from dissensus import __version__
from dissensus._optional import require
from dissensus.errors import InputError, MissingDependencyError, RunError
from dissensus.runs.shares import Share, add_up_here

__all__ = ["LOCAL", "add_up_on_ray"]

LOCAL = "local"
"""In place of an address: a cluster on this machine, which ends with the work."""

_TAIL = 512
"""So many single generations a Recorder leaves uncompacted while it goes on."""

_EXTRA = "pip install 'dissensus[ray]'"


def add_up_on_ray(
    shares: Sequence[Share],
    *,
    address: str,
    workers: int | None = None,
    prepare: Callable[[], None] | None = None,
) -> Iterator[dict[str, pa.Table]]:
    """Give the tables of every share as its worker is done with it.

    Args:
        shares: What there is to add up.
        address: Of a cluster, as `ray.init` takes it, `"auto"` for one that runs here, or `LOCAL`.
        workers: So many work at once; as many as the cluster has cores where it is not said.
        prepare: Called by a worker before each share.

    Raises:
        MissingDependencyError: Ray is not installed here, or this package is not where it works.
        InputError: No cluster answers, or its workers have another version or do not see the run.
        RunError: The run cannot be read, or Ray gave up.
    """
    heavy = [share for share in shares if not share.is_rolled_up]
    if all(not share.parts for share in heavy) and sum(map(_files, heavy)) <= _TAIL:
        heavy = []
    yield from add_up_here([s for s in shares if s.is_rolled_up] if heavy else shares)
    if not heavy:
        return
    ray = require("ray", "ray")
    with _cluster(ray, address, workers):
        data = require("ray.data", "ray")
        context = data.DataContext.get_current()
        context.enable_progress_bars = False
        for name in ("ray.data", "ray"):
            logging.getLogger(name).setLevel(logging.ERROR)
        items = [{"share": pickle.dumps(share)} for share in heavy]
        answers = data.from_items(items, override_num_blocks=len(items)).map_batches(
            _worker(__version__, prepare),
            batch_size=1,
            batch_format="pyarrow",
            zero_copy_batch=True,
            compute=data.TaskPoolStrategy(size=workers and min(workers, len(items))),
        )
        try:
            for batch in answers.iter_batches(batch_size=None, batch_format="pyarrow"):
                for answer in batch.to_pylist():
                    yield _opened(answer, address)
        except ray.exceptions.RayError as error:
            raise RunError(
                "Ray could not add the run up", where=address, got=str(error).splitlines()[-1]
            ) from error


def _files(share: Share) -> int:
    return len(share.segments)


@contextlib.contextmanager
def _cluster(ray: Any, address: str, workers: int | None) -> Iterator[None]:
    if ray.is_initialized():
        yield
        return
    quiet = {"log_to_driver": False, "logging_level": logging.ERROR}
    try:
        if address == LOCAL:
            with _interrupted_later():
                ray.init(address="local", num_cpus=workers, include_dashboard=False, **quiet)
        else:
            _knock(address)
            ray.init(address=address, **quiet)
    except (ConnectionError, OSError, ValueError, RuntimeError) as error:
        raise InputError(
            "no Ray cluster answers",
            where=address,
            got=str(error).strip().splitlines()[0],
            hint=f"--ray {LOCAL} starts one on this machine, ray start --head one that stays",
        ) from error
    try:
        yield
    finally:
        ray.shutdown()


@contextlib.contextmanager
def _interrupted_later() -> Iterator[None]:
    """Let Ctrl-C wait for the end of the block: Ray crashes where it comes amid its start."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    signals: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _: signals.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if signals:
        raise KeyboardInterrupt


def _knock(address: str) -> None:
    """Fail in seconds where nobody listens; Ray itself tries for two minutes."""
    if address == "auto":
        address = os.environ.get("RAY_ADDRESS", "")
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if colon and port.isdigit():
        socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()


def _worker(version: str, prepare: Callable[[], None] | None) -> Callable[[pa.Table], pa.Table]:
    """What a worker does; it is sent by value, so that it can say that this package is missing."""

    def work(batch: pa.Table) -> pa.Table:
        import io
        import pickle
        import socket

        import pyarrow as pa

        def answer(kind: str, content: bytes) -> pa.Table:
            row = {"kind": [kind], "host": [socket.gethostname()]}
            return pa.table({**row, "content": pa.array([content], pa.large_binary())})

        if prepare is not None:
            prepare()
        try:
            import dissensus
        except ImportError as error:
            return answer("missing", str(error).encode())
        if dissensus.__version__ != version:
            return answer("version", dissensus.__version__.encode())
        from dissensus.runs.shares import add_up_here

        share = pickle.loads(batch["share"][0].as_py())  # noqa: S301 — from our own driver
        unseen = [s.path for s in (*share.parts, *share.segments) if not s.path.exists()]
        if unseen:
            return answer("unseen", str(unseen[0]).encode())
        try:
            (tables,) = add_up_here([share], threads=1)  # Ray has a worker for every core
        except Exception as error:  # noqa: BLE001 — the driver says what it means
            return answer("error", f"{type(error).__name__}: {error}".encode())
        stream = io.BytesIO()
        pickle.dump({name: table.combine_chunks() for name, table in tables.items()}, stream)
        return answer("tables", stream.getvalue())

    return work


def _opened(answer: dict[str, Any], address: str) -> dict[str, pa.Table]:
    """The tables of an answer, or the error that it is about."""
    import duckdb

    kind, host, content = answer["kind"], answer["host"], answer["content"]
    if kind == "tables":
        tables: dict[str, pa.Table] = pickle.loads(content)  # noqa: S301 — from our own worker
        return tables
    text = content.decode("utf-8", "replace")
    if kind == "missing":
        raise MissingDependencyError(
            f"a Ray worker on {host} cannot import dissensus", got=text, hint=f"{_EXTRA} there too"
        )
    if kind == "version":
        raise InputError(
            f"a Ray worker on {host} has dissensus {text}, and this is {__version__}",
            where=address,
            hint="install the same version everywhere",
        )
    if kind == "unseen" and os.path.exists(text):  # noqa: PTH110 — a path of another machine
        raise InputError(
            f"a Ray worker on {host} does not see the run",
            where=text,
            hint="put it on a file system that all nodes share, under the same path",
        )
    # Whoever asked finds out whether a file is broken, or was compacted meanwhile.
    raise duckdb.IOException(f'"{text}" is gone' if kind == "unseen" else text)
