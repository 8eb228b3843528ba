"""What the processes of one training tell each other; one process alone talks to itself."""

from __future__ import annotations

from typing import Any

__all__ = ["from_main", "gather"]


def from_main(value: Any) -> Any:
    """The value that the first process has. Collective."""
    from accelerate.utils import broadcast_object_list

    box = [value]
    broadcast_object_list(box, from_process=0)
    return box[0]


def gather(mine: Any) -> list[Any]:
    """Everyone's value, in the order of the processes. Collective."""
    from accelerate.utils import gather_object

    everyone: list[Any] = gather_object([mine])
    return everyone
