"""The pages of the documentation that are made from the catalogue and the facts.

    python -m dissensus.audit.findings_page docs

rewrites `findings.md` in that folder, and the table of defaults in its `audit.md`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from dissensus.audit.facts import FrameworkFacts, Row, load_facts, names
from dissensus.audit.findings import CatalogueEntry, catalogue
from dissensus.audit.numbers import fill
from dissensus.audit.resolve import resolve
from dissensus.audit.settings import Settings

__all__ = ["defaults_table", "findings_page", "write_pages"]

_START, _END = "<!-- defaults: generated -->", "<!-- end of defaults -->"

_LAUNCHED: Mapping[str, tuple[tuple[str, dict[str, Any]], ...]] = {
    "trl": (("GRPOTrainer", {}), ("RLOOTrainer", {}), ("AsyncGRPOTrainer", {})),
    "unsloth": (("GRPOTrainer", {}),),
    "verl": (("main_ppo", {}), ("main_ppo", {"algorithm.adv_estimator": "grpo"})),
    "openrlhf": (
        ("train_ppo_ray", {}),
        ("train_ppo_ray", {"algo.advantage.estimator": "group_norm"}),
    ),
    "roll": (("rlvr", {}), ("rlvr", {"adv_estimator": "grpo"})),
}

_INTRODUCTION = """# Findings

Every finding that `dissensus audit` can give. This page is made from `audit/catalogue.toml` and
`audit/facts/*.toml` by `python -m dissensus.audit.findings_page docs`; do not edit it.

A code is stable: its three letters name the subject, and no number is used twice. Numbers are
computed for groups of 8; a finding computes them for the group size of its target. *run* means
that the framework's real code was executed, *read* that its source was read.
"""


def findings_page() -> str:
    """Return `docs/findings.md`.

    Example:
        >>> findings_page().splitlines()[0]
        '# Findings'
    """
    parts = [_INTRODUCTION, *_overview()]
    subject = ""
    for item in catalogue().values():
        if item.subject != subject:
            subject = item.subject
            parts.append(f"## {subject}\n")
        parts.append(_section(item))
    return "\n".join(parts).rstrip() + "\n"


def defaults_table() -> str:
    """Return the table of what each framework does without any setting, as Markdown."""
    head = "| framework | facts from | numerator | denominator | ddof | eps | silent groups |"
    rows = [head, "|---|---|---|---|---|---|---|"]
    for name in names():
        for entry, values in _LAUNCHED.get(name, (("", {}),)):
            rows.append(_default_row(name, entry, values))
    return "\n".join(rows)


def write_pages(folder: Path) -> None:
    """Rewrite what is generated in a folder of documentation."""
    (folder / "findings.md").write_text(findings_page(), encoding="utf-8")
    page = folder / "audit.md"
    page.write_text(with_defaults(page.read_text(encoding="utf-8")), encoding="utf-8")


def with_defaults(page: str) -> str:
    """Put the table of defaults between its two marks."""
    before, _, rest = page.partition(_START)
    _, _, after = rest.partition(_END)
    return f"{before}{_START}\n{defaults_table()}\n{_END}{after}"


def _default_row(name: str, entry: str, values: Mapping[str, Any]) -> str:
    from dissensus.audit.settings import Setting

    facts = load_facts(name)
    found = {key: Setting(key, value, "defaults:1") for key, value in values.items()}
    answer = resolve(Settings(name, "python", "defaults", entry, found), installed={})
    said = [facts.title, *([entry] if name == "trl" else []), *map(str, values.values())]
    estimator = answer.estimator
    eps = estimator.eps
    cells = [
        " · ".join(said),
        facts.version,
        estimator.numerator,
        estimator.denominator,
        "–" if estimator.ddof is None else estimator.ddof,
        "–" if eps is None else f"{eps:g}",
        answer.silent,
    ]
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


def _overview() -> Iterator[str]:
    yield "| code | severity | title |\n|---|---|---|"
    for item in catalogue().values():
        yield f"| [{item.code}](#{item.code.lower()}) | {item.severity.value} | {item.title} |"
    yield ""


def _section(item: CatalogueEntry) -> str:
    lines = [
        f"### {item.code}",
        "",
        f"**{item.title}** ({item.severity.value}). {item.explanation}",
        "",
        f"- Consequence: {fill(item.consequence, {}, 8)}",
        f"- Fix: {item.fix}",
        f"- Source: {item.source}",
    ]
    triggers = list(_triggers(item.code))
    if triggers:
        lines += ["", "| framework | when | fix | known from |", "|---|---|---|---|", *triggers]
    return "\n".join([*lines, ""])


def _triggers(code: str) -> Iterator[str]:
    common = [row for row in load_facts(names()[0]).rows if row.is_common]
    for row in (row for row in common if _is_trap(row, code)):
        yield _trigger_row("any", row)
    for name in names():
        facts = load_facts(name)
        own = (row for row in facts.rows if not row.is_common and _is_trap(row, code))
        for row in own:
            if not (facts.parent and row in _parent_rows(facts)):
                yield _trigger_row(facts.title, row)


def _parent_rows(facts: FrameworkFacts) -> tuple[Row, ...]:
    bodies = [row.body for row in load_facts(facts.parent).rows]
    return tuple(row for row in facts.rows if row.body in bodies)


def _is_trap(row: Row, code: str) -> bool:
    return row.kind == "trap" and row.body["code"] == code


def _trigger_row(title: str, row: Row) -> str:
    parts = [_condition(key, value) for key, value in row.when.items()] or ["always"]
    if row.since or row.until:
        parts.insert(0, " ".join(filter(None, [_bound("≥", row.since), _bound("<", row.until)])))
    cells = [title, "; ".join(parts), _plain(row.body["fix"]), f"{row.source} ({row.status})"]
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _bound(sign: str, version: str) -> str:
    return f"{sign} {version}" if version else ""


def _condition(key: str, condition: Any) -> str:
    if not isinstance(condition, dict):
        return f"`{key}` = {_value(condition)}"
    words = {
        "not": "≠",
        "not_in": "not",
        "gt": ">",
        "ge": "≥",
        "lt": "<",
        "le": "≤",
        "same_as": "=",
        "differs_from": "≠",
    }
    given = {True: "is set", False: "is not set"}
    tests = (
        given[value] if name == "given" else f"{words.get(name, name)} {_value(value)}"
        for name, value in condition.items()
    )
    return f"`{key}` {' and '.join(tests)}"


def _value(value: Any) -> str:
    if isinstance(value, list):
        return " or ".join(_value(item) for item in value)
    return str(value).lower() if isinstance(value, bool) else str(value)


def _plain(text: str) -> str:
    return text.replace("{", "<").replace("}", ">")


if __name__ == "__main__":
    write_pages(Path(sys.argv[1]))
