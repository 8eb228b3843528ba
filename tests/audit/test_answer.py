"""The answer: one shape for every kind of target."""

from __future__ import annotations

import json
import math

import pytest

from dissensus.audit.answer import Answer, EstimatorFacts
from dissensus.audit.findings import Finding
from dissensus.errors import InputError


def test_json_has_the_documented_keys():
    answer = Answer(
        "run.sh",
        "config",
        framework="verl",
        version="0.9.1",
        version_source="facts",
        estimator=EstimatorFacts("grpo", "mean", "group_std", 1, 1e-6),
        silent="keep",
        unknown=("group_size: decided by N",),
        extra={"group_size": None},
    )
    document = json.loads(json.dumps(answer.to_json()))
    assert document["estimator"] == {
        "name": "grpo",
        "numerator": "mean",
        "denominator": "group_std",
        "ddof": 1,
        "eps": 1e-6,
    }
    for key in ("target", "kind", "framework", "version", "silent", "loss_aggregation"):
        assert key in document
    assert document["unknown"] == ["group_size: decided by N"]
    assert document["findings"] == []
    assert document["group_size"] is None


def test_an_interval_of_eps_is_written_as_two_numbers_and_null_where_it_is_open():
    facts = EstimatorFacts("grpo", "mean", "group_std", 1, (1e-7, math.inf))
    assert facts.to_json()["eps"] == [1e-7, None]
    json.dumps(facts.to_json(), allow_nan=False)


@pytest.mark.parametrize("field", ["numerator", "denominator"])
def test_words_outside_the_vocabulary_are_refused(field):
    with pytest.raises(InputError, match=field):
        EstimatorFacts(**{field: "median"})
    with pytest.raises(InputError, match="silent"):
        Answer("a", "config", silent="ignore")
    with pytest.raises(InputError, match="kind"):
        Answer("a", "picture")


def test_the_worst_finding_comes_first():
    note = Finding.of("EST115", where="a:1", evidence="x")
    error = Finding.of("LOG609", where="a:1", evidence="x")
    answer = Answer("a", "log", findings=(note, error))
    assert [finding.code for finding in answer.findings] == ["LOG609", "EST115"]
    assert answer.worst == "error"
    assert Answer("a", "log").worst is None
