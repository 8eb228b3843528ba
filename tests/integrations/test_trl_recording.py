"""What the trainer records and measures, and that it leaves training alone."""

from __future__ import annotations

import numpy as np
import pytest
import tiny
import torch
from trl import GRPOTrainer

from dissensus import Run, advantages
from dissensus.errors import InputError, UnsupportedError
from dissensus.integrations.trl import DisagreementGRPOTrainer, DisagreementMixin
from dissensus.runs.rows import prompt_id

# TRL and transformers warn about their own next releases.
pytestmark = pytest.mark.filterwarnings("ignore")


def weights(trainer):
    return {name: value.clone() for name, value in trainer.model.state_dict().items()}


def run_of(trainer):
    trainer.recorder.close()
    return Run(trainer.recorder.run_dir)


SETTINGS = {
    "defaults": {},
    "accumulation": {"gradient_accumulation_steps": 2, "per_device_train_batch_size": 4},
    "old policy": {"steps_per_generation": 4, "per_device_train_batch_size": 4, "num_iterations": 2,
                   "max_steps": 9},
    "kl and batch std": {"beta": 0.1, "scale_rewards": "batch", "loss_type": "grpo"},
    "evaluation": {"eval_strategy": "steps", "eval_steps": 1, "num_generations_eval": 2},
}  # fmt: skip


@pytest.mark.parametrize("name", SETTINGS)
def test_with_defaults_it_trains_bit_for_bit_like_trl(tmp_path, name):
    def trained(cls):  # one after the other: building a trainer seeds the random numbers
        folder = tmp_path / cls.__name__
        trainer = tiny.build(cls, folder, args=SETTINGS[name], eval_dataset=tiny.dataset(3))
        trainer.train()
        return trainer

    theirs, ours = trained(GRPOTrainer), trained(DisagreementGRPOTrainer)
    for key, value in weights(theirs).items():
        assert torch.equal(value, weights(ours)[key]), key
    logged = [
        [{k: v for k, v in row.items() if "time" not in k and "second" not in k} for row in t]
        for t in (theirs.state.log_history, ours.state.log_history)
    ]
    for before, after in zip(*logged, strict=True):
        assert before == {k: v for k, v in after.items() if "disagreement/" not in k}


def test_a_generation_is_recorded_as_trl_made_it(tmp_path):
    calls = []

    class Spy(GRPOTrainer):
        def _generate_and_score_completions(self, inputs):
            output = super()._generate_and_score_completions(inputs)
            calls.append((inputs, output))
            return output

    class Mine(DisagreementMixin, Spy):
        pass

    def second(completions, **_):
        return tiny.sometimes_none(completions)

    trainer = tiny.build(
        Mine,
        tmp_path,
        args={"reward_weights": [1.0, 0.5], "max_steps": 3},
        reward_funcs=[tiny.even_digits, second],
    )
    trainer.train()
    run = run_of(trainer)
    rows = run.rollouts().to_pylist()
    assert [row["generation"] for row in rows] == [0] * 8 + [1] * 8 + [2] * 8
    for number, (inputs, output) in enumerate(calls):
        mine = rows[8 * number : 8 * number + 8]
        used = output["advantages"].tolist()
        for i, row in enumerate(mine):
            first, other = (dict(row["rewards_by_function"])[n] for n in ("even_digits", "second"))
            assert first == tiny.even_digits([row["completion"]])[0]
            expected = tiny.sometimes_none([row["completion"]])[0]
            assert (other is None or np.isnan(other)) if expected is None else other == expected
            assert row["reward"] == pytest.approx(first + 0.5 * (expected or 0.0))
            assert row["prompt_id"] == prompt_id(inputs[i])
            assert row["length"] == int(output["completion_mask"][i].sum())
            last = output["completion_ids"][i][row["length"] - 1]
            assert row["truncated"] == (int(last) not in {0, 1})  # padding and end token
            assert row["advantage_framework"] == pytest.approx(used[i])
            assert row["step"] == number
        assert len({row["group_id"] for row in mine}) == 2
        assert mine[0]["group_id"] == mine[3]["group_id"] != mine[4]["group_id"]
    prompts = {p["prompt_id"]: p for p in run.prompts().to_pylist()}
    assert prompts[rows[0]["prompt_id"]]["prompt"] == calls[0][0][0]["prompt"]
    assert prompts[rows[0]["prompt_id"]]["reference"] == calls[0][0][0]["answer"]


def test_two_groups_of_one_prompt_stay_two_groups(tmp_path):
    same = tiny.dataset(1).select([0, 0, 0, 0])
    trainer = tiny.build(DisagreementGRPOTrainer, tmp_path, train_dataset=same)
    trainer.train()
    groups = run_of(trainer).groups().to_pylist()
    assert [g["rollouts"] for g in groups] == [4, 4, 4, 4]
    assert len({g["group_id"] for g in groups}) == 4
    assert len({g["prompt_id"] for g in groups}) == 1


def test_a_prompt_id_column_is_used(tmp_path):
    data = tiny.dataset().add_column("prompt_id", [f"row-{i}" for i in range(16)])
    trainer = tiny.build(DisagreementGRPOTrainer, tmp_path, train_dataset=data)
    trainer.train()
    assert all(g["prompt_id"].startswith("row-") for g in run_of(trainer).groups().to_pylist())


def test_evaluation_batches_are_groups_of_num_generations_eval(tmp_path):
    # Three prompts × 2 in batches of 4: the last batch is half full.
    trainer = tiny.build(
        DisagreementGRPOTrainer,
        tmp_path,
        args={"num_generations_eval": 2, "per_device_eval_batch_size": 4},
        eval_dataset=tiny.dataset(3),
    )
    trainer.evaluate()
    metrics = trainer.state.log_history[-1]
    groups = run_of(trainer).groups(split="eval").to_pylist()
    assert [g["rollouts"] for g in groups] == [2, 2, 2]
    assert len({g["prompt_id"] for g in groups}) == 3
    assert [g["trained"] for g in groups] == [0, 0, 0]
    # One value over all three groups, not the mean of a batch of two and a batch of one.
    mean_std = np.mean([g["std"] for g in groups])
    assert metrics["eval_disagreement/group_std_mean"] == pytest.approx(mean_std)
    assert "eval_disagreement/effective_rollout_frac" not in metrics


def test_every_evaluation_set_is_a_split_with_its_own_metrics(tmp_path):
    trainer = tiny.build(
        DisagreementGRPOTrainer,
        tmp_path,
        args={"eval_strategy": "steps", "eval_steps": 1, "max_steps": 1},
        eval_dataset={"math": tiny.dataset(2), "code": tiny.dataset(3)},
        reward_funcs=tiny.length_reward,
    )
    trainer.train()
    trainer.predict(tiny.dataset(4))
    trainer.evaluate(tiny.dataset(1), None, "test")
    trainer.evaluate(tiny.dataset(5), metric_key_prefix="train")
    run = run_of(trainer)
    groups = run.groups().to_pandas().groupby("split")
    expected = {"train": 2, "eval_math": 2, "eval_code": 3, "test": 4 + 1, "eval_train": 5}
    assert groups.size().to_dict() == expected
    assert groups.trained.sum()[lambda trained: trained > 0].to_dict() == {"train": 8}
    evaluated = {"eval_math": 2, "eval_code": 3, "test": 1, "eval_train": 5}
    logged = [row for row in trainer.state.log_history if "eval_reward" in row]
    for (split, size), row in zip(evaluated.items(), logged, strict=True):
        mean_std = groups.get_group(split)["std"].tail(size).mean()
        assert row["eval_disagreement/group_std_mean"] == pytest.approx(mean_std)
        (recorded,) = run.scalars("disagreement/group_std_mean", split)["value"].to_pylist()
        assert recorded == pytest.approx(mean_std)
    for split in ("eval_math", "eval_code", "test"):
        names = run.scalars(split=split)["name"].to_pylist()
        assert {"loss", "reward", "runtime"} <= set(names)
        assert not any(name.startswith(("eval", "test")) for name in names)


@pytest.mark.parametrize("scale", ["group", "batch"])
def test_metrics_are_those_of_the_recorded_groups(tmp_path, scale):
    trainer = tiny.build(
        DisagreementGRPOTrainer,
        tmp_path,
        args={"logging_steps": 3, "max_steps": 6, "scale_rewards": scale, "num_generations": 2},
    )
    trainer.train()
    groups = run_of(trainer).groups().to_pandas()
    logged = [row for row in trainer.state.log_history if "reward" in row]
    for window, row in enumerate(logged):
        mine = groups[groups.step.isin(range(3 * window, 3 * window + 3))]
        k, n = mine.correct, mine["size"]
        got = {key.partition("/")[2]: v for key, v in row.items() if key.startswith("disagr")}
        assert got["unanimous_frac"] == pytest.approx(((k == 0) | (k == n)).mean())
        assert got["all_wrong_frac"] == pytest.approx((k == 0).mean())
        assert got["all_correct_frac"] == pytest.approx((k == n).mean())
        # Two rewards: σ = sqrt(k (G − k)) / G, whatever TRL divides by.
        assert got["group_std_mean"] == pytest.approx((np.sqrt(k * (n - k)) / n).mean())
        assert got["effective_rollout_frac"] == pytest.approx(((k > 0) & (k < n)).mean())
        assert got["rollouts_generated"] == 8
        split = groups.loc[mine.index].contrast.sum()
        assert got["contrast_per_1000_rollouts"] == pytest.approx(1000 * split / 24)


@pytest.mark.parametrize("name", ["dr_grpo", "lite_ppo", "reinforce_pp_baseline"])
def test_an_estimator_replaces_the_advantages(tmp_path, name):
    outputs = []

    class Mine(DisagreementGRPOTrainer):
        def _generate_and_score_completions(self, inputs):
            outputs.append(super()._generate_and_score_completions(inputs))
            return outputs[-1]

    trainer = tiny.build(Mine, tmp_path, args={"log_completions": True}, estimator=name)
    trainer.train()
    rows = run_of(trainer).rollouts().to_pandas()
    from dissensus import RewardGroups

    for number, output in enumerate(outputs):
        mine = rows[rows.generation == number]
        groups = RewardGroups.from_dense(mine.reward.to_numpy().reshape(2, 4))
        context = advantages.Context(lengths=mine.length.to_numpy())
        expected = advantages.get(name)(groups, context)
        assert output["advantages"].tolist() == pytest.approx(expected, abs=1e-6)
        assert mine.advantage_used.tolist() == pytest.approx(expected, abs=1e-6)
        assert mine.advantage_framework.abs().max() > 0
    assert list(trainer._logs["advantages"]) == pytest.approx(expected, abs=1e-6)


def test_trls_own_rule_as_an_estimator_gives_trls_advantages(tmp_path):
    rule = advantages.get("grpo", ddof=1, eps=1e-4)
    trainer = tiny.build(
        DisagreementGRPOTrainer,
        tmp_path,
        args={"reward_weights": [1.0, 0.3]},
        reward_funcs=[tiny.sometimes_none, tiny.length_reward],
        estimator=rule,
    )
    trainer.train()
    rows = run_of(trainer).rollouts().to_pandas()
    assert rows.advantage_used.tolist() == pytest.approx(
        rows.advantage_framework.tolist(), abs=1e-6
    )


def test_constant_rewards_are_silent_though_trl_leaves_a_residue(tmp_path):
    def constant(completions, **_):
        return [0.1] * len(completions)

    trainer = tiny.build(DisagreementGRPOTrainer, tmp_path, reward_funcs=constant, correct=1.0)
    trainer.train()
    run = run_of(trainer)
    assert all(g["silent"] and g["unanimous"] for g in run.groups().to_pylist())
    logged = trainer.state.log_history[0]
    assert logged["disagreement/silent_frac"] == 1.0
    assert logged["disagreement/all_wrong_frac"] == 1.0


def test_correct_can_be_one_of_the_reward_functions(tmp_path):
    trainer = tiny.build(
        DisagreementGRPOTrainer,
        tmp_path,
        reward_funcs=[tiny.even_digits, tiny.length_reward],
        correct="even_digits",
    )
    trainer.train()
    rows = run_of(trainer).rollouts().to_pylist()
    for row in rows:
        assert row["correct"] == (dict(row["rewards_by_function"])["even_digits"] == 1.0)


def test_a_third_reward_value_makes_correctness_unknown(tmp_path):
    trainer = tiny.build(DisagreementGRPOTrainer, tmp_path, reward_funcs=tiny.length_reward)
    trainer.train()
    logged = trainer.state.log_history[0]
    assert "disagreement/all_wrong_frac" not in logged
    assert logged["disagreement/contrast_per_1000_rollouts"] > 0
    assert all(g["correct"] is None for g in run_of(trainer).groups().to_pylist())


def test_normalise_then_sum_is_silent_only_where_every_function_agrees(tmp_path):
    def up(completion_ids, **_):
        return [float(i % 4 == 0) for i in range(len(completion_ids))]

    def down(completion_ids, **_):
        return [1.0 - float(i % 4 == 0) for i in range(len(completion_ids))]

    trainer = tiny.build(
        DisagreementGRPOTrainer,
        tmp_path,
        args={"multi_objective_aggregation": "normalize_then_sum", "reward_weights": [2.0, 2.0]},
        reward_funcs=[up, lambda completion_ids, **_: [0.3] * len(completion_ids)],
    )
    trainer.train()
    assert not any(g["silent"] for g in run_of(trainer).groups().to_pylist())
    flat = tiny.build(
        DisagreementGRPOTrainer,
        tmp_path / "flat",
        args={"multi_objective_aggregation": "normalize_then_sum"},
        reward_funcs=[up, down],
    )
    flat.train()
    # The totals are all 1, and so unanimous; TRL's two normalised functions cancel exactly.
    assert all(g["unanimous"] for g in run_of(flat).groups().to_pylist())


def test_recording_trouble_does_not_stop_training(tmp_path, caplog):
    (tmp_path / "file").write_text("in the way")
    trainer = tiny.build(
        DisagreementGRPOTrainer, tmp_path / "out", run_dir=tmp_path / "file" / "run"
    )
    trainer.train()
    assert trainer.recorder is None
    assert trainer._dissensus.writer.guard.failures == {"open": 1}
    assert sum("could not open" in record.message for record in caplog.records) == 1


def test_recording_can_be_turned_off(tmp_path):
    trainer = tiny.build(DisagreementGRPOTrainer, tmp_path, run_dir=False)
    trainer.train()
    assert trainer.recorder is None
    assert not (tmp_path / "dissensus").exists()
    assert "disagreement/silent_frac" in trainer.state.log_history[0]


@pytest.mark.parametrize(
    "extra",
    [{"silent": "drop"}, {"estimator": "no such rule"}, {"correct": "no such function"},
     {"max_resample": 0}, {"recorder": object(), "run_dir": "x"}],
)  # fmt: skip
def test_bad_arguments_are_refused(tmp_path, extra):
    with pytest.raises((InputError, UnsupportedError)):
        tiny.build(DisagreementGRPOTrainer, tmp_path, **extra)


@pytest.mark.parametrize("silent", ["keep", "mask", "resample"])
def test_a_per_token_estimator_fills_the_completion_mask(tmp_path, silent):
    from dissensus.core.advantages import AdvantageEstimator

    def decaying(groups, context):
        spread = np.repeat(groups.centered, np.diff(context.token_offsets))
        place = np.concatenate([np.arange(n) for n in np.diff(context.token_offsets)])
        return spread * 0.5**place

    outputs = []

    class Mine(DisagreementGRPOTrainer):
        def _generate_and_score_completions(self, inputs):
            outputs.append(super()._generate_and_score_completions(inputs))
            return outputs[-1]

    rule = AdvantageEstimator("decaying", decaying, needs=("token_offsets",))
    trainer = tiny.build(Mine, tmp_path, estimator=rule, silent=silent)
    trainer.train()
    assert all(torch.isfinite(p).all() for p in trainer.model.parameters())
    rows = run_of(trainer).rollouts().to_pandas()
    for output in outputs:
        table, mask = output["advantages"], output["completion_mask"]
        assert table.shape == mask.shape
        assert (table[mask == 0] == 0).all()
        assert torch.allclose(table[:, 1:] * mask[:, 1:], table[:, :-1] * 0.5 * mask[:, 1:])
    mean = table.sum(1) / mask.sum(1)
    last = rows[(rows.step == 1) & rows.trained].advantage_used.to_numpy()
    assert sorted(last) == pytest.approx(
        sorted(m for m, row in zip(mean.tolist(), table, strict=True)
               if silent != "mask" or row.any()), abs=1e-6
    )  # fmt: skip


def test_what_trl_cannot_give_an_estimator_is_refused(tmp_path):
    from dissensus.core.advantages import AdvantageEstimator

    def rule(needs):
        return AdvantageEstimator("asks", lambda groups, _context: groups.centered, needs=needs)

    with pytest.raises(UnsupportedError, match="token_entropies"):
        tiny.build(DisagreementGRPOTrainer, tmp_path, estimator=rule(("token_entropies",)))
    with pytest.raises(UnsupportedError, match="vespo"):
        tiny.build(
            DisagreementGRPOTrainer,
            tmp_path,
            args={"loss_type": "vespo"},
            estimator=rule(("token_offsets",)),
        )
