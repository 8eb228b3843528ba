"""What a view needs of what it shows: a recorded run has it, and so has a log of a framework."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa

__all__ = ["Readable"]


class Readable(Protocol):
    """Tables of groups, rollouts and prompts with the columns of `runs.schema`."""

    @property
    def path(self) -> Path:
        """Where it lies."""

    @property
    def info(self) -> dict[str, Any]:
        """At least its state; metadata and what was dropped where that is known."""

    @property
    def attempts(self) -> Sequence[Any]:
        """Starts of the training process, each with `details`; empty where none is known."""

    def groups(self, columns: Sequence[str] | None = None) -> pa.Table:
        """One row per group."""

    def rollouts(
        self, *, generation: int | None = None, columns: Sequence[str] | None = None
    ) -> pa.Table:
        """One row per rollout, of one generation."""

    def sql(self, query: str, /) -> pa.Table:
        """Run a query over the views groups, rollouts and prompts."""
