"""Which learning rate is reported."""

from __future__ import annotations

import pytest

from dissensus.lab.bench.tuning import choose_rate


@pytest.mark.parametrize(
    ("finals", "chosen"),
    [
        ({}, None),
        ({1e-4: [0.5]}, 1e-4),
        ({1e-4: [0.5, 0.7], 2e-4: [0.6, 0.6]}, 1e-4),
        ({1e-4: [0.5, 0.7], 2e-4: [0.9]}, 1e-4),
        ({1e-4: [0.1, 0.2], 2e-4: [0.3, 0.2], 4e-4: [0.0, 0.3]}, 2e-4),
    ],
)
def test_the_best_mean_wins_and_the_smaller_rate_a_tie(finals, chosen):
    assert choose_rate(finals) == chosen
