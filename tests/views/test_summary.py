"""The numbers of a report, against counts made by hand."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path

import numpy as np
import pytest

from dissensus import Recorder, Run
from dissensus.views.advice import advise
from dissensus.views.snapshot import Snapshot
from dissensus.views.summary import RunSummary, summarise_run

from .synthetic import record_run

# prompt, step, rewards, trained
GROUPS = [
    ("a", 0, [1.0, 0.0, 0.0, 0.0]),
    ("b", 0, [0.0, 0.0, 0.0, 0.0]),
    ("a", 1, [1.0, 1.0, 1.0, 1.0]),
    ("c", 1, [1.0, 1.0, 0.0, 0.0]),
]


def grpo(rewards: list[float]) -> list[float]:
    mean, std = np.mean(rewards), np.std(rewards)
    return [0.0 if std == 0 else (r - mean) / std for r in rewards]


def record(
    folder: Path, groups=GROUPS, *, heldout=(), trained=None, advantages=True, correct=None
) -> Run:
    """One generation per split and step; `trained` is one bool per training group."""
    with Recorder(folder, metadata={"estimator": "grpo"}, correct=correct) as recorder:
        for split, found in (("eval", heldout), ("train", groups)):
            for step in sorted({each[1] for each in found}):
                here = [(i, *each) for i, each in enumerate(found) if each[1] == step]
                is_used = advantages and split == "train"
                flags = [trained[i] for i, _, _, r in here for _ in r] if trained else None
                recorder.record(
                    step=step,
                    split=split,
                    group_ids=[f"{split}{i}" for i, _, _, r in here for _ in r],
                    prompt_ids=[prompt for _, prompt, _, r in here for _ in r],
                    rewards=[value for _, _, _, r in here for value in r],
                    advantages_used=[a for *_, r in here for a in grpo(r)] if is_used else None,
                    trained=flags if split == "train" else None,
                )
    return Run(folder)


@pytest.fixture
def summary(tmp_path) -> RunSummary:
    heldout = [("h", 0, [1.0, 0.0]), ("i", 0, [0.0, 0.0]), ("h", 1, [1.0, 1.0]), ("i", 1, [1.0, 0])]
    return summarise_run(record(tmp_path, heldout=heldout))


def test_training_measures_by_hand(summary):
    # Two of four groups are unanimous, one of each kind; 1 + 0 + 4 + 2 of 16 rollouts are right.
    # GRPO: W = σ, √3/4 for k = 1 of 4 and 1/2 for k = 2 of 4.
    found = summary.to_json()
    assert found["groups"] == 4
    assert found["rollouts"] == 16
    assert found["prompts"] == 3
    assert found["steps"] == 2
    assert found["group_size"] == {"min": 4, "median": 4.0, "max": 4}
    assert found["unanimous"] == {"total": 0.5, "all_wrong": 0.25, "all_correct": 0.25}
    assert found["silent"] == 0.5
    assert found["solve_rate"] == pytest.approx(7 / 16)
    assert found["reward_mean"] == pytest.approx(7 / 16)
    assert found["std_mean"] == pytest.approx((math.sqrt(3) / 4 + 0.5) / 4)
    assert found["effective_rollout_frac"] == 0.5
    expected = 1000 * (math.sqrt(3) / 4 + 0.5) / 16
    assert found["contrast_per_1000_rollouts"] == pytest.approx(expected)


def test_evaluation_is_apart(summary):
    heldout = summary.to_json()["heldout"]
    assert heldout["splits"] == ["eval"]
    assert heldout["evaluations"] == 2
    assert heldout["rollouts"] == 8
    assert heldout["first"]["solve_rate"] == 0.25
    assert heldout["last"]["solve_rate"] == 0.75
    assert heldout["last"]["step"] == 1
    assert heldout["last"]["silent"] is None


def test_the_json_is_one_document_with_the_promised_keys(summary):
    document = json.loads(json.dumps(summary.to_json(), allow_nan=False))
    promised = {
        "source", "format", "steps", "prompts", "groups", "rollouts", "group_size", "unanimous",
        "silent", "std_mean", "solve_rate", "effective_rollout_frac",
    }  # fmt: skip
    assert promised <= set(document)
    assert document["format"] == "dissensus"


def test_prompts_never_or_always_solved(summary):
    # b cost 4 of 16 rollouts in one visit; no prompt was always solved (a split at step 0).
    assert summary.never_solved.prompts == 1
    assert summary.never_solved.rollout_frac == 0.25
    assert summary.never_solved.repeated_prompts == 0
    assert summary.always_solved.prompts == 0


def test_discarded_rollouts_count_as_generated_and_not_as_trained(tmp_path):
    found = summarise_run(record(tmp_path, trained=[True, False, False, True]))
    assert found.discarded_rollouts == 8
    assert found.train.trained_rollouts == 8
    assert found.train.effective_rollout_frac == 0.5  # 8 of the 16 generated
    expected = 1000 * (math.sqrt(3) / 4 + 0.5) / 16
    assert found.train.contrast_per_1000_rollouts == pytest.approx(expected)
    assert any("not trained on" in each.text for each in advise(found))


def test_unknown_correctness_is_null_and_never_zero(tmp_path):
    groups = [("a", 0, [0.1, 0.9, 0.4]), ("b", 0, [0.3, 0.3, 0.3])]
    found = summarise_run(record(tmp_path, groups)).to_json()
    assert found["unanimous"] == {"total": 0.5, "all_wrong": None, "all_correct": None}
    assert found["solve_rate"] is None
    assert found["never_solved"] is None
    assert found["forecast"] is None
    assert found["silent"] == 0.5
    assert any(each["about"] == "correct_unknown" for each in found["advice"])


def test_unknown_advantages_are_null_and_never_zero(tmp_path):
    found = summarise_run(record(tmp_path, advantages=False)).to_json()
    assert found["silent"] is None
    assert found["effective_rollout_frac"] is None
    assert found["contrast_per_1000_rollouts"] is None
    assert found["unanimous"]["total"] == 0.5


def test_a_trained_group_without_rewards_leaves_the_contrast_known(tmp_path):
    # W = Cov(±1, correct) = 1/2 in one group of two; the other one has no covariance. R = 4.
    with Recorder(tmp_path) as recorder:
        recorder.record(
            step=0,
            group_ids=[0, 0, 1, 1],
            prompt_ids=[0, 0, 1, 1],
            rewards=[1.0, 0.0, math.nan, math.nan],
            advantages_used=[1.0, -1.0, 0.0, 0.0],
        )
    found = summarise_run(Run(tmp_path))
    assert found.train.contrast_per_1000_rollouts == pytest.approx(1000 * 0.5 / 4)
    assert found.train.unscored_rollouts == 2
    (advice,) = [each.text for each in advise(found) if each.about == "unscored"]
    assert advice.startswith("2 rollouts (50 %) came without a reward (None, NaN or infinite)")


def test_contrast_is_unknown_where_correctness_is_known_of_some_groups_only(tmp_path):
    # Of a single value, 10, nobody knows whether it is correct; of 10 and 0 everybody does.
    found = summarise_run(record(tmp_path, [("a", 0, [10.0, 10.0]), ("a", 1, [10.0, 0.0])]))
    assert found.train.contrast_per_1000_rollouts is None
    # All unknown: W is the covariance with the reward in every group, here √2/3 of 3 rollouts.
    found = summarise_run(record(tmp_path / "graded", [("a", 0, [0.0, 1.0, 2.0])]))
    expected = 1000 * math.sqrt(2 / 3) / 3
    assert found.train.contrast_per_1000_rollouts == pytest.approx(expected)


@pytest.mark.parametrize(
    ("groups", "said"),
    [
        ([("a", 0, [10.0, 10.0]), ("a", 1, [10.0, 0.0])], "no second reward value"),
        ([("a", 0, [10.0, 10.0]), ("b", 0, [10.0, 10.0])], "no second reward value"),
        ([("a", 0, [0.0, 0.5, 1.0])], "more than two values"),
        (
            [("a", 0, [2.0, 2.0]), ("b", 0, [3.0, 3.0]), ("c", 0, [4.0, 4.0])],
            "more than two values",
        ),
    ],
)
def test_it_is_said_why_correctness_is_unknown(tmp_path, groups, said):
    found = summarise_run(record(tmp_path, groups))
    assert said in found.correct_unknown
    (advice,) = [each.text for each in advise(found) if each.about == "correct_unknown"]
    assert said in advice


def test_first_and_last_evaluation_are_of_one_split(tmp_path):
    # "hard" was evaluated twice, "easy" three times, "also" as often: the first of them by name.
    with Recorder(tmp_path) as recorder:
        for split, scores in {
            "hard": {0: 0.0, 9: 0.0},
            "easy": {1: 1.0, 2: 1.0, 5: 1.0},
            "also": {2: 0.0, 3: 1.0, 4: 0.5},
        }.items():
            for step, rate in scores.items():
                recorder.record(
                    step=step,
                    split=split,
                    group_ids=[f"{split}{step}"] * 2,
                    prompt_ids=[split] * 2,
                    rewards=[float(rate > 0), float(rate > 0.5)],
                )
    found = summarise_run(Run(tmp_path))
    heldout = found.to_json()["heldout"]
    assert heldout["splits"] == ["also", "easy", "hard"]
    assert (heldout["split"], heldout["evaluations"]) == ("also", 3)
    assert (heldout["first"]["step"], heldout["first"]["solve_rate"]) == (2, 0.0)
    assert (heldout["last"]["step"], heldout["last"]["solve_rate"]) == (4, 0.5)
    assert heldout["rollouts"] == 16
    (advice,) = [each.text for each in advise(found) if each.about == "heldout"]
    assert advice.startswith("Held-out solve rate of also: 0 % at step 2, 50 % at step 4")


def test_what_the_heartbeat_says_cannot_steer_a_terminal(tmp_path):
    run = record(tmp_path)
    path = tmp_path / "heartbeat.json"
    beat = json.loads(path.read_text())
    hostile = {"state": "\x1b[2Jgone\x07", "dropped": {"\x1b]0;title\x07te\u202exts": 3}}
    path.write_text(json.dumps(beat | hostile))
    found = summarise_run(run)
    assert found.state == "died"
    assert found.dropped == {"te⟨202E⟩xts": 3}


def test_a_run_without_groups(tmp_path):
    Recorder(tmp_path).close()
    found = summarise_run(Run(tmp_path))
    assert found.to_json()["steps"] == 0
    assert found.to_json()["unanimous"]["total"] is None
    assert advise(found) == []


def test_quarters(tmp_path):
    groups = [("a", step, [1.0, 0.0] if step < 2 else [1.0, 1.0]) for step in range(8)]
    found = summarise_run(record(tmp_path, groups))
    assert found.first_quarter.unanimous == 0.0
    assert found.last_quarter.unanimous == 1.0
    assert len(found.timeline) == 8
    assert any("now easy" in each.text for each in advise(found))


def test_a_change_within_its_error_is_no_trend(tmp_path):
    # Quarters of four groups: 1 of 4 and 2 of 4 unanimous, a difference of .25 ± .33.
    rewards = {True: [1.0, 1.0], False: [1.0, 0.0]}
    counts = [1, 1, 1, 2]
    groups = [(f"p{i}", step, rewards[i < counts[step]]) for step in range(4) for i in range(4)]
    assert not [a for a in advise(summarise_run(record(tmp_path, groups))) if a.about == "trend"]


def test_advice_names_prompts_never_solved_in_three_visits(tmp_path):
    groups = [("dead", step, [0.0, 0.0]) for step in range(3)]
    groups += [("live", step, [1.0, 0.0]) for step in range(3)]
    texts = [each.text for each in advise(summarise_run(record(tmp_path, groups)))]
    assert any(
        text.startswith("1 prompt never") and "50 % of the rollouts" in text for text in texts
    )


def test_a_summary_of_a_snapshot_is_about_its_moment(tmp_path):
    run = record(tmp_path)
    snapshot = Snapshot(run)
    with Recorder(tmp_path, start_step=2) as recorder:
        recorder.record(step=2, group_ids=[1, 1], prompt_ids=[1, 1], rewards=[1.0, 0.0])
    assert summarise_run(snapshot).train.groups == 4
    assert summarise_run(run).train.groups == 5
    assert summarise_run(run).attempts == 2


def test_the_real_run_gives_the_published_shares(shared_data, tmp_path):
    # Stated with the data: 43.9 % of first-visit groups are unanimous, 49.0 % of all.
    visits = json.loads((shared_data / "one_shot_rlvr_group_accuracy.json").read_text())
    with Recorder(tmp_path, compact_every=0) as recorder:
        for visit in range(max(map(len, visits.values()))):
            here = [(p, round(8 * v[visit])) for p, v in visits.items() if visit < len(v)]
            k = np.array([each[1] for each in here])
            recorder.record(
                step=visit,
                group_ids=np.repeat(np.arange(len(here)) + 10_000 * visit, 8),
                prompt_ids=np.repeat([int(each[0]) for each in here], 8),
                rewards=(np.arange(8)[None, :] < k[:, None]).astype(float).ravel(),
            )
    found = summarise_run(Run(tmp_path))
    assert found.train.groups == sum(map(len, visits.values()))
    assert round(found.train.unanimous, 3) == 0.490
    assert round(found.forecast.points[0].unanimous, 2) == pytest.approx(0.44, abs=0.03)
    assert abs(found.forecast.predicted - found.forecast.measured) < 0.02
    assert found.forecast.plug_in < 0.2


def test_a_live_run_is_summarised(tmp_path):
    run = record_run(tmp_path, generations=6, heldout_every=0)
    assert summarise_run(run).train.groups == 6 * 32


@pytest.mark.parametrize(("generations", "points", "gap"), [(48, 48, 1), (80, 40, 2), (49, 25, 2)])
def test_points_of_the_timeline_stand_for_equally_many_generations(
    generations, points, gap, tmp_path
):
    with Recorder(tmp_path) as recorder:
        for step in range(generations):
            recorder.record(step=step, group_ids=[0, 0], prompt_ids=[1, 1], rewards=[0.0, 1.0])
    steps = [point.step for point in summarise_run(Run(tmp_path)).timeline]
    assert len(steps) == points
    assert {b - a for a, b in itertools.pairwise(steps[:-1])} == {float(gap)}
