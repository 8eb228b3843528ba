"""Two steps of verl's own `fit` with the recording trainer; see standins.py for what is not real.

Real are the configuration, data set, tokenizer, TransferQueue with its actors, agent-loop and
reward workers in Ray processes, replay buffer, padding, advantages, metrics, and verl's tracker.
"""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("verl.protocol", reason="verl has its own environment: make test-verl")

import standins

from dissensus import RewardGroups, Run, advantages

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def trained(cluster, tmp_path_factory):
    """Folder, trainer and what was logged."""
    folder = tmp_path_factory.mktemp("verl")
    config = standins.make_config(
        folder,
        "data.train_batch_size=3",
        "actor_rollout_ref.actor.ppo_mini_batch_size=2",  # 12 rollouts, padded by verl to 16
        "algorithm.adv_estimator=dissensus_grpo",
        "+algorithm.dissensus.parameters.ddof=1",
        f"+algorithm.dissensus.run_dir={folder / 'run'}",
        "+algorithm.dissensus.correct=acc",
        "trainer.v1.trainer_mode=dissensus_sync",
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VERL_FILE_LOGGER_PATH", str(folder / "log.jsonl"))
        trainer = standins.train(config)
    return folder, trainer, standins.logged(folder / "log.jsonl")


def test_nothing_failed_and_the_run_is_complete(trained):
    folder, trainer, _ = trained
    assert not trainer._dissensus.failures
    run = Run(folder / "run")
    groups = run.groups().to_pandas()
    assert groups["step"].tolist() == [1, 1, 1, 2, 2, 2]
    assert groups["rollouts"].tolist() == [4] * 6
    assert groups["group_id"].nunique() == 6
    assert groups["prompt_id"].nunique() == 6
    rollouts = run.rollouts().to_pandas()
    assert len(rollouts) == 24
    assert rollouts["length"].between(1, 4).all()
    right = [text.split()[:1] == [answer] for text, answer in _answers(run)]
    assert rollouts["reward"].tolist() == [1.0 if each else -1.0 for each in right]
    assert rollouts["correct"].tolist() == right


def test_advantages_are_those_that_the_actor_was_given(trained):
    folder, trainer, _ = trained
    rollouts = Run(folder / "run").rollouts().to_pandas()
    for step, seen in enumerate(trainer.actor_rollout_wg.seen, start=1):
        assert len(seen) == 16
        given = sorted(
            max(row, key=abs, default=0.0) for key, row in seen.items() if key[:3] != "pad"
        )
        padding = [row for key, row in seen.items() if key.startswith("pad")]
        assert len(padding) == 4
        assert not np.any(padding)
        ours = rollouts[rollouts["step"] == step]
        np.testing.assert_allclose(sorted(ours["advantage_used"]), given, rtol=1e-6)
        groups = RewardGroups.from_flat(ours["reward"].tolist(), ours["group_id"].tolist())
        expected = advantages.get("grpo", ddof=1)(groups)
        np.testing.assert_allclose(ours["advantage_used"], expected, rtol=1e-6, atol=1e-9)


def test_the_metrics_stand_in_verls_own_tracker(trained):
    folder, _, lines = trained
    groups = Run(folder / "run").groups().to_pandas()
    for line in lines:
        logged, mine = line["data"], groups[groups["step"] == line["step"]]
        solved = mine["correct"].to_numpy()
        assert logged["dissensus/all_wrong_frac"] == pytest.approx((solved == 0).mean())
        assert logged["dissensus/all_correct_frac"] == pytest.approx((solved == 4).mean())
        split = (solved > 0) & (solved < 4)
        assert logged["dissensus/unanimous_frac"] == pytest.approx(1 - split.mean())
        assert logged["dissensus/effective_rollout_frac"] == pytest.approx(split.mean())
        share = solved / 4
        std = 2 * np.sqrt(share * (1 - share))  # rewards are −1 and 1
        assert logged["dissensus/group_std_mean"] == pytest.approx(std.mean())
        assert logged["dissensus/rollouts_generated"] == 12
        assert logged["actor/pg_loss"] == 0.25
    scalars = Run(folder / "run").scalars().to_pandas()
    assert set(scalars.loc[scalars["name"] == "actor/pg_loss", "value"]) == {0.25}


def _answers(run):
    rollouts, prompts = run.rollouts().to_pandas(), run.prompts().to_pandas()
    answer = dict(zip(prompts["prompt_id"], prompts["reference"], strict=True))
    return [
        (text, answer[prompt])
        for text, prompt in zip(rollouts["completion"], rollouts["prompt_id"], strict=True)
    ]
