"""What is shown about estimators: the list, one of them, two of them, and the documentation."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from dissensus.core import advantages
from dissensus.core.advantages import AdvantageEstimator
from dissensus.core.advantages.weights import WEIGHTS
from dissensus.errors import InputError
from dissensus.views.curves import bar, curve_plot
from dissensus.views.estimators import markdown
from dissensus.views.estimators.detail import detail, find, pair
from dissensus.views.estimators.docstring import describe
from dissensus.views.estimators.facts import EVIDENCE, entries
from dissensus.views.estimators.figures import estimator_panels
from dissensus.views.estimators.page import estimator_page
from dissensus.views.estimators.terminal import detail_view, list_view

DOCS = Path(__file__).resolve().parents[2] / "docs" / "estimators"


def pushing(groups, context, *, by=1.0):
    """Reward itself, <b>bold</b>.

        A = by · r

    Pushes.
    """
    return by * np.nan_to_num(groups.rewards)


PUSHING = AdvantageEstimator("pushing", pushing, {"by": 2.0}, "<script>alert(1)</script>")


def ordered(groups, context):
    """The first rollout gets all."""
    return np.arange(groups.n_rollouts, dtype=float)


def printed(view, width=80):
    out = io.StringIO()
    Console(file=out, width=width, markup=False, emoji=False, highlight=False).print(view)
    return out.getvalue()


def test_the_pages_are_current():
    made = markdown.pages()
    assert {path.name for path in DOCS.glob("*")} == set(made), f"run {markdown.COMMAND}"
    for name, text in made.items():
        assert (DOCS / name).read_text(encoding="utf-8") == text, f"run {markdown.COMMAND}"
    assert set(made) == {f"{n}.md" for n in [*advantages.names(), *WEIGHTS]} | {"README.md"}
    for name in set(made) - {"README.md"}:
        assert f"]({name})" in made["README.md"]


def test_pages_of_rules_that_are_gone_are_removed(tmp_path, monkeypatch):
    monkeypatch.setattr(markdown, "pages", lambda: {"README.md": "index\n"})
    (tmp_path / "estimators").mkdir()
    (tmp_path / "estimators" / "gone.md").touch()
    markdown.write_pages(tmp_path)
    assert [p.name for p in (tmp_path / "estimators").iterdir()] == ["README.md"]


def test_the_list_names_everything_in_80_columns():
    found = entries()
    text = printed(list_view(found))
    assert max(map(len, text.splitlines())) <= 80
    for entry in found:
        assert re.search(rf"^ {entry.name} ", text, re.MULTILINE), entry.name
        assert entry.described.equation, entry.name
        assert entry.evidence in EVIDENCE
        assert json.dumps(entry.to_json())
    assert "silent k = 0 and k = G" in text
    assert len({entry.name for entry in found}) == len(found)


def test_one_estimator_in_80_columns():
    text = printed(detail_view(detail(advantages.get("grpo"), 8)))
    assert max(map(len, text.splitlines())) <= 80
    assert "A = (r − mean) / (std(ddof) + eps)" in text
    assert "k = 0 and k = 8" in text
    assert "2·arcsin√p" in text
    # √7 and −1/√7, and their contrast.
    assert re.search(r"1 +2\.65 +−0\.378 +0\.331 +0 +█", text)
    assert "none (B = 0" in text


def test_numbers_of_one_estimator():
    document = detail(advantages.get("dr_grpo"), 4).to_json()
    assert [row["contrast"] for row in document["signature"]] == pytest.approx(
        [0, 3 / 16, 4 / 16, 3 / 16, 0]
    )
    assert [row["p"] for row in document["by_solve_rate"]] == pytest.approx(
        np.arange(0.05, 1.0, 0.1)
    )
    for row in document["by_solve_rate"]:
        assert row["contrast"] == pytest.approx(row["p"] * (1 - row["p"]) * 3 / 4)
        assert row["slope"] == pytest.approx(3 / 4)
        assert row["large_group_slope"] == pytest.approx(1)
        assert row["objective"] == pytest.approx(row["p"] * 3 / 4)
        assert row["silent_rate"] == pytest.approx(row["p"] ** 4 + (1 - row["p"]) ** 4)
    p = (np.arange(1900) + 0.5) / 1900  # the integral of p(1−p) over each tenth
    exact = (p * (1 - p)).reshape(10, -1).sum(axis=1) / (p * (1 - p)).sum()
    assert document["mass_by_decile"] == pytest.approx(exact, abs=1e-3)
    assert document["push_ratio"] == pytest.approx(0, abs=1e-12)


def test_the_limit_under_a_weight_is_extrapolated_and_says_so():
    shown = detail(advantages.weighted("dr_grpo", "focal(1)"), 8)
    assert not shown.limit_is_exact
    p = shown.implied.p
    middle = (p > 0.1) & (p < 0.9)
    # The mean of 1 − p over solve rates spread evenly is 1/2.
    assert shown.limit[middle] == pytest.approx(2 * (1 - p[middle]), rel=5e-3)
    assert "neutral reference batch" in shown.context_note
    assert shown.entry.objective == "∫ (1−p)^gamma d[p]"
    damped = advantages.limit(advantages.weighted("dr_grpo", "unanimous_to(0.1)"))
    assert damped.formula == "p"
    assert advantages.limit(advantages.get("grpo(eps=0.1)")) is None
    assert advantages.limit(advantages.weighted("grpo", "learned_bins")) is None
    assert advantages.limit(advantages.get("grpo | clip(-1, 1)")) is None


def test_ddof_vanishes_in_large_groups_and_eps_is_named():
    assert detail(advantages.get("grpo(ddof=1)"), 8).limit_is_exact
    shown = detail(advantages.get("grpo(ddof=1, eps=1e-4)"), 8)
    assert not shown.limit_is_exact
    assert "2·arcsin√p, were eps 0, in large groups" in printed(detail_view(shown))
    assert "2·arcsin√p, were eps 0, when groups are large" in estimator_page(shown)
    assert shown.to_json()["objective_proviso"] == "were eps 0"
    batch = detail(advantages.get("lite_ppo(eps=0.1)"), 8).entry
    assert batch.climbs == "p, up to a factor, were eps 0.0001"
    assert not detail(advantages.get("grpo(eps=0.1) | clip(-1, 1)"), 8).entry.climbs


@pytest.mark.parametrize(
    "text",
    [
        "gdpo",
        "reinforce_pp_baseline",
        "weighted(gdpo, power(1))",
        "grpo | whiten(ddof=1, eps=1e-8)",
        "schedule(grpo, gdpo)",
    ],
)
def test_silent_set_and_push_that_a_batch_mean_moves_say_so(text):
    shown = detail(find(text)[0], 8)
    found = " ".join(printed(detail_view(shown)).split())
    assert "k = 0 and k = 8 in the neutral batch" in found
    assert "−mean/std of the batch for every group, unanimous ones too" in found
    assert (", times the weight" in found) == text.startswith("weighted")
    assert ("as far as the rule counts" in found) == text.startswith("schedule")
    assert "−mean/std of the batch for every group" in estimator_page(shown)
    document = shown.to_json()
    assert document["shifts_with_batch"]
    assert "neutral batch" in document["silent"]
    assert "−mean/std" in document["push"]


@pytest.mark.parametrize("text", ["lite_ppo", "grpo | whiten(1, 1e-8, by='rollout')", "sign"])
def test_other_silent_sets_hold_in_every_batch(text):
    shown = detail(find(text)[0], 8)
    assert not shown.to_json()["shifts_with_batch"]
    assert "neutral batch" not in shown.silent + shown.push


def test_push_is_shown_beside_the_contrast():
    shown = detail(PUSHING, 8)
    assert shown.push.startswith("pushes groups as a whole: Σ|E[B]|/Σ|E[W]| = ")
    assert shown.silent == "k = 0"
    assert "pushes groups as a whole" in printed(detail_view(shown))
    names = [t.name for t in estimator_panels(shown)[0].figure.data]
    assert names == ["W, pushing", "B, pushing"]
    only_push = AdvantageEstimator("all", lambda groups, _: np.ones(groups.n_rollouts))
    assert "there is no contrast" in detail(only_push, 4).push


def test_two_estimators_are_drawn_at_equal_pull():
    first, second = detail(advantages.get("grpo"), 8), detail(advantages.get("dr_grpo"), 8)
    both = pair(first, second)
    (_, one), (name, other) = both.drawn
    assert name.endswith("× Dr. GRPO")
    pulls = [each.implied.prompts @ each.implied.contrast for each in (one, other)]
    assert pulls[0] == pytest.approx(pulls[1])
    np.testing.assert_allclose(other.limit, second.limit * both.comparison.factor)
    text = printed(detail_view(both))
    assert max(map(len, text.splitlines())) <= 80
    assert "At equal total pull, GRPO puts more on solve rates 0.00 … 0.27 and 0.73 … 1.00" in text
    assert both.to_json()["comparison"]["cosine"] == pytest.approx(0.998, abs=1e-3)
    same = pair(first, first)
    assert "the same emphasis" in same.sentences[0]


def test_an_estimator_without_a_signature_says_why():
    shown = detail(AdvantageEstimator("ordered", ordered), 4)
    assert shown.signature is None
    assert "has no signature" in printed(detail_view(shown))
    assert shown.to_json()["signature"] is None
    both = pair(shown, detail(advantages.get("grpo"), 4))
    assert "cannot be compared" in both.sentences[0]
    assert "has no signature" in printed(detail_view(both))
    assert "No figures" in estimator_page(both)
    assert estimator_panels(shown) == []


def test_the_page_is_self_contained_and_escapes_what_a_rule_says():
    page = estimator_page(pair(detail(PUSHING, 8), detail(advantages.get("grpo"), 8)))
    assert page.count("<script>") == 2
    assert "<b>bold" not in page
    assert "&lt;script&gt;alert(1)" in page
    assert "http" not in re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL).replace(
        "http-equiv", ""
    )
    for name in ("signature", "weight", "objective", "push", "mass"):
        assert f'id="plot-{name}"' in page


def test_a_weight_by_itself_is_shown_on_grpo_against_grpo():
    estimator, base = find("power(1)")
    assert repr(estimator) == "weighted(grpo(ddof=0, eps=0.0), power(alpha=1))"
    assert base == advantages.get("grpo")
    assert find("dr_grpo") == (advantages.get("dr_grpo"), None)
    assert find("schedule(grpo, dr_grpo)")[0].name == "schedule"
    text = printed(detail_view(detail(find("schedule(grpo, dr_grpo)")[0], 8)))
    assert "The step is 0 here." in text


@pytest.mark.parametrize("size", [1, 0, -3, 5000])
def test_group_sizes_that_cannot_be_shown(size):
    with pytest.raises(InputError, match="group size"):
        detail(advantages.get("grpo"), size)


def test_large_groups_show_some_of_their_counts():
    text = printed(detail_view(detail(advantages.get("grpo"), 256)))
    assert len(text.splitlines()) < 70
    assert re.search(r"^ *255 ", text, re.MULTILINE)


def test_docstrings_are_taken_apart():
    found = describe(advantages.get("maxrl").function)
    assert found.equation == ("A = (r − mean) / (mean + eps);   W = 1 − m;   B = 0",)
    assert found.short == "A = (r − mean) / (mean + eps)"
    assert len(found.text) == 1

    def rule():
        """Summary.

            ρ = f(x; y);   σ = 1
            A₊ = ρ(a; b),   A₋ = −1;   B = 0

        First
        paragraph, with    spaces.

        | a | b |
        |---|---|

        Args:
            x: Not shown.
        """

    taken = describe(rule)
    assert taken.short == "A₊ = ρ(a; b), A₋ = −1"
    assert taken.text == ("First paragraph, with    spaces.", "| a | b |\n|---|---|")
    assert len(taken.equation) == 2
    assert "  " not in found.text[0]


def test_both_sides_of_a_rule_that_states_them_apart_are_listed():
    def rule():
        """Summary.

            ρ = k/G;   B = 0
            A₊ = ρ;   A₋ = −1

        Text.
        """

    assert describe(rule).short == "A₊ = ρ, A₋ = −1"


def test_curves_survive_gaps_and_flatness():
    lines = curve_plot(
        [[1.0, 1.0 + 1e-12, 1.0], [np.nan, np.inf, 2.0]], styles=["", "red"], width=20, height=4
    )
    assert {len(line.plain) for line in lines} == {20}
    drawn = "".join(line.plain for line in lines)
    assert any("\u2800" < char <= "\u28ff" for char in drawn)
    assert curve_plot([[np.nan]], styles=[""], width=12, height=2)
    assert bar(np.nan, 1.0, 5) == ""
    assert bar(3.0, 1.0, 5) == "█████"
