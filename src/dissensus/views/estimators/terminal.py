"""The list of estimators and the page of one of them, as text in a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from dissensus.views.curves import bar, curve_plot
from dissensus.views.estimators.detail import Detail, Pair
from dissensus.views.estimators.facts import EVIDENCE, Entry
from dissensus.views.format import UNKNOWN, fraction, number
from dissensus.views.style import TERMINAL

__all__ = ["detail_view", "list_view", "shown_counts"]

_FIRST, _SECOND, _MUTED = TERMINAL["correct"], TERMINAL["wrong"], TERMINAL["muted"]
_MOST_ROWS, _PLOT_ROWS = 17, 8


def list_view(entries: Sequence[Entry]) -> RenderableType:
    """List rules and weights: name and equation, silent set and push, evidence and source.

    Args:
        entries: From `facts.entries`, by kind.
    """
    parts: list[RenderableType] = []
    for kind, members in groupby(entries, key=lambda entry: entry.kind):
        table = Table(box=None, padding=(0, 2, 0, 0), show_edge=False, show_header=False)
        table.add_column(no_wrap=True)
        table.add_column(overflow="fold")
        for entry in members:
            table.add_row(Text(entry.name, style=TERMINAL["title"]), Text(entry.described.short))
            table.add_row("", Text(_remarks(entry), style=_MUTED))
        parts += [Text(kind, style=TERMINAL["title"]), Padding(table, (0, 0, 1, 1))]
    hint = "dissensus estimators NAME shows one of them; NAME may be written with parameters"
    parts.append(Text(f"{hint}, as in weighted(grpo(ddof=1), power(0.5))."))
    return Group(*parts)


def detail_view(shown: Detail | Pair, *, width: int = 80) -> RenderableType:
    """Everything about an estimator, or about two side by side.

    Args:
        shown: From `detail`, or from `pair`.
        width: Columns there are; more than 100 are not used.
    """
    both = shown if isinstance(shown, Pair) else None
    first = both.first if both else shown
    assert isinstance(first, Detail)  # noqa: S101 — for the type checker
    details = [first, both.second] if both else [first]
    width = min(width, 100)
    parts: list[RenderableType] = []
    for each in details:
        parts += [*_header(each), Text("")]
    if any(each.signature is None for each in details):
        for each in details:
            if each.signature is None:
                parts.append(Text(f"{each.name} has no signature: {each.absent}."))
        return Group(*parts)
    parts += [_signature(details, width), Text("")]
    drawn = both.drawn if both else [(first.name, first)]
    parts += [_plots(drawn, width), Text(""), _mass(details, width)]
    if both:
        parts += [Text(""), *(Text(sentence) for sentence in both.sentences)]
    notes = dict.fromkeys(each.context_note for each in details if each.context_note)
    parts += [Text(""), *(Text(note, style=_MUTED) for note in notes)] if notes else []
    return Group(*parts)


def shown_counts(group_size: int) -> list[int]:
    """Which k to show of a large group: all up to 16, else 17 of them with 0, 1, G − 1 and G.

    Example:
        >>> shown_counts(4), shown_counts(64)[:4], len(shown_counts(64))
        ([0, 1, 2, 3, 4], [0, 1, 5, 10], 17)
    """
    if group_size < _MOST_ROWS:
        return list(range(group_size + 1))
    inner = _MOST_ROWS - 3
    between = [1 + round(i * (group_size - 2) / inner) for i in range(inner + 1)]
    return [0, *between, group_size]


def _remarks(entry: Entry) -> str:
    facts = [entry.title]
    if entry.silent != "none":
        facts.append(f"{'silences' if entry.is_weight else 'silent'} {entry.silent}")
    if "B ≠ 0" in entry.push or entry.shifts_with_batch:
        facts.append("pushes by −mean/std in others" if entry.shifts_with_batch else "pushes")
    if entry.needs:
        facts.append(f"needs {', '.join(entry.needs)}")
    facts += [entry.paper] if entry.is_weight else [entry.evidence, entry.paper]
    return " · ".join(facts)


def _header(shown: Detail) -> Iterator[RenderableType]:
    entry = shown.entry
    title = Text(entry.title, style=TERMINAL["title"])
    yield title.append(f"  {entry.written}", style=f"not bold {_MUTED}")
    yield Text(entry.described.summary)
    yield Padding(Text("\n".join(entry.described.equation)), (0, 0, 0, 4))
    for weight in shown.weights:
        yield Text(f"times {weight.name}: {weight.described.summary}")
        yield Padding(Text("\n".join(weight.described.equation)), (0, 0, 0, 4))
    facts = Table.grid(padding=(0, 2, 0, 0))
    facts.add_column(no_wrap=True, style=_MUTED)
    facts.add_column(overflow="fold")
    facts.add_row("silent", shown.silent)
    facts.add_row("push", shown.push)
    facts.add_row("climbs", _climbs(shown))
    if entry.properties:
        facts.add_row("takes", "; ".join(entry.properties))
    facts.add_row("evidence", EVIDENCE[entry.evidence])
    facts.add_row("source", entry.source)
    yield facts


def _climbs(shown: Detail) -> str:
    if not shown.entry.objective:
        return "no closed form is known; extrapolated below" if shown.implied else UNKNOWN
    return f"{shown.entry.climbs}, in large groups"


def _signature(details: Sequence[Detail], width: int) -> RenderableType:
    """A₊, A₋, W and B of each k, and W as a bar; with a second rule, both W beside each other."""
    table = Table(box=None, padding=(0, 2, 0, 0), show_edge=False, header_style=_MUTED)
    is_pair = len(details) > 1
    for name in ("k", "A₊", "A₋", "W", "B"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("contrast W", no_wrap=True)
    cells = width - 44
    size = max(each.group_size for each in details)
    for order, shown in enumerate(details):
        signature = shown.signature
        if signature is None:
            continue
        full = float(max(abs(signature.contrast).max(), 1e-12))
        style = (_FIRST, _SECOND)[order]
        if is_pair:
            table.add_row("", "", "", "", "", Text(shown.name, style=style))
        for k in shown_counts(shown.group_size):
            table.add_row(
                str(k),
                *(_cell(column[k]) for column in (signature.positive, signature.negative)),
                _cell(signature.contrast[k]),
                _cell(signature.push[k]),
                Text(bar(float(signature.contrast[k]), full, cells), style=style),
            )
    title = Text(f"Signature in groups of {size}", style=TERMINAL["title"])
    return Group(title.append("  k of G correct", style=f"not bold {_MUTED}"), table)


def _cell(value: float) -> str:
    return "0" if abs(value) < 5e-5 else number(float(value))


def _plots(drawn: Sequence[tuple[str, Detail]], width: int) -> RenderableType:
    """Difficulty weight and objective over the solve rate, beside each other."""
    half = (width - 3) // 2
    first = drawn[0][1]
    if first.implied is None:
        return Text("")
    others = [each.implied for _, each in drawn[1:] if each.implied is not None]
    styles = [_FIRST, _SECOND] if others else [_FIRST, _MUTED]
    weights = [first.implied.slope, *(each.slope for each in others)]
    objectives = [first.implied.objective, *(each.objective for each in others)]
    if not others:
        weights.append(first.limit)
        objectives.append(first.limit_objective)
    left, right = (
        curve_plot(
            [curve.tolist() for curve in curves],
            styles=styles, width=half, height=_PLOT_ROWS, title=title, from_zero=True,
        )
        for title, curves in (
            ("slope F′(p): weight by difficulty", weights),
            ("objective F(p)", objectives),
        )
    )  # fmt: skip
    if others:
        key = f"solid {first.name}, dotted {drawn[1][0]} (equal pull)"
    else:
        kind = "in closed form" if first.limit_is_exact else "extrapolated"
        key = f"solid groups of {first.group_size}, dotted large groups ({kind})"
    title = Text("By solve rate p", style=TERMINAL["title"]).append(f"  {key}", style=_MUTED)
    lines = [Text.assemble(a, "   ", b) for a, b in zip(left, right, strict=True)]
    return Group(title, *lines)


def _mass(details: Sequence[Detail], width: int) -> RenderableType:
    """Gradient mass in tenths of the solve rate, were prompts spread evenly."""
    title = Text("Share of the gradient by solve rate", style=TERMINAL["title"])
    title.append("  were prompts spread evenly", style=f"not bold {_MUTED}")
    table = Table.grid(padding=(0, 2, 0, 0))
    shares = [each.implied.mass_by_bin() for each in details if each.implied is not None]
    full = max(float(each.max()) for each in shares)
    cells = (width - 10 - 10 * len(shares)) // len(shares)
    for i in range(10):
        row: list[Text] = [Text(f"{10 * i:>2}–{10 * (i + 1)} %", style=_MUTED)]
        for order, each in enumerate(shares):
            row.append(Text(f"{fraction(float(each[i]), digits=1):>6}"))
            row.append(Text(bar(float(each[i]), full, cells), style=(_FIRST, _SECOND)[order]))
        table.add_row(*row)
    return Group(title, table)
