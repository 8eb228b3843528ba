"""A function under audit behind an adapter: whatever it does, an answer or one clear line."""

from __future__ import annotations

import contextlib
import io
import random
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import numpy as np

from dissensus.audit.blackbox.batch import Batch
from dissensus.audit.blackbox.moments import Floats
from dissensus.audit.blackbox.watch import watched
from dissensus.errors import DissensusError, UnsupportedError

__all__ = ["Adapter", "CallError", "Reply", "Subject"]


class CallError(DissensusError, RuntimeError):
    """The function raised, returned something unusable, or took too long."""


class Adapter(Protocol):
    """Knows one signature: whether a function has it, and how to call it on a batch."""

    @property
    def name(self) -> str:
        """Short name, for `--adapter` and answers."""

    @property
    def reads(self) -> tuple[str, ...]:
        """Which of values, log_probs and baselines it passes on."""

    @property
    def ragged(self) -> bool:
        """Whether groups of unequal size, in any order, can be passed."""

    def accepts(self, function: Callable[..., Any]) -> bool:
        """Whether the function's parameters are the ones that this adapter passes."""

    def call(self, function: Callable[..., Any], batch: Batch) -> Any:
        """Call the function and return (N,) or (N, T) numbers in the order of the batch."""

    def reseed(self, seed: int) -> None:
        """Seed the random generators that such functions use."""


class Reply(NamedTuple):
    """What a call returned.

    Attributes:
        advantages: (N,) one per rollout; for a per-token rule the one of the first token.
        tokens: (N, T) per token, 0 where there is no token; None when one per rollout came.
        per_token: Tokens of one rollout have different advantages.
    """

    advantages: Floats
    tokens: Floats | None
    per_token: bool


@dataclass
class Subject:
    """Calls a function and keeps count of what went wrong.

    Args:
        function: What is audited.
        adapter: How it is called.
        call_limit_s: Longest time one call may take.
        budget_s: Longest time all calls together may take.
    """

    function: Callable[..., Any]
    adapter: Adapter
    call_limit_s: float = 30.0
    budget_s: float = 120.0
    calls: int = 0
    printed: int = 0
    failures: list[str] = field(default_factory=list)
    changed: set[str] = field(default_factory=set)
    _spent_s: float = 0.0

    def ask(self, batch: Batch) -> Reply:
        """Call the function on a copy of the batch.

        Raises:
            CallError: It raised, returned something else than numbers of the right shape, or the
                time is up. The text is one line.
            UnsupportedError: Its signature cannot take such a batch.
        """
        if self._spent_s > self.budget_s:
            raise CallError("the time for this function is used up", got=f"{self.calls} calls")
        self.calls += 1
        begun = time.monotonic()
        try:
            result = self._call(batch)
        finally:
            self._spent_s += time.monotonic() - begun
        return _read(result, batch)

    def try_ask(self, batch: Batch) -> Reply | None:
        """As `ask`, but a failure is noted (once per text) and gives None."""
        try:
            return self.ask(batch)
        except UnsupportedError:
            return None
        except CallError as error:
            line = str(error)
            if line not in self.failures:
                self.failures.append(line)
            return None

    def _call(self, batch: Batch) -> Any:
        box: list[Any] = []
        function = watched(self.function, self.changed)

        def work() -> None:
            try:
                box.append(("value", self.adapter.call(function, batch)))
            except BaseException as error:  # noqa: BLE001 (a function may even call sys.exit)
                box.append(("error", error))

        with _quiet() as text:
            thread = threading.Thread(target=work, daemon=True)
            thread.start()
            thread.join(self.call_limit_s)
        self.printed += bool(text.getvalue())
        if not box:
            self._spent_s = np.inf
            raise CallError(f"the function did not return within {self.call_limit_s:g} s")
        kind, value = box[0]
        if kind == "error":
            if isinstance(value, UnsupportedError):
                raise value
            text_line = " ".join(str(value).split()) or "no text"
            raise CallError(f"the function raised {type(value).__name__}: {text_line[:200]}")
        return value


@contextlib.contextmanager
def _quiet() -> Iterator[io.StringIO]:
    text = io.StringIO()
    with (
        warnings.catch_warnings(),
        np.errstate(all="ignore"),
        contextlib.redirect_stdout(text),
        contextlib.redirect_stderr(text),
    ):
        warnings.simplefilter("ignore")
        yield text


def seed_numpy(seed: int) -> None:
    """Seed the global generators of numpy and of the standard library."""
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 (functions under audit use the global generator)


def _read(result: Any, batch: Batch) -> Reply:
    count, mask = len(batch.rewards), batch.mask
    if result is None:
        raise CallError("the function returned None: is there a return statement?")
    try:
        values = np.asarray(result, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise CallError(
            "the function returned something that is not numbers", got=type(result).__name__
        ) from error
    if values.shape == (count,):
        return Reply(values, None, per_token=False)
    if values.size == count and values.ndim == 2 and values.shape[0] in (count, batch.n_groups):
        return Reply(values.reshape(-1), None, per_token=False)
    if values.shape == mask.shape:
        tokens = np.where(mask, values, 0.0)
        first = tokens[:, 0]
        finite = np.where(np.isfinite(tokens), tokens, 0.0)
        scale = 1e-6 * max(float(np.abs(finite).max(initial=0.0)), 1e-30)
        varies = np.where(mask, np.abs(finite - finite[:, :1]), 0.0).max() > scale
        return Reply(first, tokens, per_token=bool(varies))
    raise CallError(
        "the function returned advantages of another shape",
        got=values.shape,
        hint=f"one per rollout would be ({count},), one per token {mask.shape}",
    )
