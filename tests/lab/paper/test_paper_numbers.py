"""The paper's exact numbers, to the digits it prints, and the machinery that compares them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from dissensus.errors import InputError
from dissensus.lab.paper import identity, run, sections, tables
from dissensus.lab.paper.dapo_curve import fit_curve, load_curve
from dissensus.lab.paper.intervals import over_seeds, r_squared
from dissensus.views.paper import AGREES, DIFFERS


def percent(values, digits=0):
    return [round(100 * float(v), digits) for v in np.ravel(values)]


def test_group_sizes_are_those_printed():
    found = tables.group_sizes()
    assert found.exact.tolist() == [[7, 11, 51], [9, 14, 61], [22, 36, 144], [42, 69, 273]]
    assert found.closed_form.round().tolist() == [
        [5, 10, 50], [6, 12, 60], [14, 28, 139], [26, 53, 263]
    ]  # fmt: skip


def test_big_math_has_the_printed_shares():
    found = tables.big_math_facts()
    assert percent([found.never, found.always, found.never + found.always], 1) == [4.0, 7.2, 11.2]
    assert percent(found.unanimous) == [59, 44, 32, 23, 17]
    assert percent(found.unanimous_drawn[:3]) == [59, 43, 30]
    large = [found.extreme[rule, None] for rule in ("dr_grpo", "grpo")]
    assert percent(large, 1) == [13.9, 24.7]
    assert round(large[1] / large[0], 2) == 1.78
    assert percent([found.medium[rule, None] for rule in ("dr_grpo", "grpo")], 1) == [22.8, 17.5]
    assert percent([found.extreme["grpo", 8]], 1) == [16.5]
    assert found.extreme["dr_grpo", 8] == pytest.approx(large[0], rel=1e-12)  # p(1−p)(1 − 1/G)
    assert all(shares.sum() == pytest.approx(1) for shares in found.mass.values())


def test_every_exact_section_agrees_with_the_paper():
    found = [
        sections.identity_section(identity.check_vectors(200), None),
        sections.group_size_section(tables.group_sizes()),
        sections.big_math_section(tables.big_math_facts()),
    ]
    rows = [row for each in found for row in (*each.rows, *each.detail)]
    assert [row.name for row in rows if row.verdict in DIFFERS] == []
    assert sum(row.verdict in AGREES for row in rows) == 3 + 26 + 17


def test_the_identity_check_notices_a_wrong_rule(monkeypatch):
    monkeypatch.setitem(identity._POWERS, "grpo", 2)
    assert identity.check_vectors(20)["grpo"] > 0.1


def test_the_interval_is_the_one_for_another_seed():
    values = [0.1, 0.4, 0.2, 0.3]
    found = over_seeds(values)
    spread = math.sqrt(sum((v - 0.25) ** 2 for v in values) / 3) * math.sqrt(1 + 1 / 4)
    assert found.mean == pytest.approx(0.25)
    assert found.high - 0.25 == pytest.approx(stats.t(3).isf(0.025) * spread)
    assert math.isnan(over_seeds([1.0]).low)


def test_r_squared_by_hand():
    assert r_squared([0, 1, 2], [0, 1, 1]) == pytest.approx(1 - 1 / 2)


def test_dapos_curve_gives_the_printed_fits(shared_data):
    found = fit_curve(*load_curve(shared_data))
    assert len(found.steps) == 60
    assert round(found.fits["power"].r_squared, 2) == 0.92
    assert round(found.fits["saturating"].r_squared, 2) == 0.98
    for name in ("power", "logit"):
        assert found.fits[name].values[-1] == pytest.approx(found.plateau, abs=1e-6)
    # Best of a grid: no other time scale is better.
    best = found.fits["saturating"].r_squared
    steps = found.steps - found.steps[0]
    for tau in np.geomspace(500, 8000, 60):
        rise = 1 - np.exp(-steps / tau)
        height = np.linalg.lstsq(rise[:, None], found.logged)[0][0]
        assert r_squared(found.logged, height * rise) <= best + 1e-9


def test_a_missing_or_broken_curve_is_one_line(tmp_path):
    with pytest.raises(InputError, match="--data") as caught:
        load_curve(tmp_path)
    assert "\n" not in str(caught.value)
    (tmp_path / "dapo_fig3b_all_correct_fraction.csv").write_text("step,x\n1,0.2,3\n2,0.3\n")
    with pytest.raises(InputError, match="step,fraction"):
        load_curve(tmp_path)


RISING = [f"{step},{0.02 * step + 0.1:.2f}" for step in range(20)]


@pytest.mark.parametrize(
    "lines",
    [
        [],
        RISING[:3],  # fewer than the plateau takes
        ["0,0.1", *["5,0.3"] * 9, "7,nan"],
        [f"{row}0" if step % 2 else row.replace("0.", "30.") for step, row in enumerate(RISING)],
        ["9,0.2"] * 12,  # all at one step
        [f"{step},0.01" for step in range(20)],  # below what Big-Math starts from
        [f"{step},1" for step in range(20)],  # above what it can reach
        ["\N{REPLACEMENT CHARACTER}".encode("utf-16").decode("latin-1")],
    ],
)
def test_a_curve_that_cannot_be_fitted_is_one_line(tmp_path, lines):
    (tmp_path / "dapo_fig3b_all_correct_fraction.csv").write_text("\n".join(lines), "latin-1")
    curve, section = run._dapo(tmp_path)
    assert curve is None
    assert "dapo_fig3b" in section.absent
    assert "\n" not in section.absent


def test_any_rising_curve_that_big_math_can_reach_is_fitted(tmp_path):
    (tmp_path / "dapo_fig3b_all_correct_fraction.csv").write_text("\n".join(RISING))
    assert run._dapo(tmp_path)[0] is not None
