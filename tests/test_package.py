"""The package as a whole: what it exports, what it loads, what it promises."""

from __future__ import annotations

import pickle
import re
import subprocess
import sys
from pathlib import Path

import pytest

import dissensus
from dissensus import errors
from dissensus._optional import require

ROOT = Path(__file__).resolve().parents[1]
HEAVY = (
    "torch",
    "transformers",
    "trl",
    "verl",
    "ray",
    "plotly",
    "duckdb",
    "pyarrow",
    "scipy",
    "pandas",
    "rich",
)


def modules_after(code: str) -> set[str]:
    """Top-level modules that a fresh interpreter has loaded after running the code."""
    script = f"{code}\nimport sys; print(*{{name.partition('.')[0] for name in sys.modules}})"
    command = [sys.executable, "-c", script]
    return set(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())


def test_public_names_are_frozen_and_all_resolve():
    assert dissensus.__all__ == [
        "Recorder",
        "RewardGroups",
        "Run",
        "__version__",
        "advantages",
        "laws",
    ]
    for name in dissensus.__all__:
        assert getattr(dissensus, name) is not None
    with pytest.raises(AttributeError, match="nonsense"):
        _ = dissensus.nonsense


def test_import_is_light():
    assert not modules_after("import dissensus") & set(HEAVY)


def test_core_loads_numpy_only():
    loaded = modules_after("from dissensus import RewardGroups, advantages")
    assert not loaded & set(HEAVY)
    assert "numpy" in loaded


def test_version_stands_in_the_changelog_and_the_citation():
    assert f"## {dissensus.__version__}" in (ROOT / "CHANGELOG.md").read_text()
    assert f"version: {dissensus.__version__}" in (ROOT / "CITATION.cff").read_text()


@pytest.mark.parametrize("name", errors.__all__)
def test_errors_are_one_line_and_survive_pickling(name):
    kind, got = getattr(errors, name), "x\n\x1b[31m" * 99
    error = kind("it broke", where="file.py", got=got, hint="mend it")
    text = str(error)
    assert text.startswith("file.py: it broke. Got ")
    assert text.endswith(". Hint: mend it.")
    assert "\n" not in text
    assert "\x1b" not in text
    assert len(text) < 250
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), str(copy)) == (type(error), text)


def test_missing_optional_package_names_its_extra():
    with pytest.raises(errors.MissingDependencyError, match=r"pip install 'dissensus\[trl\]'"):
        require("no_such_package_at_all", "trl")


def test_readme_links_to_files_that_exist():
    text = (ROOT / "README.md").read_text()
    targets = re.findall(r"\]\((?!https?:|#)([^)#]+)", text)
    assert targets
    missing = [target for target in targets if not (ROOT / target).exists()]
    assert not missing
