"""Which allocators a replay can let compete: those that counts are enough for."""

from __future__ import annotations

from dissensus.core import allocation
from dissensus.core.allocation import Written
from dissensus.errors import InputError

__all__ = ["everyone", "read_entries"]

NEEDS_LENGTHS = "it looks at the lengths of completions, which counts do not have"


def read_entries(text: str) -> list[Written]:
    """Read allocators, separated by commas.

    Raises:
        InputError: One cannot be read, is unknown, stands there twice, or cannot be replayed.
    """
    entries = allocation.read_list(text, where="--allocators")
    for entry in entries:
        if entry.strategy.allocator.needs_lengths:
            raise InputError(
                f"{entry.name} cannot be replayed: {NEEDS_LENGTHS}", where="--allocators"
            )
    return entries


def everyone() -> tuple[list[Written], dict[str, str]]:
    """Every registered allocator that counts are enough for, and why the others are left out."""
    left_out, entries = {}, []
    for name in ("uniform", *(each for each in allocation.names() if each != "uniform")):
        if allocation.describe(name).allocator.needs_lengths:
            left_out[name] = NEEDS_LENGTHS
        else:
            entries.append(Written(name))
    return entries, left_out
