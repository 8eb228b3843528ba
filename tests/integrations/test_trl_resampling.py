"""`silent="resample"`: fresh prompts replace silent groups, and everything is accounted for."""

from __future__ import annotations

import pytest
import tiny
import torch
from datasets import IterableDataset
from trl import GRPOTrainer

from dissensus import Run
from dissensus.core.advantages import AdvantageEstimator
from dissensus.errors import RunError, UnsupportedError
from dissensus.integrations.trl import DisagreementGRPOTrainer, DisagreementMixin
from dissensus.integrations.trl.merging import merge_outputs
from dissensus.integrations.trl.metrics import MetricWindow
from dissensus.integrations.trl.prompt_stream import PromptStream
from dissensus.runs.rows import prompt_id

pytestmark = pytest.mark.filterwarnings("ignore")


def odd_answers_split(completions, answer, **_):
    """Prompts with an even answer are unanimous; the others have one correct of four."""
    return [
        1.0 if int(a) % 2 == 0 else float(i % 4 == 0)
        for i, a in zip(range(len(completions)), answer, strict=True)
    ]


class Spy(GRPOTrainer):
    """Keeps what each round made, and what is trained on."""

    def _generate_and_score_completions(self, inputs):
        output = super()._generate_and_score_completions(inputs)
        self.__dict__.setdefault("made", []).append((inputs, dict(output)))
        return output


class Resampling(DisagreementMixin, Spy):
    def _prepare_inputs(self, batch):
        inputs = super()._prepare_inputs(batch)
        self.__dict__.setdefault("used", []).append(inputs)
        return inputs


def train(tmp_path, reward=odd_answers_split, cls=Resampling, *, resume=None, **more):
    args = {"per_device_train_batch_size": 16, **more.pop("args", {})}
    trainer = tiny.build(cls, tmp_path, args=args, reward_funcs=reward, silent="resample", **more)
    trainer.train(resume_from_checkpoint=resume)
    trainer.recorder.close()
    return trainer, Run(tmp_path / "dissensus")


def texts(trainer, batch):
    """(prompt, completion) of each row, as the model sees them: padding must be masked."""
    decode = trainer.processing_class.decode
    rows = []
    for i in range(len(batch["prompt_ids"])):
        prompt = batch["prompt_ids"][i][batch["prompt_mask"][i].bool()]
        completion = batch["completion_ids"][i][batch["completion_mask"][i].bool()]
        rows.append((decode(prompt), decode(completion), float(batch["advantages"][i])))
    return rows


def test_only_split_groups_are_trained_on(tmp_path):
    trainer, run = train(tmp_path, args={"log_completions": True})
    groups = run.groups().to_pandas()
    assert set(groups["round"]) > {0}
    for step, batch in enumerate(trainer.used):
        mine = groups[groups.step == step]
        trained = mine[mine.trained > 0]
        assert trained.rollouts.sum() == 16
        assert not trained.silent.any()
        assert (mine[mine["round"] == 0].rollouts.sum()) == 16
        assert mine.prompt_id.is_unique, "a prompt came twice in one generation"
        # Row by row: what is trained on is what was sampled, whatever the round and its padding.
        made = [row for _, output in trainer.made[:] for row in texts(trainer, output)]
        assert all(row in made for row in texts(trainer, batch))
        assert batch["num_items_in_batch"] == batch["completion_mask"].sum()
        rows = run.rollouts(step=step).to_pandas()
        recorded = rows[rows.trained].completion.tolist()
        decoded = trainer.processing_class.batch_decode(
            [i[m.bool()] for i, m in zip(batch["completion_ids"], batch["completion_mask"],
                                         strict=True)], skip_special_tokens=True
        )  # fmt: skip
        assert sorted(recorded) == sorted(decoded)
    assert sorted(trainer._logs["completion"]) == sorted(recorded)
    assert len(trainer._logs["prompt"]) == len(trainer._logs["advantages"]) == 16
    assert list(trainer._logs["rewards"]["odd_answers_split"]).count(1.0) == 4


def test_all_rollouts_count(tmp_path):
    trainer, run = train(tmp_path, args={"max_steps": 3})
    groups = run.groups().to_pandas()
    for step, row in enumerate(r for r in trainer.state.log_history if "reward" in r):
        mine = groups[groups.step == step]
        assert row["disagreement/rollouts_generated"] == mine.rollouts.sum()
        assert row["disagreement/resample_rounds"] == mine["round"].max()
        assert row["disagreement/effective_rollout_frac"] == pytest.approx(
            mine.trained.sum() / mine.rollouts.sum()
        )
        assert row["disagreement/silent_frac"] == pytest.approx(mine.silent.mean())
        # TRL's own metrics are those of the first round.
        first = mine[mine["round"] == 0]
        assert row["reward"] == pytest.approx(first["mean"].mean())
        assert row["completions/mean_length"] == pytest.approx(first.length_mean.mean())
    tokens = sum(int(o["prompt_mask"].sum() + o["completion_mask"].sum()) for _, o in trainer.made)
    assert row["num_tokens"] == tokens


def test_it_falls_back_and_says_why_once(tmp_path, caplog):
    trainer, run = train(
        tmp_path,
        lambda completions, **_: [1.0] * len(completions),
        max_resample=2,
        train_dataset=tiny.dataset(64),
    )
    groups = run.groups().to_pandas()
    assert groups.groupby("step")["round"].max().tolist() == [2, 2]
    assert groups[groups["round"] == 0].trained.sum() == 32
    assert groups[groups["round"] > 0].trained.sum() == 0
    said = [r.message for r in caplog.records if "silent groups stay" in r.message]
    assert len(said) == 1
    assert "max_resample=2 rounds did not find enough (4 all correct)" in said[0]
    assert all(torch.isfinite(p).all() for p in trainer.model.parameters())


def test_a_small_data_set_runs_out(tmp_path, caplog):
    _, run = train(
        tmp_path,
        lambda completions, **_: [1.0] * len(completions),
        train_dataset=tiny.dataset(6),
    )
    groups = run.groups().to_pandas()
    assert groups[groups.step == 0].prompt_id.nunique() == 6
    assert any("no other prompts" in record.message for record in caplog.records)


def test_refilling_ends_when_nothing_is_scored(tmp_path, caplog):
    """A reward function that fails after the first round: more rounds would spend rollouts only."""
    calls = []

    def failing(completions, **_):
        calls.append(len(completions))
        if len(calls) > 1:
            return [None] * len(completions)
        # One group of each kind: all wrong, unscored, split, silent only for want of a second one.
        return [0.0] * 4 + [None] * 4 + [1.0, 0.0, 0.0, 0.0] + [None, None, None, 1.0]

    _, run = train(tmp_path, failing, args={"max_steps": 2}, train_dataset=tiny.dataset(64))
    groups = run.groups().to_pandas()
    assert groups.groupby("step")["round"].max().tolist() == [1, 1]
    assert groups[groups.trained > 0]["round"].max() == 0
    said = [r.message for r in caplog.records if "silent groups stay" in r.message]
    assert len(said) == 1
    reason = "scored no rollout of a refill round"
    assert f"{reason} (1 unscored, 1 all wrong, 1 all correct)" in said[0]


def test_the_reasons_for_silent_groups_are_said_apart(tmp_path, caplog):
    """First the rounds run out, then the scores."""

    def reward(completions, trainer_state, **_):
        return [1.0 if trainer_state.global_step == 0 else None] * len(completions)

    train(tmp_path, reward, max_resample=1, train_dataset=tiny.dataset(64))
    said = [r.message for r in caplog.records if "silent groups stay" in r.message]
    assert len(said) == 2
    assert "did not find enough (4 all correct)" in said[0]
    assert "scored no rollout of a refill round (4 unscored)" in said[1]


def test_contrast_counts_what_the_final_batch_makes_of_its_groups(tmp_path):
    """With a batch rule the advantages of a group depend on the groups it is trained beside."""
    trainer, run = train(tmp_path, estimator="lite_ppo", args={"max_steps": 3})
    groups = run.groups().to_pandas()
    assert set(groups["round"]) > {0}
    for step, row in enumerate(r for r in trainer.state.log_history if "reward" in r):
        mine = groups[groups.step == step]
        contrast = 1000 * mine[mine.trained > 0].contrast.sum() / mine.rollouts.sum()
        assert row["disagreement/contrast_per_1000_rollouts"] == pytest.approx(contrast)


def test_a_batch_rule_runs_on_the_final_batch(tmp_path):
    trainer, run = train(tmp_path, estimator="lite_ppo", args={"max_steps": 1})
    from dissensus import RewardGroups, advantages

    expected = advantages.get("lite_ppo")(RewardGroups.from_dense([[1.0, 0, 0, 0]] * 4))
    got = trainer.used[0]["advantages"].tolist()
    assert sorted(got) == pytest.approx(sorted(expected), abs=1e-6)
    rows = run.rollouts().to_pandas()
    assert sorted(rows[rows.trained].advantage_used) == pytest.approx(sorted(expected), abs=1e-6)


def test_resume_is_a_new_attempt_and_the_stream_goes_on(tmp_path):
    args = {"max_steps": 4, "save_strategy": "steps", "save_steps": 2}
    _, whole = train(tmp_path, args=args)
    before = whole.groups().to_pandas()
    checkpoint = tmp_path / "checkpoint-2"
    assert (checkpoint / "dissensus_state.json").exists()
    _, run = train(tmp_path, args=args, resume=str(checkpoint))
    after = run.groups().to_pandas()
    assert [a.attempt for a in run.attempts] == [1, 2]
    assert set(after[after.step < 2].attempt) == {1}
    assert set(after[after.step >= 2].attempt) == {2}
    key = ["step", "round", "prompt_id"]
    assert after[key].to_numpy().tolist() == before[key].to_numpy().tolist()
    assert not after.group_id.duplicated().any()


def test_estimator_memory_is_saved_and_restored(tmp_path):
    def counting(groups, context):
        context.state["calls"] = context.state.get("calls", 0) + 1
        return groups.centered

    rule = AdvantageEstimator("counting", counting, scope="history", needs=("state",))
    args = {"max_steps": 3, "save_strategy": "steps", "save_steps": 2,
            "eval_strategy": "steps", "eval_steps": 1}  # fmt: skip
    first, _ = train(tmp_path, args=args, estimator=rule, eval_dataset=tiny.dataset(2))
    assert int(first._dissensus.state["calls"]) == 3, "tentative and evaluation calls count"
    second, _ = train(
        tmp_path,
        args=args,
        estimator=rule,
        eval_dataset=tiny.dataset(2),
        resume=str(tmp_path / "checkpoint-2"),
    )
    assert int(second._dissensus.state["calls"]) == 3


def test_a_state_that_cannot_be_read_stops_only_who_needs_it(tmp_path, caplog):
    args = {"max_steps": 2, "save_strategy": "steps", "save_steps": 1}
    train(tmp_path, args=args)
    checkpoint = tmp_path / "checkpoint-1"
    (checkpoint / "dissensus_state.json").write_text('{"estimator": ')
    with pytest.raises(RunError, match=r"dissensus_state\.json.*delete"):
        train(tmp_path, args=args, resume=str(checkpoint))
    plain = tiny.build(DisagreementGRPOTrainer, tmp_path, args=args)
    plain.train(resume_from_checkpoint=str(checkpoint))
    assert plain.state.global_step == 2
    (checkpoint / "dissensus_state.json").unlink()
    rule = AdvantageEstimator("plain", lambda groups, _: groups.centered, needs=("state",))
    for estimator in ("dr_grpo", rule):
        caplog.clear()
        again = tiny.build(DisagreementGRPOTrainer, tmp_path, args=args, estimator=estimator)
        again.train(resume_from_checkpoint=str(checkpoint))
        assert ("has no dissensus_state.json" in caplog.text) == (estimator is rule)


def test_a_memory_that_json_cannot_hold_does_not_stop_training(tmp_path):
    def rule(groups, context):
        context.state["odd"] = object()
        return groups.centered

    trainer = tiny.build(
        DisagreementGRPOTrainer,
        tmp_path,
        args={"save_strategy": "steps", "save_steps": 1},
        estimator=AdvantageEstimator("odd", rule, scope="history", needs=("state",)),
    )
    trainer.train()
    assert trainer._dissensus.writer.guard.failures == {"save dissensus_state.json": 2}


def test_refills_have_the_ids_of_the_first_round_without_unused_columns(tmp_path):
    def reward(completions, **columns):
        assert "answer" not in columns
        return [1.0] * len(completions)

    _, run = train(
        tmp_path, reward, args={"remove_unused_columns": True}, train_dataset=tiny.dataset(6)
    )
    assert run.groups(split="train")["prompt_id"].to_pandas().nunique() == 6
    assert set(run.groups()["round"].to_pylist()) > {0}


@pytest.mark.parametrize("silent", ["keep", "resample"])
def test_metrics_that_fail_do_not_stop_a_training_with_an_estimator(tmp_path, silent, monkeypatch):
    monkeypatch.setattr(MetricWindow, "add", lambda *_, **__: 1 / 0)
    trainer = tiny.build(DisagreementGRPOTrainer, tmp_path, estimator="dr_grpo", silent=silent)
    trainer.train()
    assert trainer._dissensus.writer.guard.failures == {"measure": 2}
    trainer.recorder.close()
    assert set(Run(tmp_path / "dissensus").groups()["step"].to_pylist()) == {0, 1}


def test_prompt_stream_visits_every_row_once_an_epoch():
    rows = [{"prompt": str(i)} for i in range(5)]
    stream = PromptStream(rows, seed=1)
    first = [row["prompt"] for row in stream.draw(5, without=set())]
    second = [row["prompt"] for row in stream.draw(5, without=set())]
    assert sorted(first) == sorted(second) == ["0", "1", "2", "3", "4"]
    assert first != second
    other = PromptStream(rows, seed=9)
    other.load_state_dict(stream.state_dict())
    assert other.draw(3, without=set()) == stream.draw(3, without=set())


@pytest.mark.parametrize("position", range(10))
def test_prompt_stream_finds_every_row_that_is_left(position):
    """The next epoch has another order, so one pass from the middle can miss the rows left."""
    rows = [{"prompt": str(i)} for i in range(10)]
    for seed in range(30):
        stream = PromptStream(rows, seed=seed)
        stream.draw(position, without=set())
        taken = {prompt_id(row) for row in rows[:8]}
        found = [row["prompt"] for row in stream.draw(3, without=taken)]
        assert sorted(found) == ["8", "9"]


def batch(prompt, completion, value):
    n = 2
    return {
        "prompt_ids": torch.full((n, prompt), value),
        "prompt_mask": torch.ones(n, prompt, dtype=torch.long),
        "completion_ids": torch.full((n, completion), value),
        "completion_mask": torch.ones(n, completion, dtype=torch.long),
        "tool_mask": torch.ones(n, completion, dtype=torch.long),
        "sampling_per_token_logps": torch.full((n, completion), -float(value)),
        "importance_sampling_ratio": torch.full((n, 1), float(value)),
        "token_type_ids": torch.full((n, prompt + completion), value),
        "advantages": torch.tensor([1.0, -1.0]),
        "num_images": [value, value + 10],
        "num_items_in_batch": torch.tensor(4),
    }


def test_rounds_of_other_widths_are_padded_on_their_own_side():
    merged = merge_outputs([batch(2, 3, 5), batch(3, 2, 7)], [(1, 0), (0, 1)], pad_token_id=0)
    assert merged["prompt_ids"].tolist() == [[7, 7, 7], [0, 5, 5]]
    assert merged["prompt_mask"].tolist() == [[1, 1, 1], [0, 1, 1]]
    assert merged["completion_ids"].tolist() == [[7, 7, 0], [5, 5, 5]]
    assert merged["completion_mask"].tolist() == [[1, 1, 0], [1, 1, 1]]
    assert merged["tool_mask"].tolist() == [[1, 1, 1], [1, 1, 1]]
    assert merged["sampling_per_token_logps"].tolist() == [[-7, -7, 0], [-5, -5, -5]]
    assert merged["importance_sampling_ratio"].tolist() == [[7], [5]]
    assert merged["token_type_ids"].tolist() == [[7, 7, 7, 7, 7, 0], [0, 5, 5, 5, 5, 5]]
    assert merged["advantages"].tolist() == [1.0, -1.0]
    assert merged["num_images"] == [7, 15]


def test_an_entry_that_cannot_be_joined_is_named():
    odd = [{**batch(2, 3, 5), "mine": torch.ones(2, width)} for width in (4, 5)]
    with pytest.raises(UnsupportedError, match="'mine'"):
        merge_outputs(odd, [(0, 0)], pad_token_id=0)


@pytest.mark.parametrize(
    "args", [{"scale_rewards": "batch"}, {"multi_objective_aggregation": "normalize_then_sum"}]
)
def test_trls_batch_wide_rules_are_refused(tmp_path, args):
    with pytest.raises(UnsupportedError, match="its own"):
        tiny.build(DisagreementGRPOTrainer, tmp_path, args=args, silent="resample")


def test_a_stream_of_rows_is_refused(tmp_path):
    rows = IterableDataset.from_generator(lambda: iter([{"prompt": "1 + 1 ="}] * 64))
    with pytest.raises(UnsupportedError, match="IterableDataset"):
        tiny.build(DisagreementGRPOTrainer, tmp_path, train_dataset=rows, silent="resample")


def scripted(prompts, trainer):
    """Completions of unequal length whose first token is a tool's."""
    width = [2 + (i + trainer.state.global_step) % 4 for i in range(len(prompts))]
    ids = trainer.processing_class(prompts)["input_ids"]
    return {
        "prompt_ids": ids,
        "completion_ids": [[4 + i % 3] * n for i, n in enumerate(width)],
        "logprobs": [[-0.5 * (j + 1) for j in range(n)] for n in width],
        "env_mask": [[0] + [1] * (n - 1) for n in width],
    }


@pytest.mark.parametrize("silent", ["resample", "mask"])
def test_tool_masks_and_sampling_logps_stay_with_their_rows(tmp_path, silent):
    trainer = tiny.build(
        Resampling,
        tmp_path,
        args={"per_device_train_batch_size": 16, "beta": 0.1},
        reward_funcs=odd_answers_split,
        rollout_func=scripted,
        silent=silent,
    )
    trainer.train()
    for batch in trainer.used:
        lengths = batch["completion_mask"].sum(1)
        logps = batch["sampling_per_token_logps"]
        expected = (batch["completion_mask"] * batch["tool_mask"]).sum()
        assert batch["num_items_in_batch"] == expected
        for row, n in enumerate(lengths.tolist()):
            assert logps[row, :n].tolist() == [-0.5 * (j + 1) for j in range(n)]
            kept = [0] + [1] * (n - 1)
            assert batch["tool_mask"][row, :n].tolist() in (kept, [0] * n)
            assert (silent == "mask") or batch["tool_mask"][row, :n].tolist() == kept
