"""What the list of runs, and the top of every page of a run, say about it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

from dissensus.runs import Run
from dissensus.views.format import UNKNOWN, one_line

__all__ = ["Head", "Sparks", "describe_run", "sparks"]

_POINTS = 60
_WORDS = {"estimator": "", "allocator": "allocator ", "silent": "silent groups: "}


class Head(NamedTuple):
    """What is known of a run without reading its groups; texts are made safe.

    Attributes:
        state: "running", "finished" or "died".
        method: Estimator, allocator and treatment of silent groups, as recorded.
        settings: What else the recorder was told, by name.
        step: The last step it was at, or None.
        started: When its last attempt began, local time; empty where unknown.
        dropped: What the recorder could not keep, by kind.
    """

    state: str
    method: str
    settings: list[tuple[str, str]]
    step: int | None
    started: str
    dropped: dict[str, int]


class Sparks(NamedTuple):
    """A run in a line of the list: counts, and two curves of at most 60 points, oldest first."""

    steps: int
    rollouts: int
    split: list[float | None]
    reward: list[float | None]


def describe_run(run: Run) -> Head:
    """Read what a run says about itself.

    Raises:
        RunError: Its files cannot be read.
    """
    info, attempts = run.info, run.attempts
    metadata = _settings(info)
    if attempts:
        metadata |= _settings(attempts[-1].details)
    said = [
        f"{words}{_text(metadata[name])}" for name, words in _WORDS.items() if metadata.get(name)
    ]
    step = info.get("step")
    return Head(
        state=one_line(info["state"], 40),
        method=", ".join(said) or UNKNOWN,
        settings=[(one_line(str(k), 60), _text(v)) for k, v in sorted(metadata.items())],
        step=step if isinstance(step, int) else None,
        started=_local_time(attempts[-1].started_s) if attempts else "",
        dropped={one_line(str(k), 60): n for k, n in info["dropped"].items() if n},
    )


def sparks(run: Run) -> Sparks:
    """Read how a run went, from its sums per step."""
    columns = ("rollouts", "scored_groups", "unanimous", "reward_mean")
    steps = run.steps(split="train").select(columns).to_pydict()
    scored, unanimous = steps["scored_groups"], steps["unanimous"]
    split = [
        1.0 - u / n if n and u is not None else None for u, n in zip(unanimous, scored, strict=True)
    ]
    return Sparks(
        steps=len(split),
        rollouts=int(sum(steps["rollouts"])),
        split=_thin(split),
        reward=_thin(steps["reward_mean"]),
    )


def _settings(details: Mapping[str, Any]) -> dict[str, Any]:
    metadata = details.get("metadata")
    return dict(metadata) if isinstance(metadata, Mapping) else {}


def _local_time(moment_s: float) -> str:
    """Empty for what is no moment: a file of a run may say anything."""
    with contextlib.suppress(ValueError, OverflowError, OSError):
        if moment_s > 0:
            return time.strftime("%Y-%m-%d %H:%M", time.localtime(moment_s))
    return ""


def _thin(values: list[float | None]) -> list[float | None]:
    """Means of at most 60 stretches."""
    count = min(_POINTS, len(values))
    thin: list[float | None] = []
    for i in range(count):
        stretch = values[i * len(values) // count : (i + 1) * len(values) // count]
        known = [value for value in stretch if value is not None]
        thin.append(sum(known) / len(known) if known else None)
    return thin


def _text(value: Any) -> str:
    return one_line(str(value), 160)
