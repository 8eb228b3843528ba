"""`allocator=`: groups of any size in TRL, and everything about them accounted for."""

from __future__ import annotations

import logging

import numpy as np
import pandas as pd
import pytest
import tiny
import torch
from datasets import IterableDataset
from trl import GRPOTrainer

from dissensus import RewardGroups, Run, advantages
from dissensus.core import allocation
from dissensus.core.advantages import AdvantageEstimator
from dissensus.core.allocation import Draw
from dissensus.errors import InputError, RunError, UnsupportedError
from dissensus.integrations.trl import DisagreementGRPOTrainer, DisagreementMixin
from dissensus.integrations.trl.settings import check_supported
from dissensus.runs.rows import prompt_id

pytestmark = pytest.mark.filterwarnings("ignore")

DATA = tiny.dataset(24)
PROMPTS = {prompt_id(row): row["prompt"] for row in DATA}
ROWS = 16  # of a generation batch, in groups of 4 where nothing else decides


class Spy(GRPOTrainer):
    """Keeps what each round made."""

    def _generate_and_score_completions(self, inputs):
        output = super()._generate_and_score_completions(inputs)
        self.__dict__.setdefault("made", []).append(dict(output))
        return output


class Allocating(DisagreementMixin, Spy):
    """Keeps what is trained on."""

    def _generate_and_score_completions(self, inputs):
        output = super()._generate_and_score_completions(inputs)
        if self.model.training:
            self.__dict__.setdefault("used", []).append(output)
        return output


def by_prompt(completions, prompts, **_):
    """A function of prompt and place: a third all correct, a third all wrong, a third mixed."""
    kind = [int(prompt[0]) % 3 for prompt in prompts]
    return [float(k == 1 or (k == 2 and i % 3 == 0)) for i, k in enumerate(kind)]


def train(tmp_path, allocator, cls=Allocating, *, resume=None, args=None, **more):
    settings = {"per_device_train_batch_size": ROWS, "max_steps": 4, **(args or {})}
    more = {"reward_funcs": by_prompt, "train_dataset": DATA, **more}
    trainer = tiny.build(cls, tmp_path, args=settings, allocator=allocator, **more)
    trainer.train(resume_from_checkpoint=resume)
    trainer.recorder.close()
    return trainer, Run(tmp_path / "dissensus")


def texts(trainer, batch):
    """(prompt, completion) of each row that the loss takes, as the model sees it."""
    decode, rows = trainer.processing_class.decode, []
    mask = batch["completion_mask"] * batch.get("tool_mask", 1)
    for i in range(len(batch["prompt_ids"])):
        if mask[i].any():
            prompt = batch["prompt_ids"][i][batch["prompt_mask"][i].bool()]
            completion = batch["completion_ids"][i][batch["completion_mask"][i].bool()]
            rows.append((decode(prompt), decode(completion, skip_special_tokens=True)))
    return rows


@pytest.mark.parametrize(
    "allocator", ["uniform", "contrast(explore=0.3)", "dapo", "dars_et(batch=3)", "reinforce_ada"]
)
def test_what_is_trained_on_is_what_was_sampled_and_recorded(tmp_path, allocator):
    trainer, run = train(tmp_path, allocator, args={"log_completions": True})
    rollouts = run.rollouts().to_pandas()
    for step, batch in enumerate(trainer.used):
        mine = rollouts[(rollouts.step == step) & rollouts.trained]
        recorded = list(zip(mine.prompt_id.map(PROMPTS), mine.completion, strict=True))
        assert sorted(texts(trainer, batch)) == sorted(recorded)
        assert batch["num_items_in_batch"] == max(1, mine.length.sum())
    last = rollouts[(rollouts.step == step) & rollouts.trained]
    assert sorted(trainer._logs["completion"]) == sorted(last.completion)
    assert sorted(trainer._logs["advantages"]) == pytest.approx(
        sorted(last.advantage_used), abs=1e-6
    )
    ledger = trainer._dissensus.allocation.ledger
    assert (
        ledger.generated == len(rollouts) == sum(len(made["prompt_ids"]) for made in trainer.made)
    )
    assert ledger.trained == rollouts.trained.sum()
    assert trainer._dissensus.writer.guard.failures == {}


def recomputed(rows, *, weigh):
    """GRPO as TRL has it (sample std, eps 1e-4) on the rollouts of each prompt that are trained."""
    expected = pd.Series(0.0, index=rows.index)
    for _, step in rows[rows.trained].groupby("step"):
        mean_size = step.groupby("prompt_id").size().mean()
        for _, group in step.groupby("prompt_id"):
            centred = group.reward - group.reward.mean()
            factor = mean_size / len(group) if weigh else 1.0
            expected[group.index] = factor * centred / (group.reward.std(ddof=1) + 1e-4)
    return expected


@pytest.mark.parametrize(("allocator", "weigh"), [("dapo", False), ("contrast(least=2)", True)])
def test_advantages_are_those_of_the_allocators_groups(tmp_path, allocator, weigh):
    trainer, run = train(tmp_path, allocator, reward_funcs=[tiny.even_digits])
    rows = run.rollouts().to_pandas()
    expected = recomputed(rows, weigh=weigh)
    trained = rows.trained
    assert expected[trained].abs().max() > 0
    # TRL keeps float32 rewards, and a group of one has no std: its one rollout is its mean.
    assert rows.advantage_used[trained].tolist() == pytest.approx(
        expected[trained].fillna(0).tolist(), abs=1e-6
    )
    sizes = rows[trained].groupby(["step", "prompt_id"]).size()
    assert len(set(sizes)) > 1 or not weigh, "all groups had one size: nothing was weighed"
    given = [sorted(batch["advantages"].tolist()) for batch in trainer.used]
    for step, values in enumerate(given):
        mine = rows[trained & (rows.step == step)].advantage_used
        assert values == pytest.approx(sorted(mine), abs=1e-6)


def test_a_baseline_is_the_mean_of_all_draws(tmp_path):
    _, run = train(
        tmp_path, "reinforce_ada(per_round=8, keep=4)", reward_funcs=[tiny.even_digits],
        estimator="dr_grpo",
    )  # fmt: skip
    rows = run.rollouts().to_pandas()
    mean = rows.groupby(["step", "prompt_id"]).reward.transform("mean")
    drawn = rows.groupby(["step", "prompt_id"]).reward.transform("size")
    trained = rows.trained & (drawn > 4)
    assert trained.any()
    expected = (rows.reward - mean)[trained]
    assert rows.advantage_used[trained].tolist() == pytest.approx(expected.tolist(), abs=1e-6)


@pytest.mark.parametrize("allocator", ["uniform", "contrast", "dapo", "speed_rl(screen=2, more=2)"])
def test_training_ends_with_the_budget_and_spends_all_of_it(tmp_path, allocator):
    trainer, run = train(tmp_path, allocator, args={"max_steps": 99}, rollout_budget=100)
    assert trainer.state.global_step < 99
    spent = run.groups()["rollouts"].to_pandas().sum()
    assert spent == trainer._dissensus.allocation.ledger.generated <= 100
    assert spent > 100 - 4  # what is left pays for no group


@pytest.mark.parametrize("name", allocation.names())
def test_every_strategy_trains_within_its_budget(tmp_path, name):
    trainer, run = train(tmp_path, name, args={"max_steps": 3}, rollout_budget=300)
    rollouts = run.groups()["rollouts"].to_pandas().sum()
    assert 0 < rollouts == trainer._dissensus.allocation.ledger.generated <= 300
    assert trainer._dissensus.writer.guard.failures == {}
    assert all(torch.isfinite(p).all() for p in trainer.model.parameters())


def test_metrics_of_trl_are_those_of_all_rollouts_by_prompt(tmp_path):
    trainer, run = train(tmp_path, "dapo(max_rounds=3)", args={"max_steps": 3})
    rows = run.rollouts().to_pandas()
    assert any(row.get("disagreement/draws", 0) > 1 for row in trainer.state.log_history)
    for step, row in enumerate(r for r in trainer.state.log_history if "reward" in r):
        mine = rows[rows.step == step]
        assert row["reward"] == pytest.approx(mine.reward.mean(), abs=1e-6)
        assert row["reward_std"] == pytest.approx(mine.reward.std(ddof=1), abs=1e-6)
        assert row["rewards/by_prompt/mean"] == pytest.approx(mine.reward.mean(), abs=1e-6)
        constant = mine.groupby("prompt_id").reward.transform("nunique") == 1
        assert row["frac_reward_zero_std"] == pytest.approx(constant.mean())
        assert row["completions/mean_length"] == pytest.approx(mine.length.mean(), rel=1e-5)
        assert row["completions/max_length"] == mine.length.max()
        assert row["disagreement/rollouts_generated"] == len(mine)
        assert row["disagreement/rollouts_trained"] == mine.trained.sum()
        assert row["disagreement/unanimous_frac"] == pytest.approx(
            np.mean([len(set(rewards)) == 1 for _, rewards in mine.groupby("prompt_id").reward])
        )
    tokens = sum(
        int(made["prompt_mask"].sum() + made["completion_mask"].sum()) for made in trainer.made
    )
    assert row["num_tokens"] == tokens


def test_evaluation_is_as_without_an_allocator(tmp_path):
    _, run = train(
        tmp_path,
        "contrast",
        args={"eval_strategy": "steps", "eval_steps": 2},
        eval_dataset=tiny.dataset(4),
    )
    sizes = run.groups(split="eval")["rollouts"].to_pandas()
    assert set(sizes) == {4}


def as_tuples(run, first_step):
    """The plan: which prompt got how many rollouts, of which were trained on."""
    groups = run.groups().to_pandas()
    groups = groups[groups.step >= first_step].sort_values(["step", "prompt_id"])
    return groups[["step", "prompt_id", "rollouts", "trained"]].to_numpy().tolist()


@pytest.mark.parametrize(
    "allocator",
    ["uniform", "contrast(explore=0.3)", "dapo", "dots(fresh=0.5)", "speed_rl(screen=2, more=2)"],
)
def test_a_resumed_training_follows_the_same_plan(tmp_path, allocator):
    args = {"max_steps": 8, "save_strategy": "steps", "save_steps": 4}
    whole, run = train(tmp_path / "whole", allocator, args=args, rollout_budget=400)
    expected = as_tuples(run, 4)
    assert len(expected) >= 8
    resumed, run = train(
        tmp_path / "resumed",
        allocator,
        args=args,
        rollout_budget=400,
        resume=str(tmp_path / "whole" / "checkpoint-4"),
    )
    assert as_tuples(run, 4) == expected
    one, other = (t._dissensus.allocation for t in (whole, resumed))
    assert one.ledger.state_dict() | {"seconds": 0} == other.ledger.state_dict() | {"seconds": 0}
    for mine, theirs in zip(whole.model.parameters(), resumed.model.parameters(), strict=True):
        assert torch.equal(mine, theirs)


def test_a_budget_that_ends_after_the_checkpoint_ends_there_again(tmp_path):
    """The draw that was asked for early, to see whether there is one, is in the checkpoint."""
    args = {"max_steps": 99, "save_strategy": "steps", "save_steps": 3}
    _, run = train(tmp_path / "whole", "contrast", args=args, rollout_budget=90)
    checkpoint = str(tmp_path / "whole" / "checkpoint-3")
    _, again = train(
        tmp_path / "again", "contrast", args=args, rollout_budget=90, resume=checkpoint
    )
    assert as_tuples(again, 3) == as_tuples(run, 3) != []


def test_stored_rollouts_keep_what_their_policy_thought_of_them(tmp_path):
    """Log-likelihoods of the step that sampled them, so the ratio in the loss is not 1."""
    trainer, _ = train(tmp_path, "dots(fresh=0.25)", reward_funcs=[tiny.even_digits])
    known = {}
    reused = 0
    for batch in trainer.used:
        for i in range(len(batch["prompt_ids"])):
            row = (batch["prompt_ids"][i], batch["completion_ids"][i])
            key = tuple(tuple(ids[ids != 0].tolist()) for ids in row)
            mask = batch["completion_mask"][i].bool()
            mine = batch["old_per_token_logps"][i][mask]
            if key in known and len(known[key]) == len(mine):
                reused += torch.equal(known[key], mine)
            known.setdefault(key, mine)
    logged = [r for r in trainer.state.log_history if "disagreement/rollouts_reused" in r]
    assert reused >= sum(r["disagreement/rollouts_reused"] for r in logged) > 0


def test_a_step_that_keeps_nothing_does_not_move_the_model_by_its_rows(tmp_path):
    """Unanimous prompts only, and DAPO gives up: the loss is 0, training goes on."""
    trainer, run = train(
        tmp_path,
        "dapo(max_rounds=2)",
        reward_funcs=lambda completions, **_: [1.0] * len(completions),
    )
    assert run.groups()["trained"].to_pandas().sum() == 0
    before = tiny.model()
    for start, end in zip(before.parameters(), trainer.model.parameters(), strict=True):
        assert torch.equal(start, end.cpu())


def test_padding_and_masked_groups_are_in_no_denominator(tmp_path):
    """Five groups of three in micro-batches of two steps: 15 rows, and one that only fills up."""
    written = "uniform(batch=5, group_size=3)"
    args = {"per_device_train_batch_size": 8, "steps_per_generation": 2, "max_steps": 2}
    trainer, run = train(tmp_path, written, args=args)
    rows = run.rollouts(step=0).to_pandas()
    batch = trainer.used[0]
    assert len(batch["advantages"]) == 16
    assert len(rows) == 15
    assert batch["num_items_in_batch"] == rows.length.sum()
    assert len(texts(trainer, batch)) == 15
    masked, run = train(tmp_path / "masked", written, args=args, silent="mask")
    rows = run.rollouts(step=0).to_pandas()
    kept = rows[rows.advantage_used != 0]
    assert rows.trained.tolist() == (rows.advantage_used != 0).tolist()
    assert masked.used[0]["num_items_in_batch"] == kept.length.sum() > 0


def test_the_prompts_may_be_those_of_the_run(tmp_path):
    _, run = train(tmp_path / "first", "uniform")
    ids = sorted(set(run.groups()["prompt_id"].to_pylist()))[:6]
    chosen = allocation.get("uniform", ids, batch=4, group_size=4)
    _, run = train(tmp_path / "second", chosen)
    assert set(run.groups()["prompt_id"].to_pylist()) == set(ids)


def test_a_draw_larger_than_a_batch_is_sampled_in_pieces(tmp_path):
    trainer, run = train(tmp_path, "pods(batch=4, group_size=16, keep=4)", args={"max_steps": 1})
    assert [len(made["prompt_ids"]) for made in trainer.made] == [ROWS] * 4
    assert run.groups()["rollouts"].to_pylist() == [16] * 4
    assert run.groups()["trained"].to_pylist() == [4] * 4


def test_more_than_a_batch_holds_is_left_out_and_said_once(tmp_path, caplog):
    with caplog.at_level(logging.WARNING, "dissensus.trl"):
        trainer, run = train(tmp_path, "uniform(batch=8)")
    assert run.groups()["trained"].to_pandas().sum() == 4 * ROWS
    assert trainer._dissensus.allocation.ledger.trained == 4 * ROWS
    said = [record.message for record in caplog.records if "do not fit" in record.message]
    assert len(said) == 1


class Failing(type(allocation.get("uniform", 2))):
    def _next(self, step, budget, rng):
        raise ValueError("no idea")


class NoPrompt(type(allocation.get("uniform", 2))):
    def _next(self, step, budget, rng):
        return None


def test_an_allocator_that_fails_stops_with_its_reason(tmp_path):
    with pytest.raises(RunError, match="the allocator cannot go on: no idea"):
        train(tmp_path, Failing(24, batch=4, group_size=4))


def test_an_allocator_without_a_prompt_leaves_it_to_trl(tmp_path, caplog):
    with caplog.at_level(logging.WARNING, "dissensus.trl"):
        trainer, run = train(tmp_path, NoPrompt(24, batch=4, group_size=4))
    assert trainer.state.global_step == 4
    assert set(run.groups()["rollouts"].to_pylist()) == {4}
    assert sum("draws no prompt" in record.message for record in caplog.records) == 1


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({"allocator": "unifrom"}, "uniform"),
        ({"allocator": "uniform(sizes=3)"}, "no parameter"),
        ({"allocator": 3}, "an allocator or its name"),
        ({"rollout_budget": 100}, "rollout_budget needs an allocator"),
        ({"allocator": "uniform", "rollout_budget": 0}, "whole number ≥ 1"),
        ({"allocator": "uniform", "silent": "resample"}, "what replaces silent groups"),
        ({"allocator": allocation.get("uniform", 99)}, "rows of the training set"),
        ({"allocator": allocation.get("uniform", ["x"])}, "the training set lacks"),
    ],
)
def test_what_cannot_be_used_is_refused_at_start(tmp_path, given, match):
    with pytest.raises(InputError, match=match):
        tiny.build(DisagreementGRPOTrainer, tmp_path, **given)


def test_rows_without_numbers_are_refused(tmp_path):
    rows = IterableDataset.from_generator(lambda: iter([{"prompt": "1 + 1 ="}]))
    with pytest.raises(UnsupportedError, match="an allocator draws rows by number"):
        tiny.build(DisagreementGRPOTrainer, tmp_path, allocator="uniform", train_dataset=rows)


def test_the_server_mode_of_vllm_is_refused_with_the_reason(tmp_path):
    trainer = tiny.build(DisagreementGRPOTrainer, tmp_path, allocator="uniform")
    trainer.use_vllm, trainer.vllm_mode = True, "server"
    with pytest.raises(UnsupportedError, match="every num_generations-th row"):
        check_supported(trainer, trainer._dissensus.settings)


def test_a_batch_rule_of_trl_needs_an_estimator(tmp_path):
    args = {"scale_rewards": "batch"}
    with pytest.raises(UnsupportedError, match="several sizes"):
        tiny.build(DisagreementGRPOTrainer, tmp_path, args=args, allocator="uniform")
    _, run = train(tmp_path, "contrast", args=args, estimator="lite_ppo")
    rows = run.rollouts(step=0).to_pandas()
    groups = RewardGroups.from_flat(rows.reward, rows.prompt_id)
    size = groups.expand(groups.size)
    expected = advantages.get("lite_ppo")(groups) * groups.size.mean() / size
    assert rows.advantage_used.tolist() == pytest.approx(expected.tolist(), abs=1e-6)


def test_draws_and_rewards_reach_the_allocator_as_they_were(tmp_path):
    """What it is told is what the run says that these prompts got."""
    told = []

    class Listening(type(allocation.get("uniform", 2))):
        def ask(self, budget, rng):
            answer = super().ask(budget, rng)
            told.append(answer if isinstance(answer, Draw) else None)
            return answer

        def tell(self, groups, *, lengths=None):
            told.append((groups.ids[groups.index], groups.rewards, lengths))
            super().tell(groups, lengths=lengths)

    _, run = train(tmp_path, Listening(24, batch=4, group_size=4), args={"max_steps": 1})
    rows = run.rollouts(step=0).to_pandas()
    draw, (ids, rewards, lengths) = told[0], told[1]
    assert np.repeat(draw.prompts, draw.counts).tolist() == ids.tolist()
    assert [DATA[int(i)]["prompt"] for i in ids] == rows.prompt_id.map(PROMPTS).tolist()
    assert rewards.tolist() == rows.reward.tolist()
    assert lengths.tolist() == rows.length.tolist()


def decaying(groups, context):
    """Centred rewards, one over 1 + place for each token."""
    lengths = np.diff(context.token_offsets)
    place = np.concatenate([np.arange(n) for n in lengths])
    return np.repeat(groups.centered, lengths) / (1.0 + place)


@pytest.mark.parametrize("allocator", ["contrast(explore=0.3)", "reinforce_ada", "dots(fresh=0.5)"])
def test_a_per_token_estimator_gets_weights_and_baselines_too(tmp_path, allocator):
    rule = AdvantageEstimator("decaying", decaying, needs=("token_offsets",))
    trainer, run = train(tmp_path, allocator, reward_funcs=[tiny.even_digits], estimator=rule)
    rows = run.rollouts().to_pandas()
    rows = rows[rows.trained]
    moving = 0
    for step, batch in enumerate(trainer.used):
        values, mask = batch["advantages"], batch["completion_mask"].bool()
        assert values.shape == mask.shape
        first = values[:, :1]
        place = torch.arange(values.shape[1])
        # The first token has the whole factor (weight, baseline), the others what is left of it.
        assert torch.allclose(values[mask], (first / (1 + place))[mask], atol=1e-6)
        means = (values * mask).sum(1) / mask.sum(1)
        mine = rows[rows.step == step].advantage_used
        recorded = means.tolist()
        moving += sum(abs(v) > 0 for v in recorded)
        assert all(min(abs(v - m) for m in recorded) < 1e-6 for v in mine)
    assert moving


@pytest.mark.parametrize("allocator", ["contrast(explore=0.3)", "reinforce_ada(per_round=4)"])
def test_a_per_token_rule_that_repeats_its_value_is_the_rule_itself(tmp_path, allocator):
    def spread(groups, context):
        return np.repeat(groups.centered, np.diff(context.token_offsets))

    rule = AdvantageEstimator("spread", spread, needs=("token_offsets",))
    one, _ = train(tmp_path / "one", allocator, estimator=rule)
    other, _ = train(tmp_path / "other", allocator, estimator="dr_grpo")
    for mine, theirs in zip(one.used, other.used, strict=True):
        mask = mine["completion_mask"].bool()
        repeated = theirs["advantages"][:, None].expand(mask.shape)
        assert torch.allclose(mine["advantages"][mask], repeated[mask], atol=1e-6)
