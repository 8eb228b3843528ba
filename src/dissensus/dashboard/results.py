"""Answers that are kept: whoever asks the same of the same run gets what was made for the first."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

__all__ = ["Results"]

Value = TypeVar("Value")


class Results:
    """Bytes by key, the least recently used forgotten first; one key is made once at a time.

    Lives on one event loop; what is made is made on its own few threads, so that the loop goes on.

    Args:
        limit_bytes: What all answers together may take.
        threads: How many are made at a time.
    """

    def __init__(self, *, limit_bytes: int = 64 << 20, threads: int = 2) -> None:
        self._limit_bytes = limit_bytes
        self._kept: OrderedDict[Hashable, bytes] = OrderedDict()
        self._kept_bytes = 0
        self._pending: dict[Hashable, asyncio.Future[bytes]] = {}
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="dissensus-view")

    async def get(self, key: Hashable, make: Callable[[], bytes]) -> bytes:
        """The answer of this key: the kept one, the one being made, or a new one."""
        kept = self._kept.get(key)
        if kept is not None:
            self._kept.move_to_end(key)
            return kept
        if key not in self._pending:
            loop = asyncio.get_running_loop()
            made = loop.run_in_executor(self._pool, make)
            self._pending[key] = made
            made.add_done_callback(lambda done: self._finish(key, done))
        # A visitor who leaves must not take the answer away from the others.
        return await asyncio.shield(self._pending[key])

    async def run(self, make: Callable[[], Value]) -> Value:
        """Make something that is not kept, on the same threads."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, make)

    def close(self) -> None:
        """Make nothing any more."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _finish(self, key: Hashable, done: asyncio.Future[bytes]) -> None:
        self._pending.pop(key, None)
        if done.cancelled() or done.exception() is not None:
            return  # reading the exception also says that somebody saw it
        answer = done.result()
        if len(answer) > self._limit_bytes // 4:
            return
        self._kept[key] = answer
        self._kept_bytes += len(answer)
        while self._kept_bytes > self._limit_bytes:
            _, oldest = self._kept.popitem(last=False)
            self._kept_bytes -= len(oldest)
