"""The page of one estimator, or of two beside each other, as one self-contained HTML document."""

from __future__ import annotations

import dissensus
from dissensus.views.estimators.detail import Detail, Pair
from dissensus.views.estimators.facts import EVIDENCE, Entry
from dissensus.views.estimators.figures import estimator_panels
from dissensus.views.format import UNKNOWN, clean_text, number
from dissensus.views.markup import Child, Markup, tag
from dissensus.views.page import document, navigation, panel_section, section, tile

__all__ = ["estimator_page"]


def estimator_page(shown: Detail | Pair) -> str:
    """Write the page of an estimator.

    Args:
        shown: From `detail`, or from `pair`.

    Returns:
        The document; about 5 MB, nearly all of it plotly.js.
    """
    details = [shown.first, shown.second] if isinstance(shown, Pair) else [shown]
    title = " against ".join(clean_text(each.name, 80) for each in details)
    panels = estimator_panels(shown)
    sections: list[Child] = []
    links = [("rule", "What it is")]
    if isinstance(shown, Pair):
        found = tag("ul", [tag("li", each) for each in shown.sentences], class_="advice")
        sections.append(section("difference", "How they differ", found))
        links.insert(0, ("difference", "How they differ"))
    sections.append(section("rule", "What it is", map(_articles, details)))
    sections += map(panel_section, panels)
    for each in details:
        if each.signature is None:
            why = f"{each.name} has no signature: {each.absent}."
            sections.append(section("absent", "No figures", tag("p", why, class_="absent")))
    notes = dict.fromkeys(each.context_note for each in details if each.context_note)
    body = [
        tag("a", "Skip to the figures", href="#signature", class_="skip"),
        tag(
            "header",
            tag("h1", title),
            tag(
                "p",
                " · ".join(clean_text(each.entry.written, 200) for each in details),
                class_="muted",
            ),
            [tag("p", note, class_="muted") for note in notes],
            tag(
                "dl",
                [t for each in details for t in _tiles(each, len(details) > 1)],
                class_="tiles",
            ),
        ),
        navigation([*links, *((p.name, p.title) for p in panels)]),
        tag("main", sections),
        tag("footer", tag("p", f"Made by dissensus {dissensus.__version__}.")),
    ]
    return document(f"{title} · Dissensus", body, panels)


def _tiles(shown: Detail, is_named: bool) -> list[Markup]:
    of = f" · {shown.name}" if is_named else ""
    silent = shown.silent.replace(" = ", "\u00a0=\u00a0")
    push = UNKNOWN
    if shown.implied is not None:
        push = number(shown.implied.push_ratio) if shown.implied.has_push else "none"
    note = f"beside contrast, Σ|E[B]|/Σ|E[W]|{shown.entry.shift}"
    return [
        tile(f"Silent{of}", silent, f"correct of {shown.group_size}"),
        tile(f"Push{of}", push, note),
    ]


def _articles(shown: Detail) -> list[Markup]:
    """The rule and its weights, each with its equation and what it says about itself."""
    entry = shown.entry
    climbs = f"It climbs {entry.climbs}, when groups are large."
    more = [tag("p", climbs)] if entry.objective else []
    more += [tag("p", f"It takes {'; '.join(entry.properties)}.")] if entry.properties else []
    weights = [_article(weight, f"times {weight.name}") for weight in shown.weights]
    return [_article(entry, entry.title, *more), *weights]


def _article(entry: Entry, title: str, *more: Markup) -> Markup:
    evidence = "" if entry.is_weight else f" ({EVIDENCE[entry.evidence]})"
    return tag(
        "article",
        tag("h3", title),
        tag("p", entry.described.summary),
        tag("pre", "\n".join(entry.described.equation), class_="untrusted"),
        [
            tag("pre", text, class_="untrusted") if "\n" in text else tag("p", text)
            for text in entry.described.text
        ],
        more,
        tag("p", f"Source: {entry.source}{evidence}.", class_="muted"),
    )
