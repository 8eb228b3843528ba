"""What a run says about itself: run.json, attempts/N.json, heartbeat.json, and what follows.

Every start of a training process opens an attempt. A restart at step s supersedes what earlier
attempts trained on at step s and later, and what they evaluated after it: nothing is deleted, the
rows just do not count any more. `dissensus.runs.scan.live` is the rule.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
import time
import uuid
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from dissensus.errors import RunError
from dissensus.runs import store
from dissensus.runs.schema import SCHEMA_VERSION, TABLES

__all__ = [
    "FORMAT",
    "Attempt",
    "await_attempt",
    "carried_over",
    "end_steps",
    "heartbeat_path",
    "open_attempt",
    "process_identity",
    "read_attempts",
    "read_heartbeats",
    "read_info",
    "restore",
    "run_state",
    "update_attempt",
]

FORMAT = "dissensus-run"
STALE_S = 120.0
"""A run whose heartbeat is older than this, written on another machine, has died."""

_ATTEMPT = re.compile(r"(\d+)\.json")
_HEARTBEAT = re.compile(r"heartbeat(?:-rank=(\d+))?\.json")


class Attempt(NamedTuple):
    """One start of the training process.

    Attributes:
        attempt: Its number, from 1.
        start_step: First step it trains at; it supersedes what earlier attempts did from there.
        first_generation: Number of its first generation.
        started_s: When it started, seconds since 1970, UTC.
        details: Everything else the file holds: metadata, versions, how it ended.
    """

    attempt: int
    start_step: int
    first_generation: int
    started_s: float
    details: Mapping[str, Any]


# ---- writing ---------------------------------------------------------------------------------


def open_attempt(run_dir: Path, start_step: int, details: Mapping[str, Any]) -> Attempt:
    """Make the run where there is none, and take the next attempt number in it.

    Raises:
        OSError: The folder cannot be made or written.
        RunError: The folder holds something that is not a run.
    """
    _make_run(run_dir, details.get("metadata"))
    earlier = read_attempts(run_dir)
    first = store.next_generation(run_dir, [table for table in TABLES if table != "scalars"])
    first = max([first, *(a.first_generation for a in earlier)])
    number = max((a.attempt for a in earlier), default=0) + 1
    while True:
        attempt = Attempt(number, start_step, first, time.time(), dict(details))
        if _create(run_dir / "attempts" / f"{number}.json", _attempt_json(attempt)):
            return attempt
        number += 1  # another process took it between our listing and our file


def update_attempt(run_dir: Path, attempt: Attempt, details: Mapping[str, Any]) -> Attempt:
    """Rewrite the file of an attempt with further details, for example how it ended."""
    attempt = attempt._replace(details={**attempt.details, **details})
    store.commit_json(run_dir / "attempts" / f"{attempt.attempt}.json", _attempt_json(attempt))
    return attempt


def await_attempt(run_dir: Path, number: int, *, timeout_s: float) -> Attempt:
    """Read attempt `number`, which rank 0 opens: a shared file system may show it late.

    Raises:
        RunError: It is not there after `timeout_s` seconds.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        for attempt in read_attempts(run_dir):
            if attempt.attempt == number:
                return attempt
        if time.monotonic() > deadline:
            raise RunError(
                f"attempt {number} is not there after {timeout_s:g} s",
                where=str(run_dir),
                hint="rank 0 must open its Recorder first, and the folder must be shared",
            )
        time.sleep(0.05)


def carried_over(run_dir: Path) -> dict[str, Any]:
    """What a new attempt takes over from the last one: spent text budget, reward values seen."""
    beat = read_heartbeats(run_dir).get(0, {})
    return {
        "text_bytes_before": beat.get("text_bytes", 0.0),
        "prompt_bytes_before": beat.get("prompt_bytes", 0.0),
        "reward_values_before": beat.get("reward_values", []),
    }


def restore(run_dir: Path, attempt: Attempt) -> None:
    """Make a run again that somebody removed while it was being written."""
    _make_run(run_dir, attempt.details.get("metadata"))
    update_attempt(run_dir, attempt, {})


def _make_run(run_dir: Path, metadata: Any) -> None:
    run_dir.mkdir(parents=True, exist_ok=True)
    if (run_dir / "run.json").exists():
        read_info(run_dir)  # refuses what is not a run
        return
    info = {
        "format": FORMAT,
        "schema_version": SCHEMA_VERSION,
        "run_id": uuid.uuid4().hex,
        "created_s": time.time(),
        "metadata": metadata or {},
    }
    _create(run_dir / "run.json", info)


def _create(path: Path, value: Mapping[str, Any]) -> bool:
    """Commit a JSON file unless it exists: link() fails where rename() would replace."""
    staged = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    store.commit_json(staged, value)
    try:
        os.link(staged, path)
    except FileExistsError:
        return False
    except OSError:  # a file system without hard links
        if path.exists():
            return False
        store.commit_json(path, value)
    finally:
        with contextlib.suppress(OSError):
            staged.unlink()
    return True


def _attempt_json(attempt: Attempt) -> dict[str, Any]:
    head = attempt._asdict()
    del head["details"]
    return {**attempt.details, **head}


def heartbeat_path(run_dir: Path, rank: int) -> Path:
    """heartbeat.json for rank 0, heartbeat-rank=N.json for the others."""
    return run_dir / ("heartbeat.json" if rank == 0 else f"heartbeat-rank={rank}.json")


def process_identity() -> dict[str, Any]:
    """Host, process id and the process's start tick, which tells a reused id apart."""
    pid = os.getpid()
    return {"host": socket.gethostname(), "pid": pid, "start_tick": _start_tick(pid)}


def _start_tick(pid: int) -> int | None:
    """Field 22 of /proc/PID/stat, -1 for a process that has ended but was not waited for."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        fields = stat.rpartition(")")[2].split()
        return -1 if fields[0] in "ZX" else int(fields[19])
    return None


# ---- reading ---------------------------------------------------------------------------------


def read_info(run_dir: Path) -> dict[str, Any]:
    """Read run.json.

    Raises:
        RunError: The folder is absent or not a run.
    """
    if not run_dir.is_dir():
        what = "a run is a folder, not a file" if run_dir.exists() else "there is no such folder"
        raise RunError(what, where=str(run_dir))
    path = run_dir / "run.json"
    if not path.exists():
        raise RunError(
            "the folder is not a run", where=str(run_dir), hint="a run folder holds run.json"
        )
    info = store.read_json(path)
    if info.get("format") != FORMAT:
        raise RunError(f'run.json must say "format": "{FORMAT}"', where=str(path))
    return info


def read_attempts(run_dir: Path) -> list[Attempt]:
    """All attempts, in the order of their numbers.

    Raises:
        RunError: A file of an attempt is unreadable: which rows count cannot be known then.
    """
    folder = run_dir / "attempts"
    paths = folder.iterdir() if folder.is_dir() else ()
    return sorted(_parse_attempt(path) for path in paths if _ATTEMPT.fullmatch(path.name))


def _parse_attempt(path: Path) -> Attempt:
    value = store.read_json(path)
    head = ("attempt", "start_step", "first_generation")
    try:
        number, step, first = (int(value.pop(name)) for name in head)
        started_s = float(value.pop("started_s", 0.0))
    except (KeyError, TypeError, ValueError) as error:
        raise RunError(f"the file must hold {', '.join(head)}", where=str(path)) from error
    return Attempt(number, step, first, started_s, value)


def end_steps(attempts: Iterable[Attempt]) -> dict[int, int | None]:
    """Attempt → the step at which a later one took over, or None where all of its rows count.

    Example:
        >>> starts = {1: 0, 2: 50, 3: 20}
        >>> end_steps(Attempt(number, step, 0, 0.0, {}) for number, step in starts.items())
        {1: 20, 2: 20, 3: None}
    """
    ends: dict[int, int | None] = {}
    lowest: int | None = None
    for attempt in sorted(attempts, reverse=True):
        ends[attempt.attempt] = lowest
        lowest = attempt.start_step if lowest is None else min(lowest, attempt.start_step)
    return dict(sorted(ends.items()))


def read_heartbeats(run_dir: Path) -> dict[int, dict[str, Any]]:
    """Rank → its last heartbeat. One that cannot be read is left out: the next replaces it."""
    beats = {}
    for path in run_dir.glob("heartbeat*.json"):
        match = _HEARTBEAT.fullmatch(path.name)
        if match is None:
            continue
        with contextlib.suppress(RunError):
            beats[int(match.group(1) or 0)] = store.read_json(path)
    return dict(sorted(beats.items()))


def run_state(run_dir: Path, *, now_s: float | None = None) -> str:
    """One of "running", "finished", "died".

    On the machine that writes the run the process itself is asked; elsewhere a heartbeat older than
    two minutes means died.
    """
    beat = read_heartbeats(run_dir).get(0)
    if beat is None or beat.get("state") not in ("running", "finished"):
        return "died"
    if beat["state"] == "finished":
        return "finished"
    if beat.get("host") == socket.gethostname() and os.name == "posix":
        return "running" if _is_alive(beat) else "died"
    beaten_s = beat.get("time_s")
    if not isinstance(beaten_s, int | float):
        return "died"
    age_s = (time.time() if now_s is None else now_s) - beaten_s
    return "running" if age_s <= STALE_S else "died"


def _is_alive(beat: Mapping[str, Any]) -> bool:
    try:
        pid = int(beat["pid"])
        os.kill(pid, 0)
    except PermissionError:
        return True
    except (ProcessLookupError, KeyError, TypeError, ValueError, OverflowError):
        return False
    recorded = beat.get("start_tick")
    return recorded is None or recorded == _start_tick(pid)
