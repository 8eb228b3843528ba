"""Several processes, what counts as correct, and the text budget."""

import numpy as np
import pytest
from batches import batch

from dissensus import RewardGroups
from dissensus.runs import Recorder, Run
from dissensus.runs.rows import as_text
from dissensus.runs.text_budget import choose_groups


def two_ranks(run_dir, **more):
    """Two groups of two; one straddles the ranks: rank 0 has rows 0 to 2."""
    rewards = [1.0, 0.0, 1.0, 0.0]
    texts = ["a" * 10, "b" * 10, "c" * 10, "d" * 10]
    with (
        Recorder(run_dir, world_size=2, **more) as first,
        Recorder(run_dir, rank=1, world_size=2, attempt=first.attempt, **more) as second,
    ):
        for recorder, rows in ((first, slice(0, 3)), (second, slice(3, 4))):
            recorder.record(**batch(0, rewards), completions=texts[rows], local=rows)
    return first, second


def test_every_rank_writes_its_rollouts_and_rank_0_the_groups(tmp_path):
    two_ranks(tmp_path)
    run = Run(tmp_path)
    assert run.groups(columns=["rank", "size"]).to_pydict() == {"rank": [0, 0], "size": [2, 2]}
    rows = run.rollouts().to_pylist()
    assert [(r["row"], r["rank"], r["completion"][0]) for r in rows] == [
        (0, 0, "a"),
        (1, 0, "b"),
        (2, 0, "c"),
        (3, 1, "d"),
    ]
    assert (tmp_path / "heartbeat-rank=1.json").exists()
    assert run.state == "finished"


def test_ranks_agree_on_which_group_keeps_its_text(tmp_path):
    # Budget for completions 1500 bytes, in its second half: no room for 4 rollouts of 2048.
    first, second = two_ranks(tmp_path, text_budget_bytes=2000)
    assert [r["completion"] for r in Run(tmp_path).rollouts().to_pylist()] == [None] * 4
    assert (first.dropped, second.dropped) == ({"texts_over_budget": 3}, {"texts_over_budget": 1})
    assert Run(tmp_path).info["dropped"] == {"texts_over_budget": 4}


def test_groups_keep_or_lose_their_text_together_and_split_ones_come_first():
    groups = RewardGroups.from_dense([[1, 1], [0, 1], [0, 0], [1, 0]])
    bytes_each = np.full(8, 10.0)
    # Half of 20,000 is spent; 1/200 of the other half is 50: two groups of 20 fit.
    keep, taken = choose_groups(
        groups, bytes_each, budget_bytes=20_000, used_bytes=10_000, generation=3
    )
    assert keep.tolist() == [False, False, True, True, False, False, True, True]
    assert taken == 40.0


@pytest.mark.parametrize("budget", [0.0, 1_000.0, 1e6])
def test_the_budget_is_never_exceeded_and_never_quite_spent(budget):
    groups = RewardGroups.from_dense(np.eye(16))
    used = 0.0
    for generation in range(3000):
        keep, taken = choose_groups(
            groups,
            np.full(256, 1.0),
            budget_bytes=budget,
            used_bytes=used,
            generation=generation,
        )
        assert taken == keep.sum()
        used += taken
    assert used <= budget
    if budget >= 1e6:
        assert used > 0.9 * budget / 2


def test_text_over_budget_is_null_and_counted(tmp_path):
    with Recorder(tmp_path, text_budget_bytes=100, strict=True) as recorder:
        for step in range(4):
            recorder.record(**batch(step, completions=["x" * 5] * 4, prompts=[f"{step}" * 20] * 4))
    # 75 bytes for completions, 20 a generation. In the first half, 37.5: all of step 0, and one
    # group of step 1, the split one. Then 1/200 of the rest holds no group.
    kept = Run(tmp_path).sql("SELECT DISTINCT group_id FROM rollouts WHERE completion IS NOT NULL")
    assert sorted(kept["group_id"].to_pylist()) == ["s0g0", "s0g1", "s1g0"]
    # 25 bytes for prompts: one of 20; the second prompt of step 0 is over it.
    assert Run(tmp_path).prompts()["prompt"].to_pylist() == ["0" * 20, None]
    assert recorder.dropped == {"texts_over_budget": 10, "prompts_over_budget": 1}


def test_the_budget_counts_bytes_and_not_characters(tmp_path):
    with Recorder(tmp_path, text_budget_bytes=100, strict=True) as recorder:
        recorder.record(**batch(0, completions=["字" * 5] * 4, prompts=["字" * 9] * 4))
    # 60 bytes in two groups, and 37.5 may go in the first half; no prompt of 27 fits into 25.
    assert recorder.dropped == {"texts_over_budget": 2, "prompts_over_budget": 2}


def test_no_budget_keeps_everything(tmp_path):
    with Recorder(tmp_path, text_budget_bytes=None) as recorder:
        recorder.record(**batch(0, completions=["x" * 10_000] * 4))
    assert recorder.dropped == {}


# ---- what counts as correct ------------------------------------------------------------------


def correct_counts(run_dir, generations, **options):
    with Recorder(run_dir, strict=True, **options) as recorder:
        for step, rewards in enumerate(generations):
            recorder.record(**batch(step, rewards))
    return Run(run_dir).groups()["correct"].to_pylist()


@pytest.mark.parametrize(
    ("generations", "expected"),
    [
        ([[0.0, 1.0], [1.0, 1.0], [0.0, 0.0]], [1, 2, 0]),
        ([[-1.0, 1.0], [-1.0, -1.0]], [1, 0]),
        ([[0.0, 10.0], [10.0, 10.0]], [1, 2]),  # the run knows what 10 means
        ([[0.0, 1.0], [0.0, 0.5], [0.0, 1.0]], [1, None, None]),  # unknown from then on
        ([[0.3, 0.5], [0.7, 0.7]], [1, None]),
        ([[7.0, 7.0]], [None]),
        ([[0.0, 1.0 + 1e-9], [1.0, 0.0]], [1, 1]),  # equal within the tolerance
    ],
)
def test_correctness_is_read_from_the_rewards_of_the_run(tmp_path, generations, expected):
    assert correct_counts(tmp_path, generations) == expected


def test_a_declared_threshold_holds_whatever_the_rewards_are(tmp_path):
    assert correct_counts(tmp_path, [[0.2, 0.8], [0.5, 0.1]], correct=0.5) == [1, 1]


def test_flags_of_the_call_come_first(tmp_path):
    with Recorder(tmp_path, correct=0.5) as recorder:
        recorder.record(**batch(0, [0.9, 0.1]), correct=[False, False])
        recorder.record(**batch(1, [0.9, 0.1]), correct=0.05)
    assert Run(tmp_path).groups()["correct"].to_pylist() == [0, 2]
    assert Run(tmp_path).rollouts()["correct"].to_pylist() == [False, False, True, True]


def test_unknown_correctness_is_null_everywhere(tmp_path):
    correct_counts(tmp_path, [[0.1, 0.2, 0.3, 0.3]])
    row = Run(tmp_path).groups().to_pylist()[1]
    assert row["correct"] is row["all_wrong"] is row["all_correct"] is None
    assert row["unanimous"] is True
    assert Run(tmp_path).rollouts()["correct"].null_count == 4
    step = Run(tmp_path).steps().to_pylist()[0]
    assert step["solve_rate"] is step["all_wrong"] is None


def test_every_value_has_a_text():
    inside_itself = []
    inside_itself.append(inside_itself)
    assert as_text(inside_itself) == "<list>"
    assert as_text({("a", "b"): 1}) == "<dict>"
    assert as_text([{"role": "user", "content": object()}]) == (
        '[{"role": "user", "content": "<object>"}]'
    )
