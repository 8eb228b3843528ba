"""A log of rewards alone says nothing about what silent groups got."""

from __future__ import annotations

from dissensus.audit.logged import audit_log


def test_silence_is_unknown_without_advantages():
    answer = audit_log(
        [{"step": [0] * 4, "group_id": [0, 0, 1, 1], "reward": [1.0, 1.0, 0.0, 1.0]}]
    )
    assert answer.silent is None
    assert answer.silent_cost == "50.0% of the groups are unanimous"
    assert set(answer.unknown) == {
        "estimator: the log has no advantages",
        "silent: the log has no advantages",
    }
