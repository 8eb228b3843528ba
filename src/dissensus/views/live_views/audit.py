"""What the audit finds in the advantages that a run has logged."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from dissensus.audit.answer import Answer
from dissensus.audit.logged import audit_log
from dissensus.views.audit import equation
from dissensus.views.format import clean_text, count, plural
from dissensus.views.live_views.making import absent, code
from dissensus.views.live_views.shape import Grid, Shown
from dissensus.views.live_views.source import LiveSource
from dissensus.views.queries import IS_TRAIN, rows
from dissensus.views.style import Theme

__all__ = ["make_findings"]

_COLUMNS = (
    "step", "generation", "row", "group_id", "prompt_id", "reward", "advantage_used",
    "advantage_framework", "length", "split",
)  # fmt: skip


def make_findings(source: LiveSource, theme: Theme, **given: Any) -> Shown:  # noqa: ARG001
    """Findings of the audit on the logged advantages of some generations."""
    python = code("findings", source, given)
    chosen = _spread(source, given["generations"], given["rollouts"])
    if not chosen:
        return absent("Not shown: no scored training group has been recorded yet.", python)
    read = source.remember(
        ("findings", given["rollouts"], *(row["generation"] for row in chosen)),
        lambda: _audit(source, chosen, given["rollouts"]),
        lasting=True,
    )
    if read is None:
        return absent("Not shown: the rollouts of this run were not kept.", python)
    answer, generations, held = read
    found = [
        {
            "severity": each.severity.value,
            "code": each.code,
            **{
                name: clean_text(str(getattr(each, name)), 600)
                for name in ("title", "evidence", "consequence", "fix", "where")
            },
        }
        for each in answer.findings
    ]
    names = ("severity", "code", "title", "evidence", "consequence", "fix", "where")
    titles = {"consequence": "what it means"}
    grid = Grid(
        [(name, titles.get(name, name), "text") for name in names],
        [[row[name] for name in names] for row in found],
        len(found),
    )
    csv = pa.table({name: pa.array([r[name] for r in found], pa.string()) for name in names})
    return Shown(None, grid, _note(answer, generations, held), csv, python)


def _spread(source: LiveSource, generations: int, rollouts: int) -> list[dict[str, Any]]:
    """Every n-th generation, so that they lie over the whole run and are about as few as asked."""
    return rows(
        source,
        f"""SELECT generation, rollouts FROM (
            SELECT generation, rollouts, row_number() OVER (ORDER BY step, generation) AS place,
                count(*) OVER () AS n, sum(rollouts) OVER () AS size
            FROM generations WHERE {IS_TRAIN} AND scored > 0
        ) WHERE place % least(n, ceil(greatest(n / {generations}, size / {rollouts}))) = 0
        ORDER BY generation""",  # noqa: S608 — numbers
    )


def _audit(
    source: LiveSource, chosen: list[dict[str, Any]], most: int
) -> tuple[Answer, int, int] | None:
    """The answer of the audit, and from how many generations and rollouts."""
    batches: list[pa.Table] = []
    held = 0
    for row in chosen:
        if held and held + row["rollouts"] > most:
            continue
        table = source.run.rollouts(generation=row["generation"], columns=_COLUMNS, split="train")
        held += table.num_rows
        batches += [table] if table.num_rows else []
    if not batches:
        return None
    framework = (source.run.info.get("metadata") or {}).get("framework")
    answer = audit_log(batches, target=source.run.path.name, framework=framework)
    return answer, len(batches), held


def _note(answer: Answer, generations: int, rollouts: int) -> str:
    text = f"From {plural(generations, 'generation')} over the run, {count(rollouts)} rollouts."
    text += f" The rule that explains them: {clean_text(equation(answer.estimator), 200)}."
    if not answer.findings:
        text += " No findings."
    return text
