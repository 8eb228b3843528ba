"""One self-contained HTML page about a run: it loads nothing and runs only its own three scripts.

What a model wrote reaches the page as escaped text only (`markup.tag`), never through a script.
The content security policy names the scripts by their hashes and forbids every connection, so that
even markup that slipped through could not run or call home.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable
from importlib.resources import files
from pathlib import Path
from typing import Any

import dissensus
from dissensus.views.advice import advise
from dissensus.views.correctness import not_shown
from dissensus.views.examples import Answer, SplitGroup, split_groups
from dissensus.views.format import UNKNOWN, clean_text, count, fraction, number, plural
from dissensus.views.markup import Child, Markup, tag
from dissensus.views.panels import Panel, run_panels
from dissensus.views.prompts import PromptRow, extreme_prompts
from dissensus.views.readable import Readable
from dissensus.views.snapshot import Snapshot
from dissensus.views.style import DARK, LIGHT
from dissensus.views.summary import RunSummary, summarise_run

__all__ = ["report_page"]

_SETTING_CHARS = 200
_PROMPTS_TITLE = "Never or always solved"


def report_page(run: Readable | Snapshot, summary: RunSummary | None = None) -> str:
    """Write the report of a run as one HTML document.

    Args:
        run: The run, or a snapshot that several views share.
        summary: Its summary, where it is at hand already.

    Returns:
        The document; about 5 MB, nearly all of it plotly.js.
    """
    source = run if isinstance(run, Snapshot) else Snapshot(run)
    summary = summarise_run(source) if summary is None else summary
    panels = run_panels(source, summary)
    sections: list[Child] = [_advice(summary), map(_panel, panels)]
    sections += [_prompts(source, summary), _examples(source)]
    body = [
        tag("a", "Skip to the figures", href="#progress", class_="skip"),
        _header(summary),
        _navigation(panels),
        tag("main", sections),
        _footer(summary),
    ]
    return _document(
        f"{clean_text(Path(summary.source).name, 120)} · Dissensus report", body, panels
    )


def _document(title: str, body: list[Markup], panels: list[Panel]) -> str:
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
    shown = {p.name: p.figure.to_plotly_json() for p in panels if p.figure is not None}
    data = [
        _json_script("figures", shown),
        _json_script("colours", {light: DARK[role] for role, light in LIGHT.items()}),
    ]
    code = [tag("script", Markup(script)) for script in scripts]
    page = tag("html", tag("head", *head), tag("body", *body, *data, *code), lang="en")
    return f"<!doctype html>\n{page}\n"


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


def _header(summary: RunSummary) -> Markup:
    train, heldout = summary.train, summary.heldout
    tiles: list[Markup] = []
    if heldout is not None and heldout.last.solve_rate is not None:
        note = f"{fraction(heldout.first.solve_rate)} at step {count(heldout.first_step)}"
        tiles.append(_tile(heldout.name, fraction(heldout.last.solve_rate), note))
    if train.solve_rate is not None:
        tiles.append(_tile("Training solve rate", fraction(train.solve_rate), "whole run"))
    else:
        tiles.append(_tile("Mean reward", number(train.reward_mean), "whole run"))
    causes = f"{fraction(train.all_wrong)} all-wrong, {fraction(train.all_correct)} all-correct"
    is_known = train.all_wrong is not None
    tiles += [
        _tile(
            "Unanimous groups", fraction(train.unanimous), causes if is_known else "cause unknown"
        ),
        _tile(
            "Effective rollouts",
            fraction(train.effective_rollout_frac),
            "trained on, in groups with an advantage",
        ),
        _tile("Contrast per 1,000 rollouts", number(train.contrast_per_1000_rollouts), "1000·ΣW/R"),
        _tile("Rollouts", count(train.rollouts), f"{count(train.trained_rollouts)} trained on"),
    ]
    return tag(
        "header",
        tag("h1", clean_text(Path(summary.source).name, 200)),
        tag("p", _facts(summary), class_="muted"),
        tag("dl", tiles, class_="tiles"),
    )


def _facts(summary: RunSummary) -> str:
    train, size = summary.train, summary.group_size
    facts = [summary.state, plural(summary.steps, "step"), plural(train.groups, "group")]
    if size is not None:
        same = size.min == size.max
        facts[-1] += f" of {count(size.min)}" + ("" if same else f" to {count(size.max)}")
    facts += [plural(summary.prompts, "prompt")]
    if summary.attempts > 1:
        facts.append(plural(summary.attempts, "attempt"))
    if summary.estimator is not None:
        facts.append(f"estimator: {clean_text(summary.estimator, 120)}")
    if summary.silent_mode is not None:
        facts.append(f"silent groups: {clean_text(summary.silent_mode, 60)}")
    return " · ".join(facts)


def _tile(name: str, value: str, note: str) -> Markup:
    return tag("div", tag("dt", name), tag("dd", value, tag("small", note)))


def _navigation(panels: list[Panel]) -> Markup:
    links = [("advice", "What stands out"), *((p.name, p.title) for p in panels)]
    links += [("prompts", _PROMPTS_TITLE), ("examples", "Split groups")]
    items = [tag("li", tag("a", title, href=f"#{name}")) for name, title in links]
    return tag("nav", tag("ul", items), aria_label="Sections")


def _advice(summary: RunSummary) -> Markup:
    found = [tag("li", each.text) for each in advise(summary)]
    shown: Child = tag("ul", found, class_="advice") if found else tag("p", "Nothing yet.")
    return _section("advice", "What stands out", shown)


def _panel(panel: Panel) -> Markup:
    caption = tag(
        "figcaption",
        tag("p", panel.reading),
        tag("p", panel.note, class_="note") if panel.note else None,
    )
    if panel.figure is None:
        return _section(panel.name, panel.title, tag("p", panel.absent, class_="absent"))
    plot = tag("div", id=f"plot-{panel.name}", class_="plot", role="img", aria_label=panel.label)
    numbers = tag(
        "details",
        tag("summary", "The numbers as a table"),
        _table(panel.header, panel.rows, f"{panel.title}: numbers"),
    )
    figure = tag("figure", caption, plot, numbers)
    return _section(panel.name, panel.title, figure)


def _section(name: str, title: str, *children: Child) -> Markup:
    heading = tag("h2", title, id=f"{name}-title")
    return tag("section", heading, *children, id=name, aria_labelledby=f"{name}-title")


def _table(header: list[str], found: Iterable[Iterable[Child]], label: str) -> Markup:
    head = tag("tr", [tag("th", name, scope="col") for name in header])
    lines = [tag("tr", [_cell(cell) for cell in row]) for row in found]
    table = tag("table", tag("thead", head), tag("tbody", lines))
    return tag("div", table, class_="scroll", role="region", aria_label=label, tabindex="0")


def _cell(cell: Child) -> Markup:
    if isinstance(cell, Markup) and cell.startswith("<td"):
        return cell
    return tag("td", cell)


def _prompts(source: Snapshot, summary: RunSummary) -> Markup:
    never, always = summary.never_solved, summary.always_solved
    if never is None or always is None:
        why = not_shown(str(summary.correct_unknown))
        return _section("prompts", _PROMPTS_TITLE, tag("p", why, class_="absent"))
    intro = (
        f"{plural(never.prompts, 'prompt')} never had a correct rollout "
        f"({fraction(never.rollout_frac)} of the rollouts), "
        f"{plural(always.prompts, 'prompt')} never had a wrong one "
        f"({fraction(always.rollout_frac)}). The ones that cost most:"
    )
    sides = [
        _prompt_list("Never solved", extreme_prompts(source, solved=False)),
        _prompt_list("Always solved", extreme_prompts(source, solved=True)),
    ]
    return _section("prompts", _PROMPTS_TITLE, tag("p", intro), tag("div", sides, class_="two"))


def _prompt_list(title: str, found: list[PromptRow]) -> Markup:
    if not found:
        return tag("div", tag("h3", title), tag("p", "None.", class_="muted"))
    lines: list[list[Child]] = [
        [
            count(row.visits),
            count(row.rollouts),
            tag("td", row.prompt if row.prompt is not None else row.prompt_id, class_="untrusted"),
        ]
        for row in found
    ]
    table = _table(["visits", "rollouts", "prompt"], lines, f"{title}: prompts")
    return tag("div", tag("h3", title), table, class_="prompts")


def _examples(source: Snapshot) -> Markup:
    title = "Split groups: the same prompt, right and wrong"
    found = split_groups(source)
    if not found:
        why = "Not shown: no completion of a split group has been recorded."
        return _section("examples", title, tag("p", why, class_="absent"))
    intro = (
        "One group from each stretch of the run, in turn the one that disagreed most and the "
        "hardest one that was solved at all; its best rollouts on the left, its worst on the "
        "right. Text is shown as the model wrote it, cut where long; "
        "control characters are replaced by visible signs."
    )
    return _section("examples", title, tag("p", intro), map(_example, found))


def _example(group: SplitGroup) -> Markup:
    outcome = (
        f"{group.correct} of {group.size} correct"
        if group.correct is not None
        else f"{group.size} rollouts"
    )
    name = f"prompt {group.prompt_id}" if group.prompt_id else "The log names no prompt."
    prompt = group.prompt if group.prompt is not None else name
    return tag(
        "article",
        tag("h3", f"Step {count(group.step)}: {outcome}, σ = {number(group.std)}"),
        tag("pre", prompt, class_="untrusted"),
        tag("p", f"Reference answer: {group.reference}", class_="muted")
        if group.reference is not None
        else None,
        tag(
            "div",
            tag("div", [_answer(a) for a in group.better], class_="better"),
            tag("div", [_answer(a) for a in group.worse], class_="worse"),
            class_="side",
        ),
    )


def _answer(answer: Answer) -> Markup:
    facts = [f"reward {number(answer.reward)}"]
    if answer.advantage is not None:
        facts.append(f"advantage {number(answer.advantage)}")
    if answer.length is not None:
        facts.append(plural(answer.length, "token"))
    text = answer.completion or "(empty)"
    return tag(
        "div",
        tag("p", " · ".join(facts)),
        tag("pre", text, class_="untrusted"),
        class_="answer",
    )


def _footer(summary: RunSummary) -> Markup:
    settings = [
        [clean_text(str(name), 60), tag("td", _setting(value), class_="untrusted")]
        for name, value in sorted(summary.metadata.items())
    ]
    return tag(
        "footer",
        tag(
            "details",
            tag("summary", "Settings recorded with the run"),
            _table(["name", "value"], settings, "Settings"),
        )
        if settings
        else None,
        tag("p", f"Run folder: {clean_text(summary.source, 400)}", class_="path"),
        tag(
            "p",
            f"Made by dissensus {dissensus.__version__}. Shares are of groups unless said "
            f"otherwise; {UNKNOWN} means unknown.",
        ),
    )


def _setting(value: Any) -> str:
    return clean_text(json.dumps(value, default=str, ensure_ascii=False), _SETTING_CHARS)
