"""One self-contained HTML page: it loads nothing and runs only its own scripts.

What a model or a data set wrote reaches a page as escaped text only (`markup.tag`), never through a
script. The content security policy names the scripts by their hashes and forbids every connection,
so that even markup that slipped through could not run or call home.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Sequence
from importlib.resources import files
from typing import TYPE_CHECKING, Any, NamedTuple

import dissensus
from dissensus.views.markup import Child, Markup, tag
from dissensus.views.style import DARK, LIGHT

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

__all__ = ["Panel", "document", "navigation", "panel_section", "section", "table", "tile"]


class Panel(NamedTuple):
    """One figure of a page.

    Attributes:
        name: Identifier in the page.
        title: Heading.
        reading: How to read it, in one sentence.
        note: What the numbers are exactly; may be empty.
        figure: The figure, or `None` where it cannot be drawn.
        absent: Why there is no figure; empty where there is one.
        label: What the figure shows, in words, for who cannot see it.
        header: Column names of the table of its numbers.
        rows: That table.
        forms: Other forms of the figure that a reader can choose instead, by their names, the name
            of `figure` itself first with no figure of its own.
    """

    name: str
    title: str
    reading: str
    note: str
    figure: Figure | None
    absent: str
    label: str
    header: list[str]
    rows: list[list[str]]
    forms: Sequence[tuple[str, Figure | None]] = ()


def document(title: str, body: Sequence[Markup], panels: Sequence[Panel]) -> str:
    """Write a page.

    Args:
        title: Of the browser's window.
        body: What stands in it, the panels' sections included.
        panels: Whose figures the page's script draws.

    Returns:
        The document; about 5 MB, nearly all of it plotly.js.
    """
    from plotly.offline import get_plotlyjs

    # The parser of HTML normalises line ends, and the hash is over what it makes of them.
    scripts = [_unix(get_plotlyjs()), _unix(_resource("page.js"))]
    policy = (
        "default-src 'none'; "
        f"script-src {' '.join(map(_hash, scripts))}; "
        "style-src 'unsafe-inline'; img-src data: blob:; base-uri 'none'; form-action 'none'"
    )
    head = [
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=policy),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="referrer", content="no-referrer"),
        tag("meta", name="generator", content=f"dissensus {dissensus.__version__}"),
        tag("title", title),
        tag("style", Markup(_styles())),
    ]
    shown = {name: each.to_plotly_json() for p in panels for name, each in _figures(p)}
    data = [
        _json_script("figures", shown),
        _json_script("colours", {light: DARK[role] for role, light in LIGHT.items()}),
    ]
    code = [tag("script", Markup(script)) for script in scripts]
    page = tag("html", tag("head", *head), tag("body", *body, *data, *code), lang="en")
    return f"<!doctype html>\n{page}\n"


def _figures(panel: Panel) -> list[tuple[str, Figure]]:
    """Every form of a panel's figure under the name that the page's script finds it by."""
    forms = [each for _, each in panel.forms] or [None]
    named = [(_form(panel, i), each or panel.figure) for i, each in enumerate(forms)]
    return [(name, each) for name, each in named if each is not None]


def _form(panel: Panel, i: int) -> str:
    return f"{panel.name}-{i}" if i else panel.name


def _styles() -> str:
    light = "".join(f"--{role}:{colour};" for role, colour in LIGHT.items())
    dark = "".join(f"--{role}:{colour};" for role, colour in DARK.items())
    schemes = f":root{{{light}}}@media (prefers-color-scheme: dark){{:root{{{dark}}}}}"
    return schemes.replace("_", "-") + _resource("page.css")


def _resource(name: str) -> str:
    return (files("dissensus.views") / name).read_text(encoding="utf-8")


def _unix(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _hash(script: str) -> str:
    digest = hashlib.sha256(script.encode("utf-8")).digest()
    return f"'sha256-{base64.b64encode(digest).decode('ascii')}'"


def _json_script(name: str, value: Any) -> Markup:
    from plotly.utils import PlotlyJSONEncoder

    text = json.dumps(value, cls=PlotlyJSONEncoder)  # escapes everything beyond ASCII
    for char in "<>&":
        text = text.replace(char, f"\\u{ord(char):04x}")
    return tag("script", Markup(text), type="application/json", id=name)


def tile(name: str, value: str, note: str) -> Markup:
    """One number with its name and a remark, for a list of class `tiles`."""
    return tag("div", tag("dt", name), tag("dd", value, tag("small", note)))


def panel_section(panel: Panel) -> Markup:
    """The section of one figure: how to read it, its place, its numbers."""
    caption = tag(
        "figcaption",
        tag("p", panel.reading),
        tag("p", panel.note, class_="note") if panel.note else None,
    )
    if panel.figure is None:
        return section(panel.name, panel.title, tag("p", panel.absent, class_="absent"))
    plot = tag("div", id=f"plot-{panel.name}", class_="plot", role="img", aria_label=panel.label)
    numbers = tag(
        "details",
        tag("summary", "The numbers as a table"),
        table(panel.header, panel.rows, f"{panel.title}: numbers"),
    )
    choice = None
    if panel.forms:
        options = [
            tag("option", each, value=_form(panel, i)) for i, (each, _) in enumerate(panel.forms)
        ]
        listed = tag("select", options, data_plot=panel.name)
        choice = tag("label", "Against ", listed, class_="choice")
    figure = tag("figure", caption, choice, plot, numbers)
    return section(panel.name, panel.title, figure)


def section(name: str, title: str, *children: Child) -> Markup:
    """A section under a heading, with a name to link to."""
    heading = tag("h2", title, id=f"{name}-title")
    return tag("section", heading, *children, id=name, aria_labelledby=f"{name}-title")


def table(header: Sequence[str], rows: Iterable[Iterable[Child]], label: str) -> Markup:
    """A table that scrolls sideways where the screen is narrow.

    Args:
        header: Column names.
        rows: Cells; one that is a `td` already stays as it is.
        label: What the table shows, in words, for who cannot see it.
    """
    head = tag("tr", [tag("th", name, scope="col") for name in header])
    lines = [tag("tr", [_cell(cell) for cell in row]) for row in rows]
    body = tag("table", tag("thead", head), tag("tbody", lines))
    return tag("div", body, class_="scroll", role="region", aria_label=label, tabindex="0")


def _cell(cell: Child) -> Markup:
    if isinstance(cell, Markup) and cell.startswith("<td"):
        return cell
    return tag("td", cell)


def navigation(links: Iterable[tuple[str, str]]) -> Markup:
    """Links to sections, given as (name, title)."""
    items = [tag("li", tag("a", title, href=f"#{name}")) for name, title in links]
    return tag("nav", tag("ul", items), aria_label="Sections")
