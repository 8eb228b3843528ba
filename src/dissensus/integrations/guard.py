"""What goes wrong in a training loop: said once, counted, and never raised."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["Guard"]


class Guard:
    """Stands between a training loop and what must not stop it.

    Args:
        log: Where warnings go.

    Attributes:
        failures: What could not be done → how often.

    Example:
        >>> guard = Guard(logging.getLogger("quiet"))
        >>> with guard("divide"):
        ...     1 / 0
        >>> guard.failures
        Counter({'divide': 1})
    """

    def __init__(self, log: logging.Logger) -> None:
        self.failures: Counter[str] = Counter()
        self._log = log
        self._said: set[str] = set()

    @contextmanager
    def __call__(self, what: str) -> Iterator[None]:
        """Count what goes wrong inside, say it the first time, and go on."""
        try:
            yield
        except Exception as error:  # noqa: BLE001 - nothing may stop training
            self.failures[what] += 1
            self.say(f"could not {what}", f"could not {what} ({error!r}); training goes on without")

    def say(self, about: str, text: str) -> None:
        """Warn, unless something was said about this before."""
        if about not in self._said:
            self._said.add(about)
            self._log.warning("dissensus: %s", text)
