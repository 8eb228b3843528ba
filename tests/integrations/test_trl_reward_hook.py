"""Recording through public hooks: the same groups as the subclass records."""

from __future__ import annotations

import pytest
import tiny
from trl import GRPOTrainer

from dissensus import Recorder, Run
from dissensus.errors import InputError
from dissensus.integrations.trl import DisagreementGRPOTrainer, RecordingCallback, open_recorder

pytestmark = pytest.mark.filterwarnings("ignore")

COLUMNS = [
    "step", "generation", "split", "round", "epoch", "group_id", "prompt_id", "rollouts", "size",
    "mean", "std", "min", "max", "correct", "unanimous", "trained", "length_mean", "truncated",
    "policy_version",
]  # fmt: skip
ARGS = {
    "gradient_accumulation_steps": 2,
    "per_device_train_batch_size": 4,
    "per_device_eval_batch_size": 4,
    "num_generations_eval": 2,
    "reward_weights": [1.0, 0.5],
    "max_steps": 4,
    "num_iterations": 2,
    "eval_strategy": "steps",
    "eval_steps": 2,
    "num_generations": 4,
}


async def waiting(completion_ids, **_):
    return tiny.length_reward(completion_ids)


@pytest.mark.parametrize(
    ("rewards", "rows"),
    [
        ([tiny.even_digits, tiny.sometimes_none], [0, 1, 2, 3]),
        ([tiny.even_digits, waiting], [0, 0, 0, 0]),
    ],
    ids=["with None", "async, two groups of one prompt in each batch"],
)
def test_wrapped_functions_record_the_groups_the_subclass_records(tmp_path, rewards, rows):
    data = {"train_dataset": tiny.dataset(5).select(rows), "eval_dataset": tiny.dataset(3)}
    trainer = tiny.build(
        DisagreementGRPOTrainer, tmp_path / "a", args=ARGS, reward_funcs=rewards, **data
    )
    trainer.train()
    trainer.recorder.close()
    with Recorder(tmp_path / "b" / "run") as recorder:
        plain = tiny.build(
            GRPOTrainer,
            tmp_path / "b",
            args=ARGS,
            reward_funcs=[recorder.wrap_reward(fn) for fn in rewards],
            callbacks=[RecordingCallback(recorder)],
            **data,
        )
        plain.train()
    expected = Run(tmp_path / "a" / "dissensus")
    got = Run(tmp_path / "b" / "run")
    for mine, theirs in zip(
        expected.groups(columns=COLUMNS).to_pylist(),
        got.groups(columns=COLUMNS).to_pylist(),
        strict=True,
    ):
        assert {k: pytest.approx(v, abs=1e-6, nan_ok=True) if isinstance(v, float) else v
                for k, v in mine.items()} == theirs  # fmt: skip
    for column in ("completion", "prompt_id", "length", "truncated"):
        assert expected.rollouts()[column].to_pylist() == got.rollouts()[column].to_pylist()
    names = [dict(row["rewards_by_function"]).keys() for row in got.rollouts().to_pylist()]
    assert {tuple(n) for n in names} == {tuple(fn.__name__ for fn in rewards)}
    assert got.groups()["silent"].null_count == got.groups().num_rows
    scalars = {row["name"] for row in got.scalars().to_pylist()}
    assert {"loss", "reward", "learning_rate"} <= scalars


def test_the_step_is_known_where_reward_functions_are_not_told(tmp_path):
    """As TRL before it handed its state to reward functions."""

    def untold(wrapped):
        return lambda trainer_state, **given: wrapped(**given)

    found = []
    for name, change in [("told", lambda wrapped: wrapped), ("untold", untold)]:
        with Recorder(tmp_path / name) as recorder:
            tiny.build(
                GRPOTrainer,
                tmp_path,
                args={**ARGS, "reward_weights": [1.0]},
                reward_funcs=[change(recorder.wrap_reward(tiny.even_digits))],
                callbacks=[RecordingCallback(recorder)],
                eval_dataset=tiny.dataset(3),
            ).train()
        groups = Run(tmp_path / name).groups(columns=["split", "step", "epoch"])
        found.append(groups.to_pylist())
    assert found[0] == found[1]
    steps = {(g["split"], g["step"]) for g in found[1]}
    assert steps == {("train", 0), ("train", 2), ("eval", 2), ("eval", 4)}


def test_none_and_infinite_rewards_are_unscored_in_both(tmp_path):
    """Of each group one rollout has no score, one an infinite total, one half of its scores."""

    def first(completions, **_):
        return [None, float("-inf"), 1.0, 0.0] * (len(completions) // 4)

    def second(completions, **_):
        return [None, float("inf"), None, 0.5] * (len(completions) // 4)

    args = {"max_steps": 1, "reward_weights": [1.0, 2.0]}
    rewards = [first, second]
    trainer = tiny.build(DisagreementGRPOTrainer, tmp_path / "a", args=args, reward_funcs=rewards)
    trainer.train()
    trainer.recorder.close()
    assert trainer._dissensus.writer.guard.failures == {}
    with Recorder(tmp_path / "b" / "run", strict=True) as recorder:
        plain = tiny.build(
            GRPOTrainer,
            tmp_path / "b",
            args=args,
            reward_funcs=[recorder.wrap_reward(fn) for fn in rewards],
            callbacks=[RecordingCallback(recorder)],
        )
        plain.train()
    for run in (Run(tmp_path / "a" / "dissensus"), Run(tmp_path / "b" / "run")):
        for group in run.groups().to_pylist():
            assert (group["rollouts"], group["size"]) == (4, 2)
            assert (group["min"], group["max"], group["std"]) == (1.0, 1.0, 0.0)
        rows = run.rollouts().to_pylist()
        assert [row["reward"] for row in rows] == [None, None, 1.0, 1.0] * 2
        scores = [tuple(dict(row["rewards_by_function"]).values()) for row in rows]
        assert scores == [(None, None), (None, None), (1.0, None), (0.0, 0.5)] * 2


def test_it_leaves_the_reward_function_as_it_was(tmp_path):
    recorder = Recorder(tmp_path)
    wrapped = recorder.wrap_reward(tiny.even_digits)
    assert wrapped.__name__ == "even_digits"
    assert wrapped(prompts=["a"], completions=["1 2"]) == [1.0]
    assert wrapped.__doc__ == tiny.even_digits.__doc__
    recorder.close()


def test_without_a_callback_a_run_of_equal_prompts_is_a_group(tmp_path):
    def right(prompts, completions):
        return [float(c == "y") for c in completions]

    with Recorder(tmp_path) as recorder:
        wrapped = recorder.wrap_reward(right)
        wrapped(["p", "p", "q"], ["y", "n", "y"])
        wrapped(["p", "p", "q"], ["n", "n", "n"])
    groups = Run(tmp_path).groups().to_pylist()
    assert [(g["rollouts"], g["mean"]) for g in groups] == [(2, 0.5), (1, 1.0), (2, 0.0), (1, 0.0)]


def test_a_broken_recording_leaves_the_rewards_alone(tmp_path, caplog):
    recorder = Recorder(tmp_path)
    wrapped = recorder.wrap_reward(lambda *_, **__: [1.0, 2.0])
    assert wrapped(nothing="known") == [1.0, 2.0]
    assert wrapped(nothing="known") == [1.0, 2.0]
    assert sum("could not be recorded" in r.message for r in caplog.records) == 1
    recorder.close()


def test_a_recorder_of_another_process_is_refused(tmp_path):
    with Recorder(tmp_path / "run", world_size=2) as recorder:
        for more in ({"callbacks": [RecordingCallback(recorder)]}, {"recorder": recorder}):
            cls = DisagreementGRPOTrainer if "recorder" in more else GRPOTrainer
            with pytest.raises(InputError, match="open_recorder"):
                tiny.build(cls, tmp_path, **more)


def test_open_recorder_needs_no_second_process(tmp_path):
    tiny.config(tmp_path)
    with open_recorder(tmp_path / "run") as recorder:
        assert (recorder.rank, recorder.world_size, recorder.attempt) == (0, 1, 1)
