"""The view of a training run while it goes on, for a terminal."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

from rich.console import Console, ConsoleOptions, Group, RenderResult
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from dissensus.views.format import clean_text, count, duration, fraction, number, sparkline
from dissensus.views.style import TERMINAL

__all__ = ["TrainProgress", "TrainState"]

_ROWS: tuple[tuple[str, str, Callable[[float | None], str], str], ...] = (
    ("Reward", "reward", number, "correct"),
    ("Held-out solve rate", "heldout", fraction, "correct"),
    ("Unanimous groups", "unanimous_frac", fraction, ""),
    ("  all-wrong", "all_wrong_frac", fraction, "wrong"),
    ("  all-correct", "all_correct_frac", fraction, "correct"),
    ("Silent groups", "silent_frac", fraction, ""),
    ("Effective rollouts", "effective_rollout_frac", fraction, "split"),
    ("Contrast per 1,000 rollouts", "contrast_per_1000_rollouts", number, "split"),
)
_TABLE_CELLS = 44
_BAR_FROM = 72


class TrainState(NamedTuple):
    """One step's news; `metrics` has the names of `disagreement_metrics`.

    Attributes:
        step: Steps done.
        reward: Mean reward of the step.
        heldout: Held-out solve rate, where one was measured at this step.
        heldout_standard_error: Its standard error over prompts.
        metrics: Disagreement metrics of the step.
        elapsed_s: Seconds so far.
        remaining_s: Expected seconds to go.
    """

    step: int
    reward: float | None
    heldout: float | None
    heldout_standard_error: float | None
    metrics: Mapping[str, float]
    elapsed_s: float
    remaining_s: float | None


class TrainProgress:
    """A table that rich can draw again and again while steps are added.

    Args:
        title: What is being trained.
        total: Steps there will be.
    """

    def __init__(self, title: str, total: int) -> None:
        self.title = title
        self.total = total
        self._states: list[TrainState] = []
        self._started = self._added_at = time.monotonic()
        self._stage: str | None = "starting"

    def begin(self, stage: str) -> None:
        """Say what goes on, until the next step has been taken in."""
        self._stage = stage

    def add(self, state: TrainState) -> None:
        """Take in one step."""
        self._states.append(state)
        self._stage = None
        self._added_at = time.monotonic()

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width = options.max_width
        yield Group(
            Text(f"Training: {clean_text(self.title, 200)}", style=TERMINAL["title"]),
            self._bar(width),
            self._table(max(8, min(64, width - _TABLE_CELLS))),
            Text("Ctrl-C stops; what is recorded stays.", style=TERMINAL["muted"]),
        )

    def _bar(self, width: int) -> Table:
        done = self._states[-1].step if self._states else 0
        row = Table.grid(padding=(0, 2, 0, 0))
        cells = [Text(f"step {count(done)} of {count(self.total)}"), Text(self._time())]
        if width >= _BAR_FROM:
            bar = ProgressBar(total=self.total, completed=done, width=min(40, width - 50))
            row.add_row(cells[0], bar, cells[1])
        else:
            row.add_row(*cells)
        return row

    def _time(self) -> str:
        now = time.monotonic()
        if self._stage is not None:
            return f"{duration(now - self._started)}, {self._stage}"
        last = self._states[-1]
        since = now - self._added_at
        if last.remaining_s is None:
            return f"{duration(last.elapsed_s + since)}, first step"
        left = max(0.0, last.remaining_s - since)
        return f"{duration(last.elapsed_s + since)}, about {duration(left)} left"

    def _table(self, cells: int) -> Table:
        table = Table.grid(padding=(0, 2, 0, 0))
        table.add_column(no_wrap=True, width=27)
        table.add_column(no_wrap=True, justify="right", width=9)
        table.add_column(no_wrap=True)
        for label, name, written, colour in _ROWS:
            values = [_value(state, name) for state in self._states]
            known = [value for value in values if value is not None]
            if not known and name not in ("reward", "heldout"):
                continue
            latest = written(known[-1]) if known else written(None)
            shown = known if name == "heldout" else values
            curve = sparkline(shown[-cells:])
            table.add_row(Text(label), Text(latest), Text(curve, style=TERMINAL.get(colour, "")))
        return table


def _value(state: TrainState, name: str) -> float | None:
    value = getattr(state, name) if name in ("reward", "heldout") else state.metrics.get(name)
    return None if value is None or not math.isfinite(value) else float(value)
