"""Targets name a function in a module or a file, with arguments to fix first."""

from __future__ import annotations

import pytest

from dissensus.audit.blackbox import NUMPY_ADAPTERS
from dissensus.audit.blackbox.adapters import choose_adapter
from dissensus.audit.blackbox.report import audit_function
from dissensus.audit.blackbox.target import load_function, parse_target
from dissensus.errors import InputError

SOURCE = """
def rule(rewards, eps=1e-4, ddof=1):
    std = rewards.std(axis=1, ddof=ddof, keepdims=True)
    return (rewards - rewards.mean(axis=1, keepdims=True)) / (std + eps)

number = 3

class Rules:
    @staticmethod
    def second(rewards):
        return rewards
"""


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "my_rules.py"
    path.write_text(SOURCE)
    return path


@pytest.mark.parametrize("text", ["runs/first", "config.yaml", "a b:c", "C:\\runs\\first", "x.py"])
def test_what_is_no_function_target(text):
    assert parse_target(text) is None


def test_a_function_of_a_file(source):
    answer = audit_function(f"{source}:rule")
    assert answer.kind == "function"
    assert answer.estimator.name == "grpo(ddof=1, eps=0.0001)"


def test_arguments_are_fixed_first(source):
    answer = audit_function(f"{source}:rule(eps=1e-3, ddof=0)")
    low, high = answer.estimator.eps
    assert low <= 1e-3 <= high
    assert answer.estimator.ddof == 0


def test_a_method_of_a_class(source):
    assert load_function(f"{source}:Rules.second")(5) == 5


@pytest.mark.parametrize(
    ("suffix", "said"),
    [
        (":absent", "there is no 'absent'"),
        (":number", "not a function"),
        (":rule(1)", "keyword=literal"),
        (":rule(eps=open('x'))", "keyword=literal"),
        (":rule(**{})", "keyword=literal"),
    ],
)
def test_errors_are_one_line(source, suffix, said):
    with pytest.raises(InputError, match=said) as caught:
        load_function(f"{source}{suffix}")
    assert "\n" not in str(caught.value)


def test_an_import_that_fails_is_one_line(tmp_path):
    path = tmp_path / "broken.py"
    path.write_text("raise RuntimeError('two\\nlines')")
    with pytest.raises(InputError, match="RuntimeError: two lines"):
        load_function(f"{path}:f")
    with pytest.raises(InputError, match="no such file"):
        load_function(f"{tmp_path / 'absent.py'}:f")
    with pytest.raises(InputError, match="ModuleNotFoundError"):
        load_function("no_such_package.module:f")


def test_parameters_that_no_adapter_knows(tmp_path):
    path = tmp_path / "wide.py"
    path.write_text("def f(a, b, c, d):\n    return a\n")
    with pytest.raises(InputError, match="no adapter knows"):
        audit_function(f"{path}:f")


def test_arguments_that_the_function_does_not_have(tmp_path):
    path = tmp_path / "rules.py"
    path.write_text("def advantage(rewards, eps=1e-4):\n    return rewards\n")
    with pytest.raises(InputError, match=r"'bogus'.*its parameters are rewards, eps"):
        load_function(f"{path}:advantage(bogus=1)")


def test_a_function_without_parameters_says_so():
    with pytest.raises(InputError, match="parameters none"):
        choose_adapter(lambda: 1, NUMPY_ADAPTERS)
