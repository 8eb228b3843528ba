"""A folder with a few runs, and the application over it."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("starlette", reason="the extra dashboard is not installed")

from starlette.testclient import TestClient
from views.hostile import hostile_run
from views.synthetic import record_run

from dissensus.dashboard.app import Dashboard
from dissensus.dashboard.security import make_policy

TOKEN = "a-token-of-enough-characters"  # noqa: S105
POLICY = (
    "default-src 'self'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; object-src 'none'; base-uri 'none'; frame-ancestors 'none'"
)


def assert_safe(answer) -> None:
    """What every answer says, each of it once, and what none says."""
    pairs = list(getattr(answer.headers, "multi_items", answer.headers.items)())
    for name, text in (
        ("content-security-policy", POLICY),
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "no-referrer"),
        ("cross-origin-resource-policy", "same-origin"),
        ("cross-origin-opener-policy", "same-origin"),
    ):
        assert [value for key, value in pairs if key == name] == [text], name
    names = {name for name, _ in pairs}
    assert not names & {"access-control-allow-origin", "set-cookie", "server"}


@pytest.fixture(scope="session")
def root(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    for seed in (0, 1):
        record_run(
            folder / f"grpo-{seed}",
            seed=seed,
            generations=12,
            prompts_per_generation=16,
            n_prompts=40,
            metadata={"estimator": "grpo(ddof=1, eps=1e-4)", "seed": seed},
        )
    hostile_run(folder / "deep" / "<img src=x onerror=alert(1)>")
    (folder / "nothing").mkdir()
    return folder


@pytest.fixture(scope="session")
def dashboard(root) -> Dashboard:
    return Dashboard(root, make_policy("127.0.0.1", None))


@pytest.fixture(scope="session")
def client(dashboard):  # one for all: an application that has ended makes nothing any more
    with TestClient(dashboard.app, base_url="http://127.0.0.1:8765") as found:
        yield found


@pytest.fixture
def ids(dashboard) -> dict[str, str]:
    """Ids of the runs by the last part of their folder's name."""
    return {each.path.name: each.id for each in dashboard.runs.all()}
