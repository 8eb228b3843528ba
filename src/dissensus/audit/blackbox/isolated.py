"""Audit a function in a process of its own, so that it may crash, exit or hang."""

from __future__ import annotations

import pickle
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from dissensus.audit.answer import Answer
from dissensus.audit.blackbox.adapters import NUMPY_ADAPTERS
from dissensus.audit.blackbox.report import audit_function
from dissensus.audit.blackbox.subject import Adapter
from dissensus.audit.findings import Finding
from dissensus.errors import DissensusError, UnsupportedError

__all__ = ["audit_isolated"]

_CHILD = """
import pickle, sys
sys.path[:] = pickle.load(sys.stdin.buffer)
from dissensus.audit.blackbox.isolated import reply
reply(*pickle.load(sys.stdin.buffer))
"""


def audit_isolated(
    target: str,
    *,
    adapters: Sequence[Adapter] = NUMPY_ADAPTERS,
    adapter: str | None = None,
    budget_s: float = 120.0,
    import_limit_s: float = 180.0,
) -> Answer:
    """As `audit_function`, in a process that the function may end. What it prints is dropped.

    Args:
        target: `package.module:function`, `file.py:function`, or either with `(key=value)`.
        adapters: Ways to call it.
        adapter: Name of the one to use; None: the first that accepts its parameters.
        budget_s: Longest time of all calls together.
        import_limit_s: Longest time for everything else; importing a framework is slow.

    Raises:
        InputError: There is no such function, or nothing knows how to call it.
    """
    with TemporaryDirectory() as folder:
        place = Path(folder) / "answer"
        request = (place, target, {"adapters": adapters, "adapter": adapter, "budget_s": budget_s})
        limit_s = budget_s + import_limit_s
        try:
            done = subprocess.run(  # noqa: S603 (this interpreter, with a fixed program)
                [sys.executable, "-c", _CHILD],
                input=pickle.dumps(sys.path) + pickle.dumps(request),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                timeout=limit_s,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return _without_reply(target, f"did not come back within {limit_s:g} s")
        if not place.is_file():
            return _without_reply(target, f"ended its process ({_exit(done.returncode)})")
        found = pickle.loads(place.read_bytes())  # noqa: S301 (written by `reply`)
    if isinstance(found, DissensusError):
        raise found
    answer: Answer = found
    return answer


def reply(place: Path, target: str, options: dict[str, Any]) -> None:
    """Audit in this process and leave the answer, or the error, in a file."""
    found: Answer | DissensusError
    try:
        found = audit_function(target, **options)
    except DissensusError as error:
        found = error
    except Exception as error:  # noqa: BLE001 - the function must not be blamed for our failure
        said = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        found = UnsupportedError(f"the audit itself failed ({said})", where=target)
    whole = place.with_suffix(".part")
    whole.write_bytes(pickle.dumps(found))
    whole.replace(place)


def _without_reply(target: str, said: str) -> Answer:
    return Answer(
        target=target,
        kind="function",
        unknown=(f"estimator: the function {said}", f"silent: the function {said}"),
        findings=(Finding.of("LOG630", where=target, evidence=f"the function {said}"),),
    )


def _exit(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    return signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
