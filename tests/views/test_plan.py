"""Plans from runs: what is counted, what is said, and what is refused in one line."""

from __future__ import annotations

import json

import numpy as np
import pytest

from dissensus import Recorder, Run
from dissensus.cli.output import make_console
from dissensus.errors import InputError
from dissensus.views.format import fraction
from dissensus.views.plan import make_plan
from dissensus.views.plan_data import group_facts, read_counts, read_stretches
from dissensus.views.plan_page import plan_page
from dissensus.views.plan_tables import between, plan_view
from dissensus.views.plan_words import forecast_text

from .synthetic import record_run

FEW = (2, 4, 8, 16)


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Run:
    folder = tmp_path_factory.mktemp("plan") / "run"
    return record_run(folder, generations=12, metadata={"estimator": "dr_grpo"})


@pytest.fixture(scope="module")
def plan(run):
    return make_plan(run, group_sizes=FEW)


def record(folder, rewards, *, split="train", correct=None, options=None, **more) -> Run:
    """One generation with the given rewards of each group."""
    with Recorder(folder, correct=correct, **(options or {})) as recorder:
        names = [str(i) for i, group in enumerate(rewards) for _ in group]
        flat = [reward for group in rewards for reward in group]
        recorder.record(
            step=0, split=split, group_ids=names, prompt_ids=names, rewards=flat, **more
        )
    return Run(folder)


def test_counts_are_those_of_the_training_groups(run):
    facts, counts = group_facts(run), read_counts(run)
    groups = run.groups(split="train")
    assert facts.groups == counts.total == groups.num_rows
    assert facts.heldout == run.groups().num_rows - groups.num_rows > 0
    assert facts.prompts == len(set(groups["prompt_id"].to_pylist()))
    k = np.array(groups["correct"].to_pylist())
    assert (
        counts.groups.tolist() == np.bincount(k, minlength=9)[counts.correct.astype(int)].tolist()
    )


def test_the_last_half_is_the_last_half(run):
    late = [row for row in run.groups(split="train").to_pylist() if row["step"] >= 6]
    assert group_facts(run, last=0.5).groups == len(late)
    assert read_counts(run, last=0.5).total == len(late)


def test_quarters_in_order(run):
    quarters = read_stretches(run)
    assert quarters is not None
    assert quarters.groups.tolist() == [96.0] * 4
    first = [row for row in run.groups(split="train").to_pylist() if row["step"] < 3]
    assert quarters.all_wrong[0] == sum(row["correct"] == 0 for row in first)


def test_the_recorded_estimator_is_planned_for(plan):
    assert plan.estimator.name == "dr_grpo"
    assert plan.prediction.group_size == 8
    document = plan.to_json()
    json.dumps(document, allow_nan=True)
    row = document["by_group_size"][0]
    assert set(row) >= {
        "group_size", "unanimous", "identified", "all_wrong", "all_correct",
        "split_per_1000_rollouts", "contrast_per_1000_rollouts",
    }  # fmt: skip
    for row in document["by_group_size"]:
        assert row["identified"][0] <= row["unanimous"] <= row["identified"][1]
        assert row["unanimous"] == pytest.approx(row["all_wrong"] + row["all_correct"])
    assert row["signal_to_noise_interval"][0] <= row["signal_to_noise"]
    found = document["recommendation"]
    assert [each["change"] for each in found["weighed"]] == [
        "groups of 4", "groups of 16", "skip all-wrong", "skip all-correct", "skip unanimous",
    ]  # fmt: skip
    for each in found["weighed"]:
        for name in ("contrast_ratio", "signal_to_noise"):
            assert each[f"{name}_interval"][0] <= each[name] <= each[f"{name}_interval"][1]
        assert each["text"]
        assert each["cost"]
    assert found["change"] in (
        "none",
        *(e["change"] for e in found["weighed"] if e["gains_by_both"]),
    )
    assert document["forecast"]["unanimous"]["interval"][0] < 1


def test_an_estimator_that_needs_more_than_counts_is_replaced_with_a_note(tmp_path):
    run = record_run(tmp_path / "run", generations=4, metadata={"estimator": "my own rule"})
    found = make_plan(run, group_sizes=[8])
    assert found.estimator.name == "grpo"
    assert any("contrast is GRPO's" in note for note in found.notes)


@pytest.mark.parametrize(
    ("said", "name"),
    [
        ({"scale_rewards": "group"}, "grpo(ddof=1, eps=0.0001)"),
        ({"scale_rewards": True}, "grpo(ddof=1, eps=0.0001)"),
        ({"scale_rewards": "batch"}, None),
        (
            {"scale_rewards": "group", "multi_objective_aggregation": "normalize_then_sum"},
            None,
        ),
        ({}, None),
    ],
)
def test_trl_s_own_advantages_by_group_are_planned_for(tmp_path, said, name):
    metadata = {"framework": "trl", "estimator": "TRL's own", **said}
    run = record(tmp_path / "run", [[0, 1], [0, 0]], options={"metadata": metadata})
    found = make_plan(run, group_sizes=[2])
    noted = any("contrast is GRPO's" in note for note in found.notes)
    assert noted == (name is None)
    if name is not None:
        assert repr(found.estimator) == name


def test_the_forecast_keeps_last_and_next_apart(plan):
    forecast = plan.prediction.forecast
    last = fraction(forecast.unanimous.last)
    said = forecast_text(plan.prediction)
    assert f"The last quarter had {last}." in said
    assert f"{fraction(forecast.all_wrong.expected)} all-wrong," in said
    assert said.index("all-correct)") < said.index("The last quarter")


def test_unknown_correctness_says_what_can_be_told(tmp_path):
    run = record_run(tmp_path / "run", generations=4, noise=0.3)
    found = make_plan(run, estimator="dr_grpo", group_sizes=FEW)
    assert found.prediction is None
    assert "not known which rollouts are correct" in found.advice
    document = found.to_json()
    assert document["recommendation"] is None
    # Dr. GRPO at G = 8 is what was recorded: 1000 · mean σ² / 8.
    std = np.array(run.groups(split="train")["std"].to_pylist())
    at_8 = next(row for row in document["by_group_size"] if row["group_size"] == 8)
    assert at_8["contrast_per_1000_rollouts"] == pytest.approx(1000 * np.mean(std**2) / 8)
    assert at_8["unanimous"] is None
    assert "</html>" in plan_page(found)


def test_ragged_groups_and_single_rollouts(tmp_path):
    rng = np.random.default_rng(0)
    sizes = rng.integers(1, 9, 120)
    rewards = [(rng.random(n) < rng.random()).astype(float).tolist() for n in sizes]
    found = make_plan(record(tmp_path / "run", rewards), group_sizes=FEW)
    said = " ".join(found.notes)
    assert "1 to 8 rollouts" in said
    assert "of one rollout" in said
    assert found.prediction.recorded == 8


def test_few_prompts_are_planned_with_a_warning(tmp_path):
    found = make_plan(record(tmp_path / "run", [[0, 1, 1], [0, 0, 0]]), group_sizes=[3])
    assert "only 2 prompts" in " ".join(found.notes)
    low, high = found.to_json()["by_group_size"][0]["identified"]
    assert high - low > 0.5
    assert found.prediction.forecast is None


def test_graded_rewards_are_noted(tmp_path, capsys):
    rewards = [[0.0, 0.1, 1.0, 1.1]] * 5 + [[0.0, 0.1, 0.1, 0.0]] * 5
    found = make_plan(record(tmp_path / "run", rewards, correct=0.5), group_sizes=[4])
    assert "equally correct" in " ".join(found.notes)
    assert "50 % of the groups of 4 were equally correct (all rewards" in found.advice
    assert "equal in 0 % of all groups)" in found.advice
    assert "were unanimous" not in found.advice
    document = found.to_json()
    for change in document["recommendation"]["weighed"]:
        assert change["text"].startswith("If the reward were correctness alone, 0 or 1, ")
    assert document["filters"][-1]["generated_per_kept"] is None
    assert "Refilling as DAPO" not in plan_page(found)
    make_console().print(plan_view(found))
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 80
    assert "95 % intervals, were rewards 0 or 1" in out


def test_where_nearly_all_groups_may_be_unanimous_refilling_is_not_told(tmp_path):
    rewards = [[1.0] * 4 for _ in range(199)] + [[0.0, 1.0, 1.0, 1.0]]
    found = make_plan(record(tmp_path / "run", rewards), group_sizes=FEW)
    assert found.prediction.most_unanimous >= 0.999
    assert "cannot tell what refilling takes" in plan_page(found)


def test_without_a_split_group_the_counts_cannot_tell_what_refilling_takes(tmp_path, capsys):
    rewards = [[float(i % 2)] * 4 for i in range(200)]
    found = make_plan(record(tmp_path / "run", rewards), group_sizes=FEW)
    assert "cannot tell what any change would give" in found.advice
    page = plan_page(found)
    assert "cannot tell what refilling takes" in page
    assert "Refilling as DAPO" not in page
    make_console().print(plan_view(found))
    out = capsys.readouterr().out
    assert "–inf" not in out
    assert "-0.0" not in out
    assert max(map(len, out.splitlines())) <= 80
    assert found.to_json()["filters"][-1]["generated_per_kept"] is None


def test_nothing_to_plan_from_is_one_line(tmp_path):
    with pytest.raises(InputError, match="nothing to plan from"):
        make_plan(record(tmp_path / "eval", [[0, 1]], split="eval"))
    with pytest.raises(InputError, match="two or more rollouts"):
        make_plan(record(tmp_path / "one", [[0.0], [1.0]]))


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"group_sizes": [1]}, "2 … 1024"),
        ({"group_sizes": []}, "2 … 1024"),
        ({"last": 0.0}, "share"),
        ({"estimator": "nope"}, "no advantage rule"),
    ],
)
def test_bad_requests_are_one_line(run, more, said):
    with pytest.raises(InputError, match=said):
        make_plan(run, **more)


def test_the_page_has_every_section(plan):
    page = plan_page(plan)
    for name in ("changes", "sizes", "contrast", "difficulty", "where", "estimators", "filters"):
        assert f'id="{name}"' in page


def test_a_group_size_that_gains_by_one_measure_only_is_told_and_not_recommended(plan):
    found = plan.to_json()["recommendation"]
    assert "groups of 4 have" in found["group_sizes_text"]
    assert "Counts cannot decide between the measures" in found["group_sizes_text"]
    assert not found["change"].startswith("groups of")
    assert "groups of 4" not in plan.advice


def test_intervals_are_written_alike():
    assert between(0.1234, 0.5) == "12.3–50.0 %"
    assert between(-0.0, -1e-17) == "0.0–0.0 %"
    assert fraction(-1e-17) == "0 %"
