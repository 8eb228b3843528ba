"""The exceptions of Dissensus.

Each one is also the standard-library exception a caller would expect, and its text is one line:
where it happened, what is wrong, what was got, and a hint.

    DissensusError
    ├── InputError               (ValueError)    data or an argument that cannot be used
    ├── MissingContextError      (LookupError)   a rule needs more than rewards, and has it not
    ├── MissingDependencyError   (ImportError)   an optional package is not installed
    ├── RunError                 (OSError)       a run folder is absent or cannot be read
    └── UnsupportedError         (RuntimeError)  a combination is refused before anything starts
"""

from __future__ import annotations

from typing import Any

__all__ = [
    "DissensusError",
    "InputError",
    "MissingContextError",
    "MissingDependencyError",
    "RunError",
    "UnsupportedError",
]


class DissensusError(Exception):
    """Base class of every error this package raises on purpose.

    Args:
        what: What is wrong, as a sentence without a full stop.
        where: File, row, argument or function it concerns.
        got: The offending value; shown with ``repr`` and shortened.
        hint: What to do about it, as a sentence without a full stop.

    Example:
        >>> str(InputError("lengths differ", got=(3, 4), hint="pass one id per rollout"))
        'lengths differ. Got (3, 4). Hint: pass one id per rollout.'
    """

    def __init__(
        self, what: str, *, where: str | None = None, got: Any = None, hint: str | None = None
    ) -> None:
        self.what, self.where, self.got, self.hint = what, where, got, hint
        super().__init__(self._line())

    def _line(self) -> str:
        head = f"{self.where}: {self.what}" if self.where else self.what
        parts = [head.rstrip(".") + "."]
        if self.got is not None:
            parts.append(f"Got {_shorten(repr(self.got))}.")
        if self.hint:
            parts.append(f"Hint: {self.hint.rstrip('.')}.")
        return " ".join(parts) if len(parts) > 1 else head

    def __str__(self) -> str:
        return self._line()

    def __reduce__(self) -> tuple[Any, ...]:
        return (_rebuild, (type(self), self.what, self.where, self.got, self.hint))


class InputError(DissensusError, ValueError):
    """Data or an argument that cannot be used."""


class MissingContextError(DissensusError, LookupError):
    """A rule needs more than total rewards, and the context does not hold it."""


class MissingDependencyError(DissensusError, ImportError):
    """An optional package is not installed."""


class RunError(DissensusError, OSError):
    """A run folder is absent, or what it holds cannot be read."""


class UnsupportedError(DissensusError, RuntimeError):
    """A combination that cannot work is refused before anything starts."""


def _rebuild(
    cls: type[DissensusError], what: str, where: str | None, got: Any, hint: str | None
) -> DissensusError:
    return cls(what, where=where, got=got, hint=hint)


def _shorten(text: str, limit: int = 120) -> str:
    printable = "".join(c if c.isprintable() else "?" for c in text)
    return printable if len(printable) <= limit else printable[: limit - 1] + "…"
