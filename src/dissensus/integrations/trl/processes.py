"""What the processes of one training tell each other; one process alone talks to itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from dissensus.errors import RunError

__all__ = ["from_main", "gather", "together"]

T = TypeVar("T")


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


def together(do: Callable[[], T]) -> T:
    """What this process makes of its own part, once it is clear that all others can do theirs.

    Collective: a process that raised alone would leave the others waiting in the next exchange.

    Raises:
        RunError: On the processes that could do theirs, when another could not; that one raises
            its own error.
    """
    result, failure = None, None
    try:
        result = do()
    except Exception as error:  # noqa: BLE001 - raised below, when the others have heard of it
        failure = error
    said = gather(None if failure is None else str(failure) or repr(failure))
    if failure is not None:
        raise failure
    for rank, text in enumerate(said):
        if text is not None:
            raise RunError("another process cannot go on", where=f"process {rank}", got=text)
    return result  # type: ignore[return-value]
