"""The report as text in a terminal; plain where the output is a pipe."""

from __future__ import annotations

import itertools
from collections.abc import Callable

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from dissensus.views.advice import advise
from dissensus.views.format import (
    UNKNOWN,
    clean_text,
    count,
    fraction,
    number,
    one_line,
    plural,
    sparkline,
)
from dissensus.views.prompts import PromptRow
from dissensus.views.queries import Measures
from dissensus.views.style import TERMINAL
from dissensus.views.summary import RunSummary

__all__ = ["prompts_table", "summary_view"]

_SPARK_WIDE, _SPARK_NARROW, _WIDE = 40, 14, 110

_MEASURES: tuple[tuple[str, str, Callable[[float | None], str], str], ...] = (
    ("Solve rate", "solve_rate", fraction, "correct"),
    ("Mean reward", "reward_mean", number, "correct"),
    ("Unanimous groups", "unanimous", fraction, ""),
    ("  all-wrong", "all_wrong", fraction, "wrong"),
    ("  all-correct", "all_correct", fraction, "correct"),
    ("Silent groups", "silent", fraction, ""),
    ("Mean group σ", "std_mean", number, ""),
    ("Effective rollouts", "effective_rollout_frac", fraction, "split"),
    ("Contrast per 1,000 rollouts", "contrast_per_1000_rollouts", number, "split"),
    ("Mean length, tokens", "length_mean", number, ""),
    ("Cut off at the limit", "truncated_frac", fraction, ""),
)


def summary_view(summary: RunSummary, *, width: int = 80) -> RenderableType:
    """Lay out a run's summary for a terminal.

    Args:
        summary: What to show.
        width: Columns there are; from 110 on the curves are drawn wider.
    """
    parts: list[RenderableType] = [_title(summary), _subtitle(summary), Text("")]
    if summary.train.groups:
        parts += [_measures_table(summary, width), Text("")]
    else:
        parts += [Text("No training group has been recorded yet."), Text("")]
    if summary.heldout is not None:
        parts += [_heldout_line(summary), Text("")]
    advice = advise(summary)
    if advice:
        parts.append(Text("What stands out", style=TERMINAL["title"]))
        parts += [Padding(_bullet(each.text), (0, 0, 0, 1)) for each in advice]
    return Group(*parts)


def prompts_table(title: str, found: list[PromptRow], *, width: int = 80) -> RenderableType:
    """List prompts with what they cost; their text is untrusted and shown made safe.

    Args:
        title: Heading of the list.
        found: Prompts, most expensive first.
        width: Columns there are.
    """
    table = Table(box=None, padding=(0, 1, 0, 1), show_edge=False, header_style=TERMINAL["muted"])
    table.add_column("visits", justify="right", no_wrap=True)
    table.add_column("rollouts", justify="right", no_wrap=True)
    table.add_column("prompt", no_wrap=True)
    for row in found:
        text = row.prompt if row.prompt is not None else row.prompt_id
        table.add_row(count(row.visits), count(row.rollouts), Text(one_line(text, width - 24)))
    return Group(Text(title, style=TERMINAL["title"]), table)


def _title(summary: RunSummary) -> Text:
    text = Text(one_line(summary.source, 200), style=TERMINAL["title"], overflow="fold")
    text.append(f"  {summary.state}", style=TERMINAL["muted"])
    if summary.attempts > 1:
        text.append(f", {plural(summary.attempts, 'attempt')}", style=TERMINAL["muted"])
    return text


def _subtitle(summary: RunSummary) -> Text:
    train, size = summary.train, summary.group_size
    groups = plural(train.groups, "group")
    if size is not None:
        span = (
            count(size.min) if size.min == size.max else f"{count(size.min)} to {count(size.max)}"
        )
        groups += f" of {span}"
    facts = [
        plural(summary.steps, "step"),
        groups,
        plural(summary.prompts, "prompt"),
        plural(train.rollouts, "rollout"),
    ]
    if summary.discarded_rollouts:
        facts.append(f"{count(train.trained_rollouts)} of them trained on")
    if summary.estimator is not None:
        facts.append(f"estimator {clean_text(summary.estimator, 80)}")
    if summary.silent_mode is not None:
        facts.append(f"silent groups: {clean_text(summary.silent_mode, 40)}")
    return Text(" · ".join(facts), style=TERMINAL["muted"])


def _measures_table(summary: RunSummary, width: int) -> Table:
    has_trend = summary.first_quarter is not None
    table = Table(box=None, padding=(0, 2, 0, 0), show_edge=False, header_style=TERMINAL["muted"])
    table.add_column("", no_wrap=True)
    table.add_column("whole run", justify="right", no_wrap=True)
    if has_trend:
        table.add_column("first ¼", justify="right", no_wrap=True)
        table.add_column("last ¼", justify="right", no_wrap=True)
        table.add_column("over time", no_wrap=True)
    cells = _SPARK_WIDE if width >= _WIDE else _SPARK_NARROW
    for label, name, written, colour in _MEASURES:
        if getattr(summary.train, name) is None and name not in ("solve_rate", "silent"):
            continue
        row = [Text(label), Text(written(getattr(summary.train, name)))]
        if has_trend:
            row += [_end(summary.first_quarter, name, written)]
            row += [_end(summary.last_quarter, name, written)]
            curve = _resample([getattr(p.measures, name) for p in summary.timeline], cells)
            row += [Text(sparkline(curve), style=TERMINAL.get(colour, ""))]
        table.add_row(*row)
    return table


def _end(measures: Measures | None, name: str, written: Callable[[float | None], str]) -> Text:
    return Text(UNKNOWN if measures is None else written(getattr(measures, name)))


def _heldout_line(summary: RunSummary) -> Text:
    heldout = summary.heldout
    if heldout is None:
        return Text("")
    text = Text("Held out", style=TERMINAL["title"])
    facts = [
        plural(heldout.evaluations, "evaluation"),
        plural(heldout.prompts, "prompt"),
        plural(heldout.total.rollouts, "rollout"),
    ]
    ends = [
        fraction(m.solve_rate) if m.solve_rate is not None else f"reward {number(m.reward_mean)}"
        for m in (heldout.first, heldout.last)
    ]
    score = ends[0] if heldout.evaluations == 1 else f"{ends[0]} → {ends[1]}"
    if len(heldout.splits) > 1:
        score += f" of {one_line(heldout.split, 40)}"
    return text.append(f"  {score}", style="").append(
        f"  {' · '.join(facts)}", style=f"not bold {TERMINAL['muted']}"
    )


def _bullet(text: str) -> Table:
    grid = Table.grid(padding=(0, 1, 0, 0))
    grid.add_column(width=1)
    grid.add_column(ratio=1)
    grid.add_row("•", Text(text))
    return grid


def _resample(values: list[float | None], cells: int) -> list[float | None]:
    """Average a series into at most `cells` values; unknown ones are left out of the average."""
    if len(values) <= cells:
        return values
    edges = [round(i * len(values) / cells) for i in range(cells + 1)]
    return [
        _mean([v for v in values[start:end] if v is not None])
        for start, end in itertools.pairwise(edges)
    ]


def _mean(values: list[float]) -> float | None:
    return sum(values) / len(values) if values else None
