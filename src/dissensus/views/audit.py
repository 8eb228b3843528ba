"""Answers of an audit as text in a terminal: what is applied, what stays unknown, what to mend."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from dissensus.audit.answer import Answer, EstimatorFacts
from dissensus.audit.findings import Finding, Severity
from dissensus.views.format import UNKNOWN, clean_text, one_line, plural
from dissensus.views.style import TERMINAL

__all__ = ["LONGEST_PATH", "answer_view", "equation", "overview", "totals_line"]

_STYLES = {
    Severity.ERROR: TERMINAL["wrong"],
    Severity.WARNING: TERMINAL["wrong"],
    Severity.NOTE: TERMINAL["muted"],
}
_PLACES = 3
LONGEST_PATH = 300
"""Characters of a path that are shown."""

_NUMERATORS = {
    "mean": "r − group mean",
    "leave_one_out": "r − mean of the others",
    "none": "r",
    "running": "r − running mean",
    "value_function": "r − value function",
}
_DENOMINATORS = {
    "group_std": "group std",
    "batch_std": "std of the batch's rewards",
    "batch_centred_std": "std of the batch's centred rewards",
    "leave_one_out_std": "std of the others",
    "group_mean": "group mean",
}
_VERSION_SOURCES = {
    "facts": "facts of that version; nothing says which one runs",
    "installed": "installed here",
    "configuration": "named by the configuration",
}


def answer_view(answer: Answer) -> RenderableType:
    """Lay out everything that is known about one target.

    Args:
        answer: What an audit found; names and values in it are untrusted text.
    """
    parts: list[RenderableType] = [_title(answer), _facts_table(answer)]
    if answer.metrics:
        parts += [Text(""), Text("What its metrics mean", style=TERMINAL["title"])]
        parts.append(_two_columns(sorted(answer.metrics.items())))
    for finding in answer.findings:
        parts += [Text(""), _finding_view(finding, [finding.where])]
    return Group(*parts)


def overview(answers: Sequence[Answer]) -> RenderableType:
    """Lay out many targets: one line each, then every kind of finding once, with its places.

    Args:
        answers: What an audit found, one per target.
    """
    table = Table(box=None, padding=(0, 2, 0, 0), show_edge=False, header_style=TERMINAL["muted"])
    for name in ("target", "framework", "advantage", "silent groups", "findings"):
        table.add_column(name, overflow="fold")
    base = _common_folder(answer.target for answer in answers)
    for answer in answers:
        table.add_row(
            one_line(_relative(answer.target, base), 120),
            one_line(answer.framework or UNKNOWN, 20),
            one_line(_equation(answer), 120),
            answer.silent or UNKNOWN,
            _codes(answer),
        )
    parts: list[RenderableType] = [table]
    by_kind: dict[tuple[str, str], list[Finding]] = {}
    for answer in answers:
        for finding in answer.findings:
            by_kind.setdefault((finding.code, finding.fix), []).append(finding)
    for found in sorted(by_kind.values(), key=lambda f: (-f[0].severity.rank, f[0].code)):
        parts += [Text(""), _finding_view(found[0], [each.where for each in found])]
    return Group(*parts)


def totals_line(answers: Sequence[Answer]) -> Text:
    """Say in one line what was looked at and how much was found."""
    counts = Counter(f.severity for answer in answers for f in answer.findings)
    found = [plural(counts[s], s.value) for s in Severity if counts[s]]
    text = f"{plural(len(answers), 'target')}: {', '.join(found) or 'no findings'}"
    unresolved = sum(bool(answer.unknown) for answer in answers)
    if unresolved:
        text += f"; {unresolved} with settings that could not be resolved"
    return Text(text, style=TERMINAL["title"])


def equation(estimator: EstimatorFacts, *, inside: bool = False) -> str:
    """Write an estimator as its formula.

    Args:
        estimator: What is known of it.
        inside: eps is added to the variance, inside the root.

    Example:
        >>> equation(EstimatorFacts("grpo", "mean", "group_std", 1, 1e-4))
        '(r − group mean) / (group std, ddof 1, + 0.0001)'
        >>> equation(EstimatorFacts("rloo", "leave_one_out", "none"))
        'r − mean of the others'
        >>> equation(EstimatorFacts(None, "mean", "group_std", 1, 1e-4), inside=True)
        '(r − group mean) / sqrt((group std, ddof 1)² + 0.0001)'
    """
    if estimator.numerator is None and estimator.denominator is None:
        return "unknown"
    top = _NUMERATORS.get(estimator.numerator or "", "unknown")
    if estimator.denominator == "none":
        return top
    if estimator.denominator is None:
        return f"({top}) / unknown"
    bottom = [_DENOMINATORS.get(estimator.denominator, "unknown")]
    if estimator.ddof is not None:
        bottom.append(f"ddof {estimator.ddof}")
    eps = ""
    if isinstance(estimator.eps, tuple):
        low, high = (f"{bound:.3g}" for bound in estimator.eps)
        eps = f"+ {low}" if low == high else f"+ between {low} and {high}"
    elif estimator.eps is not None:
        eps = f"+ {estimator.eps:g}"
    if inside:
        return f"({top}) / sqrt(({', '.join(bottom)})² {eps})"
    return f"({top}) / ({', '.join([*bottom, eps] if eps else bottom)})"


def _equation(answer: Answer) -> str:
    rule = answer.extra.get("rule") or ""  # only functions and logs show where eps is added
    return equation(answer.estimator, inside="sqrt(" in rule)


def _title(answer: Answer) -> Text:
    text = Text(one_line(answer.target, LONGEST_PATH), style=TERMINAL["title"], overflow="fold")
    if answer.framework:
        version = f" {answer.version}" if answer.version else ""
        text.append(f"  {one_line(answer.framework + version, 80)}", style="not bold")
    source = _VERSION_SOURCES.get(answer.version_source or "")
    if source:
        text.append(f"  ({source})", style=f"not bold {TERMINAL['muted']}")
    return text


def _facts_table(answer: Answer) -> Table:
    name = f"{answer.estimator.name}: " if answer.estimator.name else ""
    silent = answer.silent or UNKNOWN
    facts = [
        ("Advantage", f"{name}{_equation(answer)}"),
        ("Silent groups", f"{silent}: {answer.silent_cost}" if answer.silent_cost else silent),
        ("Refill", answer.refill),
        ("Loss", answer.loss_aggregation),
        ("Sampling", answer.sampling),
        *(("Unknown", each) for each in answer.unknown),
    ]
    return _two_columns([(key, value) for key, value in facts if value])


def _two_columns(rows: Iterable[tuple[str, str]]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 1), show_edge=False, show_header=False)
    table.add_column(style=TERMINAL["muted"], no_wrap=True)
    table.add_column(overflow="fold")
    for key, value in rows:
        table.add_row(one_line(key, 40), clean_text(value, 600))
    return table


def _finding_view(finding: Finding, places: Sequence[str]) -> RenderableType:
    head = Text(f"{finding.severity.value} {finding.code}", style=_STYLES[finding.severity])
    head.append(f"  {clean_text(finding.title, 200)}", style=TERMINAL["title"])
    shown = ", ".join(one_line(place, LONGEST_PATH) for place in places[:_PLACES])
    if len(places) > _PLACES:
        shown += f" and {len(places) - _PLACES} more"
    lines = [("where", shown), ("evidence", finding.evidence), ("means", finding.consequence)]
    lines.append(("fix", finding.fix))
    return Group(head, Padding(_two_columns([line for line in lines if line[1]]), (0, 0, 0, 1)))


def _codes(answer: Answer) -> Text:
    text = Text(overflow="fold")
    for code, severity in dict.fromkeys((f.code, f.severity) for f in answer.findings):
        text.append(f"{' ' if text else ''}{code}", style=_STYLES[severity])
    if answer.unknown:
        text.append(f"{' ' if text else ''}{len(answer.unknown)} unknown", style=TERMINAL["muted"])
    return text


def _common_folder(targets: Iterable[str]) -> Path | None:
    parents = [Path(target).parent for target in targets]
    for folder in (parents[0], *parents[0].parents):
        if all(folder == each or folder in each.parents for each in parents):
            return folder
    return None


def _relative(target: str, base: Path | None) -> str:
    path = Path(target)
    return str(path.relative_to(base)) if base and base in path.parents else target
