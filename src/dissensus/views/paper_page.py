"""A paper's numbers beside ours as one HTML page: tables first, then the figures."""

from __future__ import annotations

from collections.abc import Sequence

import dissensus
from dissensus.views.format import plural
from dissensus.views.markup import Child, Markup, tag
from dissensus.views.page import Panel, document, navigation, panel_section, section, table, tile
from dissensus.views.paper import AGREES, DIFFERS, Comparison, Section, reasons, totals

__all__ = ["paper_page"]


def paper_page(
    sections: Sequence[Section], panels: Sequence[Panel], *, paper: str, title: str
) -> str:
    """Write the comparison as one HTML document.

    Args:
        sections: The numbers.
        panels: The figures, in the order of the paper.
        paper: Identifier of the paper.
        title: Its title.

    Returns:
        The document; about 5 MB, nearly all of it plotly.js.
    """
    links = [("summary", "In short"), *((s.name, _short(s.title)) for s in sections)]
    links += [("figures-start", "Figures")]
    body = [
        tag("a", "Skip to the figures", href="#figures-start", class_="skip"),
        _header(sections, paper, title),
        navigation(links),
        tag(
            "main",
            _summary(sections),
            map(_section, sections),
            section("figures-start", "Figures", tag("p", _FIGURES)),
            map(panel_section, panels),
        ),
        tag("footer", tag("p", f"Made by dissensus {dissensus.__version__}: dissensus paper.")),
    ]
    return document(f"{paper} reproduced · Dissensus", body, panels)


_FIGURES = (
    "Every figure of the paper that shows numbers, redrawn from the numbers above; its figures 1 "
    "and 2 are diagrams. Below each figure a few of its numbers."
)


def _header(sections: Sequence[Section], paper: str, title: str) -> Markup:
    rows = [row for each in sections for row in (*each.rows, *each.detail)]
    counted = {
        "Agree": (AGREES, "to the digits printed, or within the interval"),
        "Differ": (DIFFERS, "each with its likely cause, below"),
        "Not in the paper": (("ours only",), "measured here"),
    }
    tiles = [
        tile(name, str(sum(row.verdict in verdicts for row in rows)), note)
        for name, (verdicts, note) in counted.items()
    ]
    return tag(
        "header",
        tag("h1", title),
        tag("p", f"{paper}, reproduced number by number and figure by figure", class_="muted"),
        tag("dl", tiles, class_="tiles"),
    )


def _short(title: str) -> str:
    """A heading without what stands after a colon or in brackets."""
    return title.split(" (", maxsplit=1)[0].split(":", maxsplit=1)[0]


def _summary(sections: Sequence[Section]) -> Markup:
    items = [tag("li", text) for each in sections for text in reasons(each)]
    items += [tag("li", f"{each.title}: {each.absent}") for each in sections if each.absent]
    shown: Child = tag("ul", items, class_="advice") if items else None
    return section("summary", "In short", [tag("p", line) for line in totals(sections)], shown)


def _section(each: Section) -> Markup:
    if each.absent:
        return section(
            each.name, each.title, tag("p", f"Not shown: {each.absent}", class_="absent")
        )
    notes = [tag("p", text, class_="muted") for text in (*reasons(each), *each.notes)]
    more = (
        tag(
            "details",
            tag("summary", plural(len(each.detail), "more number")),
            _rows(each, each.detail),
        )
        if each.detail
        else None
    )
    return section(each.name, each.title, tag("p", each.intro), _rows(each, each.rows), more, notes)


def _rows(each: Section, rows: Sequence[Comparison]) -> Markup:
    more: list[tuple[str, list[str]]] = [
        ("interval", [row.shown_interval for row in rows]),
        ("difference", ["" if row.difference is None else row.shown_difference for row in rows]),
    ]
    kept = [(name, cells) for name, cells in more if any(cells)]
    lines: list[list[Child]] = [
        [
            tag("td", row.name, class_="name"),
            _number(row.shown(row.expected)),
            _number(row.shown_found),
            _marked(row),  # before what a narrow screen cuts off
            *(_number(cells[i]) for _, cells in kept),
        ]
        for i, row in enumerate(rows)
    ]
    header = ["", each.left, each.right, "", *(name for name, _ in kept)]
    return table(header, lines, f"{each.title}: numbers")


def _number(text: str) -> Markup:
    return tag("td", text, class_="number")


def _marked(row: Comparison) -> Markup:
    kind = "agrees" if row.verdict in AGREES else "differs" if row.verdict in DIFFERS else "muted"
    return tag("td", row.verdict, class_=f"verdict {kind}")
