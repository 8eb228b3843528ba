"""Runs that are open: each is opened once, and closed when many others were asked for since."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Any

from dissensus.dashboard.discovery import Found
from dissensus.runs import Run
from dissensus.views.live_views import open_source

__all__ = ["Opened"]

_MOST = 32


class Opened:
    """The sources of the runs that visitors look at."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sources: OrderedDict[str, Any] = OrderedDict()

    def get(self, found: Found) -> Any:
        """The source of a run.

        Raises:
            RunError: It cannot be read.
        """
        with self._lock:
            source = self._sources.get(found.id)
            if source is None:
                # One file that cannot be read must not hide the rest of a run from the page.
                source = open_source(Run(found.path, on_unreadable="skip"))
                self._sources[found.id] = source
            self._sources.move_to_end(found.id)
            while len(self._sources) > _MOST:
                self._sources.popitem(last=False)
            return source
