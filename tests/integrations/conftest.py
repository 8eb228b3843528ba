"""What the tests of all integrations share."""

from __future__ import annotations

import pytest

from dissensus.runs import recorder

collect_ignore = ["two_processes.py"]  # a script: test_trl_two_processes.py runs it


@pytest.fixture(autouse=True)
def no_recorder_outlives_its_test():
    """A trainer leaves its recorder open, whose thread would go on writing during later tests."""
    yield
    for each in list(recorder._open):
        each.close()
