"""The report of a run as one self-contained HTML page."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import dissensus
from dissensus.views.advice import advise
from dissensus.views.correctness import not_shown
from dissensus.views.examples import Answer, SplitGroup, split_groups
from dissensus.views.format import UNKNOWN, clean_text, count, fraction, number, plural
from dissensus.views.markup import Child, Markup, tag
from dissensus.views.page import document, navigation, panel_section, section, table, tile
from dissensus.views.panels import run_panels
from dissensus.views.prompts import PromptRow, extreme_prompts
from dissensus.views.readable import Readable
from dissensus.views.snapshot import Snapshot
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
    links = [("advice", "What stands out"), *((p.name, p.title) for p in panels)]
    links += [("prompts", _PROMPTS_TITLE), ("examples", "Split groups")]
    sections: list[Child] = [_advice(summary), map(panel_section, panels)]
    sections += [_prompts(source, summary), _examples(source)]
    body = [
        tag("a", "Skip to the figures", href="#progress", class_="skip"),
        _header(summary),
        navigation(links),
        tag("main", sections),
        _footer(summary),
    ]
    return document(
        f"{clean_text(Path(summary.source).name, 120)} · Dissensus report", body, panels
    )


def _header(summary: RunSummary) -> Markup:
    train, heldout = summary.train, summary.heldout
    tiles: list[Markup] = []
    if heldout is not None and heldout.last.solve_rate is not None:
        note = f"{fraction(heldout.first.solve_rate)} at step {count(heldout.first_step)}"
        tiles.append(tile(heldout.name, fraction(heldout.last.solve_rate), note))
    if train.solve_rate is not None:
        tiles.append(tile("Training solve rate", fraction(train.solve_rate), "whole run"))
    else:
        tiles.append(tile("Mean reward", number(train.reward_mean), "whole run"))
    causes = f"{fraction(train.all_wrong)} all-wrong, {fraction(train.all_correct)} all-correct"
    is_known = train.all_wrong is not None
    tiles += [
        tile(
            "Unanimous groups", fraction(train.unanimous), causes if is_known else "cause unknown"
        ),
        tile(
            "Effective rollouts",
            fraction(train.effective_rollout_frac),
            "trained on, in groups with an advantage",
        ),
        tile("Contrast per 1,000 rollouts", number(train.contrast_per_1000_rollouts), "1000·ΣW/R"),
        tile("Rollouts", count(train.rollouts), f"{count(train.trained_rollouts)} trained on"),
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


def _advice(summary: RunSummary) -> Markup:
    found = [tag("li", each.text) for each in advise(summary)]
    shown: Child = tag("ul", found, class_="advice") if found else tag("p", "Nothing yet.")
    return section("advice", "What stands out", shown)


def _prompts(source: Snapshot, summary: RunSummary) -> Markup:
    never, always = summary.never_solved, summary.always_solved
    if never is None or always is None:
        why = not_shown(str(summary.correct_unknown))
        return section("prompts", _PROMPTS_TITLE, tag("p", why, class_="absent"))
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
    return section("prompts", _PROMPTS_TITLE, tag("p", intro), tag("div", sides, class_="two"))


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
    listed = table(["visits", "rollouts", "prompt"], lines, f"{title}: prompts")
    return tag("div", tag("h3", title), listed, class_="prompts")


def _examples(source: Snapshot) -> Markup:
    title = "Split groups: the same prompt, right and wrong"
    found = split_groups(source)
    if not found:
        why = "Not shown: no completion of a split group has been recorded."
        return section("examples", title, tag("p", why, class_="absent"))
    intro = (
        "One group from each stretch of the run, in turn the one that disagreed most and the "
        "hardest one that was solved at all; its best rollouts on the left, its worst on the "
        "right. Text is shown as the model wrote it, cut where long; "
        "control characters are replaced by visible signs."
    )
    return section("examples", title, tag("p", intro), map(_example, found))


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
            table(["name", "value"], settings, "Settings"),
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
