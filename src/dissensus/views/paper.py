"""A paper's numbers beside ours: what counts as agreement, and the tables of it in a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from dissensus.views.format import UNKNOWN, plural
from dissensus.views.style import TERMINAL

__all__ = [
    "AGREES",
    "DIFFERS",
    "Comparison",
    "Section",
    "Verdict",
    "paper_view",
    "reasons",
    "totals",
]

Verdict = Literal["same", "inside", "met", "differs", "outside", "missed", "ours only"]

AGREES: tuple[Verdict, ...] = ("same", "inside", "met")
DIFFERS: tuple[Verdict, ...] = ("differs", "outside", "missed")


class Comparison(NamedTuple):
    """One number on both sides.

    Attributes:
        name: What it is.
        expected: The printed or predicted value; `None` where there is none.
        found: Ours, or the measured one.
        digits: Decimals the expected value is known to (of the per cent, for fractions).
        unit: `%` for fractions, held in 0..1; `limit` where `expected` is an upper bound.
        low: Where the expected value should lie if both agree: lower end; `None` where ours is
            exact.
        high: Upper end.
        why: The likely cause of a difference.
        is_rounded: Whether `expected` was printed, and stands for all that rounds to it.
    """

    name: str
    expected: float | None
    found: float
    digits: int = 0
    unit: Literal["", "%", "limit"] = ""
    low: float | None = None
    high: float | None = None
    why: str = ""
    is_rounded: bool = True

    @property
    def verdict(self) -> Verdict:
        """Whether the two agree, to the digits given or within the interval.

        Example:
            >>> Comparison("share", 0.247, 0.24693, digits=1, unit="%").verdict
            'same'
            >>> Comparison("end", 0.88, 0.898, digits=2, low=0.886, high=0.909).verdict
            'outside'
        """
        if self.expected is None:
            return "ours only"
        if self.unit == "limit":
            return "met" if self.found <= self.expected else "missed"
        half = 0.5 * 10.0 ** -(self.digits + (2 if self.unit == "%" else 0)) * (1 + 1e-9)
        half = half if self.is_rounded else 0.0
        if self.low is None or self.high is None:
            return "same" if abs(self.found - self.expected) <= half else "differs"
        is_inside = self.low - half <= self.expected <= self.high + half
        return "inside" if is_inside else "outside"

    @property
    def difference(self) -> float | None:
        """Found − expected; `None` for a limit and where nothing is expected."""
        if self.expected is None or self.unit == "limit":
            return None
        return self.found - self.expected

    def shown(self, value: float | None, *, more: int = 0) -> str:
        """A value in this row's unit and digits, with `more` decimals."""
        if value is None or value != value:  # noqa: PLR0124 — NaN
            return UNKNOWN
        if self.unit == "limit":
            return f"{value:.1e}"
        sign = "−" if value < 0 else ""
        if self.unit == "%":
            return f"{sign}{abs(100 * value):,.{self.digits + more}f} %"
        return f"{sign}{abs(value):,.{self.digits + more}f}"

    @property
    def shown_found(self) -> str:
        """Ours, with one more decimal where it is no exact number."""
        return self.shown(self.found, more=0 if self.low is None else 1)

    @property
    def shown_interval(self) -> str:
        """The interval, empty where there is none."""
        if self.low is None or self.high is None:
            return ""
        ends = [self.shown(end, more=1).removesuffix(" %") for end in (self.low, self.high)]
        return f"[{ends[0]}, {ends[1]}]"

    @property
    def shown_difference(self) -> str:
        """Found − expected with its sign, one decimal more than is printed."""
        text = self.shown(self.difference, more=1)
        if text == UNKNOWN:
            return UNKNOWN
        if self.unit == "%":
            text = text.replace("%", "points")
        return text if text.startswith("−") else f"+{text}"

    def to_json(self, left: str, right: str) -> dict[str, Any]:
        """Plain values; the two sides under the names of their columns."""
        return {
            "name": self.name,
            left: self.expected,
            right: self.found,
            "difference": self.difference,
            "interval": None if self.low is None else [self.low, self.high],
            "agreement": self.verdict,
            "why": self.why,
        }


class Section(NamedTuple):
    """One part of the comparison.

    Attributes:
        name: Identifier in page and JSON.
        title: Heading.
        intro: What is compared, in a sentence or two.
        rows: The numbers.
        left: Name of the side that is expected.
        right: Name of the other.
        detail: More numbers, left out of the terminal.
        notes: Remarks below the table.
        data: What the figures are made of, for JSON.
        absent: Why the section is empty; empty where it is not.
    """

    name: str
    title: str
    intro: str
    rows: Sequence[Comparison] = ()
    left: str = "paper"
    right: str = "ours"
    detail: Sequence[Comparison] = ()
    notes: Sequence[str] = ()
    data: Mapping[str, Any] = {}
    absent: str = ""

    def to_json(self) -> dict[str, Any]:
        """The section as plain JSON values."""
        found = [row.to_json(self.left, self.right) for row in (*self.rows, *self.detail)]
        return {
            "title": self.title,
            "comparisons": found,
            "notes": list(self.notes),
            "absent": self.absent or None,
            **self.data,
        }


def totals(sections: Iterable[Section]) -> list[str]:
    """How many numbers agree, a sentence for each kind of comparison.

    Example:
        >>> totals([Section("a", "A", "", [Comparison("x", 1.0, 1.0), Comparison("y", 1.0, 3.0)])])
        ['Paper and ours: 1 of 2 numbers agree, 1 does not.']
    """
    counts: dict[tuple[str, str], list[Verdict]] = {}
    for each in sections:
        found = counts.setdefault((each.left, each.right), [])
        found += [row.verdict for row in (*each.rows, *each.detail)]
    return [
        _total(left, right, [v for v in verdicts if v != "ours only"])
        for (left, right), verdicts in counts.items()
        if any(v != "ours only" for v in verdicts)
    ]


def _total(left: str, right: str, verdicts: Sequence[Verdict]) -> str:
    agree = sum(verdict in AGREES for verdict in verdicts)
    differ = len(verdicts) - agree
    rest = "" if not differ else f", {differ} {'does' if differ == 1 else 'do'} not"
    sides = f"{left.capitalize()} and {right}"
    return f"{sides}: {agree} of {plural(len(verdicts), 'number')} agree{rest}."


def reasons(section: Section) -> list[str]:
    """Why numbers of a section differ, one sentence each."""
    found = [row for row in (*section.rows, *section.detail) if row.verdict in DIFFERS]
    left, right = section.left, section.right
    return [
        f"{row.name}, {left} {row.shown(row.expected)}, {right} "
        f"{f'{row.shown_found} {row.shown_interval}'.strip()}: "
        f"{row.why or 'no cause is known'}."
        for row in found
    ]


def paper_view(sections: Sequence[Section]) -> RenderableType:
    """Lay out the comparison for a terminal of 80 columns.

    Args:
        sections: In order.
    """
    parts: list[RenderableType] = []
    for each in sections:
        parts += [Text(each.title, style=TERMINAL["title"])]
        if each.absent:
            parts += [Padding(Text(f"Not shown: {each.absent}"), (0, 0, 1, 1))]
            continue
        parts += [_table(each)]
        if each.detail:
            agree = sum(row.verdict in AGREES for row in each.detail)
            parts += [
                _remark(f"and {plural(len(each.detail), 'more number')}, of which {agree} agree")
            ]
        parts += [_remark(text) for text in (*reasons(each), *each.notes)]
        parts += [Text("")]
    parts += [Text(line, style=TERMINAL["title"]) for line in totals(sections)]
    return Group(*parts)


def _table(section: Section) -> Table:
    table = Table(box=None, padding=(0, 1, 0, 1), show_edge=False, header_style=TERMINAL["muted"])
    table.add_column("", max_width=34, overflow="fold")
    has_intervals = any(row.low is not None for row in section.rows)
    names = [section.left, section.right, *(["interval"] if has_intervals else [])]
    for name in names:
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    for row in section.rows:
        cells = [row.shown(row.expected), row.shown_found]
        cells += [row.shown_interval] if has_intervals else []
        table.add_row(row.name, *cells, _marked(row.verdict))
    return table


def _marked(verdict: Verdict) -> Text:
    style = "correct" if verdict in AGREES else "wrong" if verdict in DIFFERS else "muted"
    return Text(verdict, style=TERMINAL[style])


def _remark(text: str) -> RenderableType:
    return Padding(Text(text, style=TERMINAL["muted"]), (0, 0, 0, 1))
