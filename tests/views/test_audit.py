"""Answers of an audit in a terminal: the formula, one line per target, nothing that steers it."""

from __future__ import annotations

from rich.console import Console

from dissensus.audit.answer import Answer, EstimatorFacts
from dissensus.audit.findings import Finding
from dissensus.views.audit import answer_view, equation, overview, totals_line


def shown(renderable, width=100) -> str:
    console = Console(width=width, record=True, markup=False, emoji=False, highlight=False)
    with console.capture() as captured:
        console.print(renderable)
    return captured.get()


def answer(target, *findings, **fields) -> Answer:
    return Answer(target, "config", findings=tuple(findings), **fields)


def finding(where, fix="set it off") -> Finding:
    return Finding.of("LOG609", where=where, evidence="2 rows", fix=fix)


def test_formulas():
    assert equation(EstimatorFacts()) == "unknown"
    assert equation(EstimatorFacts("x", "mean")) == "(r − group mean) / unknown"
    assert equation(EstimatorFacts("x", "none", "batch_std", 0)) == (
        "(r) / (std of the batch's rewards, ddof 0)"
    )
    between = EstimatorFacts("x", "mean", "group_std", 1, (1e-7, 1e-6))
    assert equation(between) == "(r − group mean) / (group std, ddof 1, + between 1e-07 and 1e-06)"
    narrow = EstimatorFacts("x", "mean", "group_std", 1, (0.99999e-6, 1.00001e-6))
    assert equation(narrow) == "(r − group mean) / (group std, ddof 1, + 1e-06)"


def test_one_target_in_full():
    one = answer(
        "run.sh",
        finding("run.sh:3"),
        framework="verl",
        version="0.9.1",
        version_source="facts",
        estimator=EstimatorFacts("grpo", "mean", "group_std", 1, 1e-6),
        silent="keep",
        silent_cost="advantage 0",
        unknown=("refill: decided by N",),
        metrics={"reward_std": "over the batch"},
    )
    text = shown(answer_view(one))
    for part in (
        "run.sh  verl 0.9.1",
        "nothing says which one runs",
        "grpo: (r − group mean) / (group std, ddof 1, + 1e-06)",
        "keep: advantage 0",
        "refill: decided by N",
        "reward_std",
        "error LOG609",
        "run.sh:3",
        "set it off",
    ):
        assert part in text


def test_many_targets_say_each_finding_once():
    answers = [answer(f"/jobs/{n}/run.sh", finding(f"/jobs/{n}/run.sh:1")) for n in range(6)]
    text = shown(overview(answers))
    assert text.count("error LOG609") == 1
    assert "and 3 more" in text
    assert "5/run.sh" in text
    assert "/jobs/5/run.sh" not in text


def test_the_same_code_with_another_fix_is_another_finding():
    answers = [answer("a.sh", finding("a.sh:1")), answer("b.sh", finding("b.sh:1", fix="other"))]
    assert shown(overview(answers)).count("error LOG609") == 2


def test_totals():
    answers = [answer("a.sh", finding("a.sh:1")), answer("b.sh", unknown=("silent: decided by X",))]
    text = totals_line(answers).plain
    assert text == "2 targets: 1 error; 1 with settings that could not be resolved"
    assert totals_line([]).plain == "0 targets: no findings"


def test_hostile_names_do_not_reach_the_terminal():
    bad = "\x1b[2J\x1b]0;owned\x07evil"
    one = answer(bad, finding(bad, fix=bad), framework=bad, loss_aggregation=bad, unknown=(bad,))
    for view in (answer_view(one), overview([one])):
        assert "\x1b" not in shown(view)
        assert "\x07" not in shown(view)


def test_eps_inside_the_root_is_shown_there():
    facts = EstimatorFacts(None, "mean", "group_std", 1, 1e-4)
    rule = "(r − group mean) / sqrt(group std, ddof 1, squared, + eps)"
    text = shown(answer_view(answer("f", estimator=facts, extra={"rule": rule})))
    assert "sqrt((group std, ddof 1)² + 0.0001)" in text
