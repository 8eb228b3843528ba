"""A process of the benchmark: trains what standard input orders, one JSON line each.

    order   {"folder": …, "training": {…}}
    reply   {"share": 0.4}, any number of times, then {"done": true} or {"failed": "why"}

It ends when standard input does, also in the middle of a training: whoever gave the orders is gone.
"""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dissensus.lab.bench.plan import Training

__all__ = ["main"]


def main() -> None:
    """Serve until standard input ends."""
    # Whatever a framework prints must not come between the replies.
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    orders: queue.SimpleQueue[str] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(orders,), daemon=True).start()

    def reply(**content: Any) -> None:
        replies.write(json.dumps(content) + "\n")
        replies.flush()

    while True:
        _obey(json.loads(orders.get()), reply)


def _read(orders: queue.SimpleQueue[str]) -> None:
    for line in sys.stdin:
        orders.put(line)
    os._exit(0)


def _obey(order: dict[str, Any], reply: Callable[..., None]) -> None:
    try:
        from dissensus.lab.bench.plan import Training

        training = Training.from_json(order["training"])
        _train(training, Path(order["folder"]), reply)
    except Exception as error:  # noqa: BLE001 — a training that fails must not end the others
        reply(failed=f"{type(error).__name__}: {error}")
    else:
        reply(done=True)


def _train(training: Training, folder: Path, reply: Callable[..., None]) -> None:
    import torch

    from dissensus.lab.bench.one_training import train_once
    from dissensus.lab.bench.records import write_record

    torch.set_num_threads(1)
    record = train_once(training, lambda share: reply(share=round(share, 4)))
    write_record(folder, record)


if __name__ == "__main__":
    main()
