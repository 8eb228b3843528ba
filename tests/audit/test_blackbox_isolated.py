"""A function may end its process, and the audit says so."""

from __future__ import annotations

import pickle

import pytest

from dissensus.audit.blackbox import isolated
from dissensus.audit.blackbox.isolated import audit_isolated
from dissensus.audit.blackbox.report import audit_function
from dissensus.errors import DissensusError, InputError

MODULE = """
import ctypes, os, time

def exits(rewards):
    os._exit(3)

def crashes(rewards):
    ctypes.string_at(0)

def hangs(rewards):
    while True:  # a loop in C that keeps the interpreter to itself
        sum(range(10**9))

def fine(rewards):
    print("noise")
    return rewards - rewards.mean(axis=1, keepdims=True)
"""


@pytest.fixture
def module(tmp_path):
    path = tmp_path / "rules.py"
    path.write_text(MODULE)
    return path


@pytest.mark.parametrize(
    ("name", "said"),
    [("exits", "ended its process (exit code 3)"), ("crashes", "ended its process (SIGSEGV)")],
)
def test_a_function_that_ends_its_process(module, name, said):
    answer = audit_isolated(f"{module}:{name}")
    (finding,) = answer.findings
    assert finding.code == "LOG630"
    assert finding.evidence == f"the function {said}"
    assert answer.estimator.numerator is None
    assert len(answer.unknown) == 2


def test_a_function_that_keeps_the_interpreter(module):
    answer = audit_isolated(f"{module}:hangs", budget_s=0.5, import_limit_s=1.0)
    assert answer.findings[0].evidence == "the function did not come back within 1.5 s"


def test_the_answer_is_that_of_the_same_process(module, capfd):
    target = f"{module}:fine"
    assert audit_isolated(target).to_json() == audit_function(target).to_json()
    assert capfd.readouterr() == ("", "")


def test_errors_come_back_as_they_are(module):
    with pytest.raises(InputError, match="there is no 'nothing' in it"):
        audit_isolated(f"{module}:nothing")


def test_a_failure_of_the_audit_itself_is_not_the_functions(tmp_path, monkeypatch):
    def fails(*_, **__):
        raise KeyError("a field")

    monkeypatch.setattr(isolated, "audit_function", fails)
    isolated.reply(tmp_path / "answer", "m:f", {})
    found = pickle.loads((tmp_path / "answer").read_bytes())
    assert isinstance(found, DissensusError)
    assert "audit itself failed (KeyError: 'a field')" in str(found)
