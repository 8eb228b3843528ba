"""SIGKILL at random moments: a few here, a hundred in benchmarks/kills.py."""

import json
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "kills.py"


def test_nothing_flushed_is_lost_and_nothing_counts_twice():
    done = subprocess.run(
        [sys.executable, SCRIPT, "--kills", "3", "--json"],
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads(done.stdout)
    assert set(result["problems"].values()) == {0}
    assert result["resumed"] == 3
    assert result["generations"] > 0
