"""Runs that are open: each is opened once, and closed when many others were asked for since."""

from __future__ import annotations

import threading
from collections import OrderedDict

from dissensus.dashboard.discovery import Found
from dissensus.runs import Run
from dissensus.views.live_views import LiveSource

__all__ = ["Opened"]

_MOST = 32


class Opened:
    """The sources of the runs that visitors look at."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._opening: dict[str, threading.Lock] = {}
        self._sources: OrderedDict[str, tuple[tuple[int, int], LiveSource]] = OrderedDict()

    def get(self, found: Found) -> LiveSource:
        """The source of a run.

        Raises:
            RunError: It cannot be read.
        """
        made = found.made
        with self._lock:
            source = self._held(found, made)
            if source is not None:
                return source
            lock = self._opening.setdefault(found.id, threading.Lock())
        with lock:  # a large run takes a while: only those who want this one wait for it
            return self._open(found, made)

    def _held(self, found: Found, made: tuple[int, int]) -> LiveSource | None:
        held = self._sources.get(found.id)
        if held is None or held[0] != made:
            return None
        self._sources.move_to_end(found.id)
        return held[1]

    def _open(self, found: Found, made: tuple[int, int]) -> LiveSource:
        with self._lock:
            source = self._held(found, made)
        if source is None:
            # One file that cannot be read must not hide the rest of a run from the page.
            source = LiveSource(Run(found.path, on_unreadable="skip"))
        with self._lock:
            self._opening.pop(found.id, None)
            self._sources[found.id] = made, source
            while len(self._sources) > _MOST:
                self._sources.popitem(last=False)
        return source
