"""Who waits for news of which run, and one look at the disk for all of them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable

__all__ = ["News"]

_LOOK_S = 0.5
_BEAT_S = 15.0
_MOST_WAITING = 100


class News:
    """Tells those who wait when a version changes.

    While anybody waits, the versions that are waited for are read twice a second: once for all who
    wait, on a thread, so that a slow disk holds up nobody.

    Args:
        version: The version of what is waited for: the id of a run, or "" for the list of runs.
    """

    def __init__(self, version: Callable[[str], str]) -> None:
        self._version = version
        self._waiting: dict[asyncio.Queue[str | None], str] = {}
        self._known: dict[str, str] = {}
        self._watch: asyncio.Task[None] | None = None
        self._is_closed = False

    @property
    def is_full(self) -> bool:
        """Whether as many wait as may wait."""
        return self._is_closed or len(self._waiting) >= _MOST_WAITING

    async def events(self, topic: str) -> AsyncIterator[str]:
        """Server-sent events: the version now, each new one, a comment where nothing happens."""
        queue: asyncio.Queue[str | None] = asyncio.Queue()
        self._waiting[queue] = topic
        try:
            self._known.pop(topic, None)
            if self._watch is None or self._watch.done():
                self._watch = asyncio.create_task(self._look())
            while True:
                try:
                    version = await asyncio.wait_for(queue.get(), _BEAT_S)
                except TimeoutError:
                    yield ": nothing new\n\n"
                    continue
                if version is None:
                    return
                yield f"event: version\ndata: {json.dumps(version)}\n\n"
        finally:
            del self._waiting[queue]
            if topic not in self._waiting.values():
                self._known.pop(topic, None)

    def close(self) -> None:
        """Let all go who wait: the server ends."""
        self._is_closed = True
        for queue in self._waiting:
            queue.put_nowait(None)

    async def _look(self) -> None:
        while self._waiting and not self._is_closed:
            for topic in set(self._waiting.values()):
                version = await asyncio.to_thread(self._version, topic)
                if version == self._known.get(topic):
                    continue
                self._known[topic] = version
                for queue, its_topic in self._waiting.items():
                    if its_topic == topic:
                        queue.put_nowait(version)
            await asyncio.sleep(_LOOK_S)
