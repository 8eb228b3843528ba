"""The facts files and the conditions they are made of."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dissensus.audit.facts import FIELDS, Row, _row, load_facts, names, version_key
from dissensus.audit.facts.conditions import Value, check_condition, evaluate, normalise, same
from dissensus.audit.findings import catalogue
from dissensus.audit.settings import FRAMEWORKS
from dissensus.errors import InputError


def _look_up(values):
    def find(key):
        found = values.get(key)
        return found if isinstance(found, Value) else Value(found, given=key in values)

    return find


def test_there_is_one_file_for_each_framework_that_is_read():
    assert set(names()) == set(FRAMEWORKS)


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_every_row_says_where_it_is_known_from(name):
    rows = load_facts(name).rows
    assert {row.kind for row in rows} >= {"default", "fact", "metric"}
    for row in rows:
        if row.kind != "alias":
            assert row.source, row
            assert row.status in ("run", "read")
        if row.since and row.until:
            assert version_key(row.since) < version_key(row.until)


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_every_key_that_a_text_names_is_one_that_a_condition_could_ask(name):
    facts = load_facts(name)
    known = {key for row in facts.rows for key in (*row.when, *row.body.get("values", {}))}
    known |= {row.body["key"] for row in facts.rows if "key" in row.body}
    words = {f"@{field}" for field in FIELDS} | {"@version", "@entry", "@target"}
    for row in facts.rows:
        texts = [*row.body.get("set", {}).values(), *row.body.values()]
        for text in (text for text in texts if isinstance(text, str)):
            for key in re.findall(r"\{([^{}=]+)\}", text):
                assert key in known | words | {"G"}, (name, text)
            if re.fullmatch(r"\$\S+", text):
                key = text[1:]
                assert key.startswith("@items:") or key in known | {"group_size"}, (name, text)


def test_versions_are_ordered_by_their_numbers():
    ordered = ["0.9.1", "0.10.0.dev0", "1.0", "1.16.0", "2026-03-20", "2026.8.19"]
    assert sorted(ordered, key=version_key) == ordered
    assert version_key("v1.2.3+cu12") == (1, 2, 3)
    assert version_key("main") == ()


def test_a_new_release_is_a_new_row():
    old = Row("fact", {"set": {"eps": 1e-4}}, until="2.0")
    new = Row("fact", {"set": {"eps": 1e-6}}, since="2.0")
    assert (old.holds_in("1.16.0"), new.holds_in("1.16.0")) == (True, False)
    assert (old.holds_in("2.0.0.dev0"), new.holds_in("2.0.0")) == (False, True)


@pytest.mark.parametrize(
    ("when", "values", "holds"),
    [
        ({"a": 1}, {"a": 1}, True),
        ({"a": True}, {"a": "True"}, True),
        ({"a": True}, {"a": 1}, False),
        ({"a": ["x", "y"]}, {"a": "Y"}, True),
        ({"a": "null"}, {}, True),
        ({"a": {"not": "null"}}, {}, False),
        ({"a": {"not_in": ["x"]}}, {"a": "y"}, True),
        ({"a": {"gt": 0}}, {"a": "1e-3"}, True),
        ({"a": {"gt": 0}}, {"a": True}, False),
        ({"a": {"le": 1}}, {"a": None}, False),
        ({"a": {"contains": "dapo"}}, {"a": "run_DAPO.sh"}, True),
        ({"a": {"lacks": "dapo"}}, {"a": "run_DAPO.sh"}, False),
        ({"a": {"given": True}}, {"a": None}, True),
        ({"a": {"given": False}}, {}, True),
        ({"a": {"given": True, "not": "x"}}, {"a": "x"}, False),
        ({"a": {"same_as": "b"}}, {"a": 8, "b": 8.0}, True),
        ({"a": {"differs_from": "b"}}, {"a": 8, "b": 4}, True),
    ],
)
def test_conditions(when, values, holds):
    normalised = {key: normalise(value) for key, value in values.items()}
    assert evaluate(when, _look_up(normalised)) == (holds, ())


def test_what_is_missing_leaves_a_condition_open_unless_another_part_is_false():
    open_value = Value(None, missing=("ADV",))
    look_up = _look_up({"a": open_value, "b": 1})
    assert evaluate({"a": "x", "b": 1}, look_up).missing == ("ADV",)
    assert not evaluate({"a": "x", "b": 2}, look_up).is_open
    assert evaluate({"b": {"same_as": "a"}}, look_up).missing == ("ADV",)


def test_malformed_rows_are_refused_when_they_are_loaded():
    good = {"set": {"eps": 1.0}, "source": "file", "status": "run"}
    assert _row("fact", good, "here", is_common=False).status == "run"
    for bad in (
        {**good, "status": "guessed"},
        {**good, "set": {"epsilon": 1.0}},
        {**good, "whenn": {}},
        {"source": "file", "status": "run"},
        {**good, "when": {"a": {"about": 3}}},
    ):
        with pytest.raises(InputError):
            _row("fact", bad, "here", is_common=False)
    with pytest.raises(InputError, match="no such code"):
        trap = {"code": "EST999", "evidence": "e", "fix": "f", "source": "s", "status": "run"}
        _row("trap", trap, "here", is_common=False)


def test_a_fix_by_framework_leaves_none_out():
    trap = {"code": "EST113", "evidence": "e", "source": "s", "status": "run"}
    with pytest.raises(InputError, match="a fix is missing"):
        _row("trap", {**trap, "fix": {"trl": "n=8"}}, "here", is_common=True)
    assert _row("trap", {**trap, "fix": {"trl": "n=8", "any": "8"}}, "here", is_common=True)


def test_an_unknown_test_is_refused():
    with pytest.raises(InputError, match="no such test"):
        check_condition({"a": {"almost": 1}}, "here")


def test_facts_about_nothing_are_refused():
    with pytest.raises(InputError, match="no facts"):
        load_facts("common")


@given(st.text())
def test_normalising_twice_changes_nothing(text):
    once = normalise(text)
    assert normalise(once) == once
    assert same(text, text)


def test_severities_of_traps_are_those_of_the_catalogue():
    for name in names():
        for row in load_facts(name).rows:
            if row.kind == "trap":
                assert row.body.get("severity", catalogue()[row.body["code"]].severity)
