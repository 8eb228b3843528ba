"""Every trap is triggered by a case, and its fix removes the finding."""

from __future__ import annotations

import re

import pytest

from dissensus.audit.answer import Answer
from dissensus.audit.facts import Row, load_facts, names
from dissensus.audit.findings import catalogue
from dissensus.audit.resolve import _Resolution, detect_version, resolve

from .trap_cases import CASES, Case, settings

NO_STD = {
    "algorithm.adv_estimator": "grpo_vectorized",
    "algorithm.norm_adv_by_std_in_grpo": False,
    "actor_rollout_ref.rollout.n": 8,
}

OPENRLHF = {"algo.advantage.estimator": "group_norm", "rollout.n_samples_per_prompt": 8}


def _answers(case: Case) -> tuple[Answer, Answer]:
    before = settings(
        case.framework, case.before, entry=case.entry, version=case.version, target=case.target
    )
    after = settings(
        case.framework,
        case.after,
        entry=case.after_entry or case.entry,
        version=case.after_version or case.version,
        target=case.after_target or case.target,
    )
    return resolve(before, installed={}), resolve(after, installed={})


@pytest.mark.parametrize("case", CASES, ids=repr)
def test_a_trap_is_found_and_its_fix_removes_it(case: Case):
    before, after = _answers(case)
    found = [finding for finding in before.findings if finding.code == case.code]
    assert found, [finding.code for finding in before.findings]
    evidence = {finding.evidence for finding in found}
    assert evidence - {f.evidence for f in after.findings if f.code == case.code}


@pytest.mark.parametrize("case", CASES, ids=repr)
def test_the_texts_of_a_finding_are_complete(case: Case):
    for finding in _answers(case)[0].findings:
        for text in finding.to_json().values():
            assert text
            assert not re.search(r"[{}]|(?<!=)\bNone\b|\bnan\b", text), text
        assert re.fullmatch(r"\S+:\d+", finding.where), finding.where


def _held_rows(case: Case) -> list[Row]:
    from dissensus.audit.facts.conditions import evaluate

    given = settings(
        case.framework, case.before, entry=case.entry, version=case.version, target=case.target
    )
    facts = load_facts(case.framework)
    version = detect_version(given, facts, {})
    resolution = _Resolution(given, facts, version)
    return [
        row
        for row in facts.rows_of("trap", version.version)
        if row.body["code"] == case.code and evaluate(row.when, resolution.look_up).holds
    ]


def test_every_trap_has_a_case():
    held = {(row.body["code"], row.body["evidence"]) for case in CASES for row in _held_rows(case)}
    rows = {
        (row.body["code"], row.body["evidence"])
        for name in names()
        for row in load_facts(name).rows
        if row.kind == "trap"
    }
    assert rows - held == set()


def test_every_code_about_configurations_has_a_case():
    codes = {code for code in catalogue() if not code.startswith("LOG")}
    assert codes - {case.code for case in CASES} == set()


@pytest.mark.parametrize(
    ("framework", "values", "code", "text"),
    [
        # numbers of Bay & Yearick and of the executed frameworks, rounded by hand
        ("nemo_rl", {"grpo.num_generations_per_prompt": 8}, "EST101", "gets +1.00, not +2.47"),
        ("verl", NO_STD, "CFG901", "gets +2.47, not +0.875"),
        ("openrlhf", OPENRLHF, "EST103", "get about 60 instead of 0 in a batch of several groups"),
        ("openrlhf", OPENRLHF, "EST103", "about ±0.9 in a batch of one"),
        ("open_instruct", {"num_samples_per_prompt_rollout": 8}, "SIL202", "0.8 % of its groups"),
        ("trl", {"num_generations": 2}, "EST113", "+0.707/−0.707"),
        ("trl", {"num_generations": 2}, "EST113", "82.0 % at 0.9"),
        # 8 zeros and 7 ones as one group: −0.904 and +1.033 on slime's own method
        ("slime", {"n_samples_per_prompt": 8}, "EST107", "get −0.904 and +1.03 instead of 0"),
    ],
)
def test_consequences_hold_the_numbers_that_frameworks_really_give(framework, values, code, text):
    findings = resolve(settings(framework, values), installed={}).findings
    consequences = [finding.consequence for finding in findings if finding.code == code]
    assert any(text in consequence for consequence in consequences), consequences
