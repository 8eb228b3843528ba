"""One Ray cluster for all tests here, of several processes on this machine."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

# No doctests: one cannot be imported without verl, the other has the name of another folder's.
collect_ignore = ["conftest.py", "standins.py"]


def path():
    """What workers import from: this folder, and whatever this process was told."""
    return os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])


@pytest.fixture(scope="session")
def cluster():
    """More CPUs than there are: verl's actors claim one each, and do little here."""
    ray = pytest.importorskip("ray")
    ray.init(
        num_cpus=8,
        include_dashboard=False,
        object_store_memory=100 * 1024**2,
        log_to_driver=False,
        runtime_env={"env_vars": {"PYTHONPATH": path()}},
    )
    yield ray
    ray.shutdown()
