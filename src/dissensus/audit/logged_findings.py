"""What a log shows that its reader should know."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dissensus.audit.blackbox.findings import ddof_costs
from dissensus.audit.findings import Finding

if TYPE_CHECKING:
    from dissensus.audit.logged import LogFacts

__all__ = ["findings_of"]


def findings_of(facts: LogFacts, target: str) -> tuple[Finding, ...]:
    """Every finding about a log, each with its first place and its number of cases."""
    return (
        *_rows(facts, target),
        *_groups(facts, target),
        *_silent(facts, target),
        *_rule(facts, target),
    )


def _place(facts: LogFacts, target: str, name: str) -> str:
    where = facts.counts.where.get(name)
    return f"{target}: {where}" if where else target


def _rows(facts: LogFacts, target: str) -> list[Finding]:
    c, out = facts.counts, []
    if c.bad:
        said = f"{c.bad:,} of {c.rows:,} rows"
        out.append(Finding.of("LOG609", where=_place(facts, target, "bad"), evidence=said))
    if c.repeated_rows:
        said = f"{c.repeated_rows:,} rows have a generation and row number that came before"
        out.append(Finding.of("LOG605", where=_place(facts, target, "rows"), evidence=said))
    if c.repeated_groups > c.recomputed_groups:
        count = c.repeated_groups - c.recomputed_groups
        said = f"{count:,} of {c.groups:,} groups came before, with all rewards and advantages"
        out.append(Finding.of("LOG605", where=_place(facts, target, "repeated"), evidence=said))
    if c.recomputed_groups:
        said = f"{c.recomputed_groups:,} groups came before with the same rewards"
        out.append(Finding.of("LOG615", where=_place(facts, target, "recomputed"), evidence=said))
    if c.rows and not c.with_advantage:
        out.append(
            Finding.of(
                "LOG620",
                where=target,
                evidence="no row has an advantage",
                consequence="which rule made the advantages cannot be told from this log",
                fix="audit the configuration or the function, or record the run",
            )
        )
    return out


def _groups(facts: LogFacts, target: str) -> list[Finding]:
    c, out = facts.counts, []
    if c.mixed_groups:
        said = f"{c.mixed_groups:,} of {c.groups:,} groups hold several prompts"
        out.append(Finding.of("LOG602", where=_place(facts, target, "mixed"), evidence=said))
    if facts.grouping is not None:
        name, fit = facts.grouping
        said = (
            f"grouped as {name} the rule {fit.candidate.formula} explains {fit.share:.1%}; "
            f"with the logged groups of {c.usual_size} no rule does"
        )
        code = "LOG603" if name.startswith("all rollouts") else "EST112"
        out.append(Finding.of(code, where=target, evidence=said))
    elif c.split_prompts:
        said = f"{c.split_prompts:,} times a prompt has several groups in one generation"
        out.append(Finding.of("LOG612", where=_place(facts, target, "split"), evidence=said))
    low, high = c.size_range
    if low != high:
        usual = c.sizes[c.usual_size] / max(c.groups, 1)
        said = f"{low} to {high} rollouts; {usual:.1%} of the groups have {c.usual_size}"
        out.append(Finding.of("LOG604", where=target, evidence=said))
    if c.zeroed_groups and facts.grouping is None:
        said = f"{c.zeroed_groups:,} of {c.groups:,} groups"
        out.append(Finding.of("LOG616", where=_place(facts, target, "zeroed"), evidence=said))
    if c.raw_singles:
        said = f"{c.raw_singles:,} groups of one rollout have their reward as advantage"
        out.append(Finding.of("LOG608", where=_place(facts, target, "raw"), evidence=said))
    return out


def _silent(facts: LogFacts, target: str) -> list[Finding]:
    c, best = facts.counts, facts.best
    if not c.pushed_groups:
        return []
    said = (
        f"{c.pushed_groups:,} of {c.unanimous_groups:,} unanimous groups; "
        f"largest |A| = {c.largest_silent:.3g}"
    )
    costs = f"groups without disagreement are pushed by up to {c.largest_silent:.3g}"
    code = "LOG601"
    if best is not None and best.candidate.shift:
        code = "SIL205"
    elif best is not None and best.candidate.numerator != "none":
        code = "LOG610"  # the rule gives them 0, so what is left is rounding
    place = _place(facts, target, "pushed")
    return [Finding.of(code, where=place, evidence=said, consequence=costs)]


def _rule(facts: LogFacts, target: str) -> list[Finding]:
    out: list[Finding] = []
    ranking, changes = facts.ranking, facts.search.changes()
    if changes:
        parts = [
            f"steps {r.first_step}–{r.last_step}: {r.candidate.formula}"
            + ("" if r.eps is None else f", eps {r.eps[0]:.3g}–{r.eps[1]:.3g}")
            for r in changes[:4]
        ]
        where = f"{target}: step {changes[1].first_step}"
        out.append(Finding.of("LOG614", where=where, evidence="; ".join(parts)))
    elif ranking and facts.best is None and facts.clipped is None and facts.grouping is None:
        near = ranking[0]
        said = (
            f"closest: {near.candidate.formula}, which explains {near.share:.1%} of "
            f"{near.rows:,} rows"
        )
        out.append(Finding.of("LOG611", where=target, evidence=said))
    if facts.clipped is not None:
        low, high, count = facts.clipped
        said = f"{count:,} advantages lie at {low:.4g} or {high:.4g}; the rule goes beyond"
        out.append(Finding.of("LOG613", where=target, evidence=said))
    best = facts.best
    missed = 0 if best is None else best.rows - best.explained
    if best is not None and missed and not changes and facts.clipped is None:
        said = f"{missed:,} of {best.rows:,} rows do not follow {best.candidate.formula}"
        out.append(Finding.of("LOG617", where=target, evidence=said))
    if best is not None and facts.estimator.denominator == "leave_one_out_std":
        said = f"{best.candidate.formula} explains {best.share:.1%} of the rows"
        costs = "a lone correct answer of 8 gets +1.0, not +2.47"
        out.append(Finding.of("EST101", where=target, evidence=said, consequence=costs))
    if best is not None and facts.estimator.ddof == 0:
        said = f"{best.candidate.formula} explains {best.share:.1%} of the rows"
        scale = ddof_costs(best)
        out.append(Finding.of("EST104", where=target, evidence=said, consequence=scale))
    return out
