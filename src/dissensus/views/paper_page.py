"""A paper's numbers beside ours as one HTML page: tables first, then the figures."""

from __future__ import annotations

from collections.abc import Sequence

import dissensus
from dissensus.views.format import UNKNOWN
from dissensus.views.markup import Child, Markup, tag
from dissensus.views.page import Panel, document, navigation, panel_section, section, table, tile
from dissensus.views.paper import AGREES, DIFFERS, Comparison, Section, totals

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
    links = [("summary", "In short"), *((s.name, s.title) for s in sections)]
    links += [("figures-start", "Figures")]
    body = [
        tag("a", "Skip to the figures", href="#figures-start", class_="skip"),
        _header(sections, paper, title),
        navigation(links),
        tag(
            "main",
            _differences(sections),
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


def _differences(sections: Sequence[Section]) -> Markup:
    found = [
        (each, row)
        for each in sections
        for row in (*each.rows, *each.detail)
        if row.verdict in DIFFERS
    ]
    items = [
        tag(
            "li",
            f"{row.name}: {each.left} {row.shown(row.expected)}, {each.right} {row.shown_found} "
            f"{row.shown_interval}. {row.why}",
        )
        for each, row in found
    ]
    absent = [tag("li", f"{each.title}: {each.absent}") for each in sections if each.absent]
    shown: Child = tag("ul", items, absent, class_="advice") if items or absent else None
    return section("summary", "In short", tag("p", totals(sections)), shown)


def _section(each: Section) -> Markup:
    if each.absent:
        return section(
            each.name, each.title, tag("p", f"Not shown: {each.absent}", class_="absent")
        )
    notes = [tag("p", note, class_="muted") for note in each.notes]
    more = (
        tag("details", tag("summary", f"{len(each.detail)} more numbers"), _rows(each, each.detail))
        if each.detail
        else None
    )
    return section(each.name, each.title, tag("p", each.intro), _rows(each, each.rows), more, notes)


def _rows(each: Section, rows: Sequence[Comparison]) -> Markup:
    has_interval = any(row.low is not None for row in rows)
    has_reason = any(row.why for row in rows)
    header = ["", each.left, each.right, *(["interval"] if has_interval else []), "difference", ""]
    lines: list[list[Child]] = []
    for row in rows:
        cells: list[Child] = [tag("td", row.name, class_="name")]
        cells += [row.shown(row.expected), row.shown_found]
        cells += [row.shown_interval or UNKNOWN] if has_interval else []
        cells += [row.shown_difference, _marked(row)]
        cells += [tag("td", row.why, class_="name")] if has_reason else []
        lines.append(cells)
    return table([*header, *(["why"] if has_reason else [])], lines, f"{each.title}: numbers")


def _marked(row: Comparison) -> Markup:
    kind = "agrees" if row.verdict in AGREES else "differs" if row.verdict in DIFFERS else "muted"
    return tag("td", row.verdict, class_=f"verdict {kind}")
