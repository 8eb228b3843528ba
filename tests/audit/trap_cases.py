"""One case per trap: settings that trigger its finding, and the same settings with the fix."""

from __future__ import annotations

from typing import Any, NamedTuple

from dissensus.audit.settings import Setting, Settings

ENTRIES = {
    "trl": "GRPOTrainer",
    "unsloth": "GRPOTrainer",
    "verl": "verl.trainer.main_ppo",
    "openrlhf": "openrlhf.cli.train_ppo_ray",
    "skyrl": "skyrl.train.entrypoints.main_base",
}


class Case(NamedTuple):
    framework: str
    code: str
    before: dict[str, Any]
    after: dict[str, Any]
    entry: str = ""
    after_entry: str = ""
    version: str | None = None
    after_version: str | None = None
    target: str = "run.sh"
    after_target: str = ""

    def __repr__(self) -> str:
        return f"{self.framework}-{self.code}-{'+'.join(self.before) or self.entry or 'default'}"


def settings(
    framework: str,
    values: dict[str, Any],
    *,
    entry: str = "",
    version: str | None = None,
    target: str = "run.sh",
    missing: tuple[str, ...] = (),
) -> Settings:
    """Settings as a configuration reader gives them: one line per key."""
    found = {
        key: value if isinstance(value, Setting) else Setting(key, value, f"{target}:{line + 1}")
        for line, (key, value) in enumerate(values.items())
    }
    launched = entry or ENTRIES.get(framework, "train")
    return Settings(framework, "shell", target, launched, found, missing, version)


_G = "actor_rollout_ref.rollout.n"
_VERL = {"algorithm.adv_estimator": "grpo", _G: 8}
_FILTER = {
    **_VERL,
    "algorithm.filter_groups.enable": True,
    "algorithm.filter_groups.metric": "acc",
}
_A = "actor.reward_norm"
_AREAL = {
    f"{_A}.mean_level": "group",
    f"{_A}.std_level": "group",
    f"{_A}.group_size": 8,
    "gconfig.n_samples": 8,
    "actor.kl_ctl": 0.0,
}
_ADV = "actor.adv_norm"
_SKY = "trainer.algorithm"
_DS = f"{_SKY}.dynamic_sampling"
_ORLHF = {"algo.advantage.estimator": "group_norm", "rollout.n_samples_per_prompt": 8}
_NEMO = "grpo.adv_estimator"
_LOO = f"{_NEMO}.use_leave_one_out_baseline"
_PRIME = {"orchestrator.group_size": 8}
_SOURCE = "orchestrator.train.source.0"
_GATE = f"{_SOURCE}.curriculum.gates.silent.type"
_SLIME = {"n_samples_per_prompt": 8}
_FILTERS = "slime.rollout.filter_hub.dynamic_sampling_filters"
_ROLL = {"adv_estimator": "grpo", "num_return_sequences_in_group": 8}
_QF = "rewards.math.query_filter_config"
_ADDITIONAL = {"is_use_additional_prompts": True}
_DAPO = "verl-recipe.dapo.main_dapo"
_ASYNC = "AsyncGRPOTrainer"

CASES = [
    # ── TRL ─────────────────────────────────────────────────────────────────────────────────────
    Case("trl", "MET401", {}, {}, version="1.16.0", after_version="0.29.0"),
    Case("trl", "MET402", {"scale_rewards": "batch"}, {"scale_rewards": "group"}),
    Case(
        "trl",
        "MET402",
        {"multi_objective_aggregation": "normalize_then_sum"},
        {"multi_objective_aggregation": "sum_then_normalize"},
    ),
    Case(
        "trl",
        "SIL205",
        {"multi_objective_aggregation": "normalize_then_sum"},
        {"multi_objective_aggregation": "sum_then_normalize"},
    ),
    Case("trl", "EST104", {}, {}, entry=_ASYNC, after_entry="GRPOTrainer"),
    Case("trl", "CFG901", {"scale_rewards": "none"}, {}, entry=_ASYNC),
    Case("trl", "CFG901", {"reward_weights": [1.0, 2.0]}, {}, entry=_ASYNC),
    Case(
        "trl",
        "CFG901",
        {"scale_rewards": "none", "multi_objective_aggregation": "normalize_then_sum"},
        {"scale_rewards": "none"},
    ),
    Case(
        "trl",
        "CFG904",
        {},
        {},
        entry="GRPOWithReplayBufferTrainer",
        after_entry="GRPOTrainer",
        version="1.16.0",
    ),
    Case(
        "trl",
        "SIL206",
        {},
        {},
        entry="GRPOWithReplayBufferTrainer",
        after_entry="GRPOTrainer",
        version="1.9.0",
    ),
    Case("trl", "LOG620", {"log_completions": True}, {}),
    Case("trl", "MET404", {}, {"scale_rewards": "batch"}),
    Case(
        "trl", "EST102", {"loss_type": "dr_grpo"}, {"loss_type": "dr_grpo", "scale_rewards": False}
    ),
    Case(
        "trl",
        "EST102",
        {"loss_type": "dr_grpo", "scale_rewards": "batch"},
        {"loss_type": "dr_grpo", "scale_rewards": "none"},
    ),
    Case("trl", "SIL201", {"loss_type": "dapo"}, {"loss_type": "dr_grpo"}),
    Case("trl", "SIL211", {"beta": 0.04}, {"beta": 0.0}),
    Case("trl", "EST113", {"num_generations": 2}, {"num_generations": 8}),
    Case("trl", "EST114", {}, {"num_generations": 8}, entry="RLOOTrainer"),
    Case("trl", "CFG905", {}, {}, version="1.17.0", after_version="1.16.2"),
    Case("trl", "EST105", {"num_generations": 1}, {"num_generations": 8}),
    # ── Unsloth ─────────────────────────────────────────────────────────────────────────────────
    Case(
        "unsloth",
        "EST106",
        {"loss_type": "dr_grpo", "scale_rewards": "group"},
        {"loss_type": "dr_grpo", "scale_rewards": False},
    ),
    Case(
        "unsloth",
        "EST106",
        {"loss_type": "dr_grpo", "scale_rewards": True},
        {"loss_type": "dr_grpo", "scale_rewards": False},
        version="2026.8.19",
    ),
    Case(
        "unsloth",
        "CFG903",
        {"loss_type": "dapo"},
        {"loss_type": "dapo", "mask_truncated_completions": True},
    ),
    Case(
        "unsloth",
        "EST102",
        {"loss_type": "dr_grpo", "scale_rewards": None},
        {"loss_type": "dr_grpo", "scale_rewards": False},
    ),
    # ── verl ────────────────────────────────────────────────────────────────────────────────────
    Case("verl", "MET403", _VERL, {"algorithm.adv_estimator": "gae"}),
    Case(
        "verl",
        "CFG901",
        {**_VERL, "dissensus": "record", "trainer.v1.trainer_mode": "colocate_async"},
        {**_VERL, "dissensus": "record"},
    ),
    Case(
        "verl",
        "CFG901",
        {
            "algorithm.adv_estimator": "grpo_vectorized",
            "algorithm.norm_adv_by_std_in_grpo": False,
        },
        {"algorithm.adv_estimator": "grpo", "algorithm.norm_adv_by_std_in_grpo": False},
    ),
    Case(
        "verl",
        "CFG901",
        {"algorithm.adv_estimator": "gdpo", "algorithm.norm_adv_by_std_in_grpo": False},
        {"algorithm.adv_estimator": "gdpo"},
    ),
    Case(
        "verl",
        "CFG901",
        {"algorithm.adv_estimator": "rloo", "algorithm.norm_adv_by_std_in_grpo": False},
        {"algorithm.adv_estimator": "rloo"},
    ),
    Case(
        "verl",
        "SIL205",
        {**_VERL, "algorithm.adv_estimator": "reinforce_plus_plus_baseline"},
        _VERL,
    ),
    Case("verl", "SIL205", {**_VERL, "algorithm.adv_estimator": "gdpo"}, _VERL),
    Case("verl", "SIL205", {**_VERL, "algorithm.adv_estimator": "reinforce_plus_plus"}, _VERL),
    Case(
        "verl",
        "CFG902",
        {**_VERL, "algorithm.filter_groups.enable": True},
        _FILTER,
        version="0.9.0",
    ),
    Case(
        "verl",
        "CFG901",
        {**_FILTER, "algorithm.filter_groups.max_num_gen_batches": 10},
        _FILTER,
    ),
    Case("verl", "SIL203", _FILTER, _VERL),
    Case(
        "verl",
        "SIL203",
        _FILTER,
        {**_FILTER, "algorithm.filter_groups.max_num_gen_batches": 10},
        entry=_DAPO,
    ),
    Case(
        "verl",
        "SIL210",
        {**_FILTER, "algorithm.filter_groups.max_num_gen_batches": 10},
        _FILTER,
        entry=_DAPO,
    ),
    Case(
        "verl",
        "CFG901",
        {**_FILTER, "trainer.use_v1": False},
        {**_FILTER, "trainer.use_v1": True},
    ),
    Case(
        "verl",
        "SAM502",
        {**_FILTER, "algorithm.filter_groups.metric": "reward", _G: 6},
        {**_FILTER, _G: 6},
    ),
    Case(
        "verl",
        "SAM504",
        {**_FILTER, "reward.reward_manager.name": "dapo"},
        {
            **_FILTER,
            "reward.reward_manager.name": "dapo",
            "algorithm.filter_groups.metric": "seq_final_reward",
        },
        entry=_DAPO,
    ),
    Case("verl", "CFG904", {"data.sampler.class_name": "MySampler"}, {}),
    Case("verl", "EST105", {**_VERL, _G: 1}, _VERL),
    Case(
        "verl",
        "LOS301",
        {**_VERL, "actor_rollout_ref.actor.loss_agg_mode": "seq-mean-token-sum-norm"},
        {
            **_VERL,
            "actor_rollout_ref.actor.loss_agg_mode": "seq-mean-token-sum-norm",
            "actor_rollout_ref.actor.loss_scale_factor": 4096,
        },
    ),
    Case(
        "verl",
        "CFG901",
        {
            "actor_rollout_ref.actor.policy_loss.loss_mode": "gspo",
            "actor_rollout_ref.actor.loss_agg_mode": "token-mean",
        },
        {
            "actor_rollout_ref.actor.policy_loss.loss_mode": "gspo",
            "actor_rollout_ref.actor.loss_agg_mode": "seq-mean-token-mean",
        },
        version="0.8.0",
    ),
    Case(
        "verl",
        "LOS302",
        {"actor_rollout_ref.actor.policy_loss.loss_mode": "gspo"},
        {
            "actor_rollout_ref.actor.policy_loss.loss_mode": "gspo",
            "actor_rollout_ref.actor.loss_agg_mode": "seq-mean-token-mean",
        },
    ),
    Case("verl", "SAM505", {**_VERL, "algorithm.adv_estimator": "gpg"}, _VERL),
    Case(
        "verl",
        "EST102",
        {**_VERL, "actor_rollout_ref.actor.loss_agg_mode": "seq-mean-token-sum-norm"},
        {
            **_VERL,
            "actor_rollout_ref.actor.loss_agg_mode": "seq-mean-token-sum-norm",
            "algorithm.norm_adv_by_std_in_grpo": False,
        },
    ),
    Case("verl", "SIL201", _VERL, _FILTER, target="run_dapo_7b.sh"),
    Case(
        "verl",
        "SIL211",
        {**_VERL, "actor_rollout_ref.actor.use_kl_loss": True},
        {**_VERL, "actor_rollout_ref.actor.use_kl_loss": False},
    ),
    Case(
        "verl",
        "CFG901",
        _FILTER,
        _FILTER,
        entry="verl.experimental.fully_async_policy.fully_async_main",
        after_entry="verl.trainer.main_ppo",
    ),
    Case("verl", "EST115", _VERL, {**_VERL, "algorithm.norm_adv_by_std_in_grpo": False}),
    Case("verl", "EST115", _VERL, {**_VERL, "algorithm.adv_estimator": "dissensus_grpo"}),
    Case("verl", "EST108", {**_VERL, "algorithm.adv_estimator": "loop"}, _VERL),
    Case("verl", "EST108", {**_VERL, "algorithm.adv_estimator": "dissensus_maxrl"}, _VERL),
    Case("verl", "MET403", _VERL, {**_VERL, "dissensus": "record"}),
    Case("verl", "MET403", _VERL, {**_VERL, "trainer.v1.trainer_mode": "dissensus_sync"}),
    Case("verl", "MET403", _VERL, {**_VERL, "dissensus": "[record,replace]"}),
    Case("verl", "SIL203", _FILTER, {**_FILTER, "dissensus": "replace"}),
    Case(
        "verl",
        "SAM502",
        {**_FILTER, "algorithm.filter_groups.metric": "reward", _G: 6},
        {**_FILTER, "algorithm.filter_groups.metric": "reward", _G: 6, "dissensus": "replace"},
    ),
    Case(
        "verl",
        "CFG901",
        {**_FILTER, "dissensus": "[record,replace]"},
        {**_VERL, "dissensus": "[record,replace]"},
    ),
    Case(
        "verl",
        "LOG620",
        {"trainer.rollout_data_dir": "rollouts", "trainer.use_v1": False},
        {"trainer.rollout_data_dir": "rollouts", "trainer.use_v1": True},
    ),
    # ── OpenRLHF ────────────────────────────────────────────────────────────────────────────────
    Case("openrlhf", "EST103", _ORLHF, {**_ORLHF, "algo.advantage.estimator": "dr_grpo"}),
    Case("openrlhf", "CFG901", {**_ORLHF, "algo.advantage.no_std_norm": True}, _ORLHF),
    Case("openrlhf", "SAM501", {**_ORLHF, "algo.dynamic_filtering_enable": True}, _ORLHF),
    Case("openrlhf", "SIL203", {**_ORLHF, "algo.dynamic_filtering_enable": True}, _ORLHF),
    Case(
        "openrlhf",
        "SIL207",
        {**_ORLHF, "algo.dynamic_filtering_enable": True},
        {**_ORLHF, "algo.dynamic_filtering_enable": True},
        version="0.11.0",
        after_version="0.11.1",
    ),
    Case(
        "openrlhf",
        "SIL205",
        {**_ORLHF, "algo.advantage.estimator": "reinforce_baseline"},
        {**_ORLHF, "algo.advantage.estimator": "dr_grpo"},
    ),
    Case("openrlhf", "SIL208", _ORLHF, {**_ORLHF, "algo.kl.init_coef": 0}),
    Case(
        "openrlhf",
        "EST105",
        {"algo.advantage.estimator": "dr_grpo"},
        {"algo.advantage.estimator": "dr_grpo", "rollout.n_samples_per_prompt": 8},
    ),
    # ── SkyRL ───────────────────────────────────────────────────────────────────────────────────
    Case(
        "skyrl",
        "CFG901",
        {f"{_SKY}.advantage_estimator": "rloo", f"{_SKY}.grpo_norm_by_std": False},
        {f"{_SKY}.advantage_estimator": "rloo"},
    ),
    Case("skyrl", "SAM502", {f"{_DS}.type": "filter"}, {f"{_SKY}.zero_variance_filter": True}),
    Case("skyrl", "SIL209", {f"{_DS}.type": "replace"}, {f"{_DS}.type": "filter"}),
    Case(
        "skyrl",
        "SIL203",
        {f"{_DS}.type": "filter", f"{_DS}.max_sample_batches": -1},
        {f"{_DS}.type": "filter", f"{_DS}.max_sample_batches": 30},
    ),
    Case("skyrl", "SIL210", {f"{_DS}.type": "filter"}, {f"{_SKY}.zero_variance_filter": True}),
    Case(
        "skyrl",
        "CFG902",
        {"trainer.fully_async.sample_full_batch": True},
        {"trainer.fully_async.sample_full_batch": True, f"{_SKY}.zero_variance_filter": True},
    ),
    Case("skyrl", "SIL205", {f"{_SKY}.advantage_batch_normalize": True}, {}),
    Case("skyrl", "SIL205", {f"{_SKY}.advantage_estimator": "reinforce++"}, {}),
    Case("skyrl", "LOG620", {"trainer.dump_data_batch": True}, {}),
    Case(
        "skyrl",
        "EST105",
        {"generator.n_samples_per_prompt": 1},
        {"generator.n_samples_per_prompt": 5},
    ),
    Case(
        "skyrl",
        "EST102",
        {f"{_SKY}.loss_reduction": "seq_mean_token_sum_norm"},
        {f"{_SKY}.loss_reduction": "seq_mean_token_sum_norm", f"{_SKY}.grpo_norm_by_std": False},
    ),
    Case("skyrl", "SIL211", {}, {f"{_SKY}.use_kl_loss": False}),
    Case("skyrl", "EST108", {f"{_SKY}.advantage_estimator": "loop"}, {}),
    # ── NeMo-RL ─────────────────────────────────────────────────────────────────────────────────
    Case("nemo_rl", "EST101", {}, {_LOO: False}),
    Case(
        "nemo_rl",
        "SAM503",
        {"grpo.use_dynamic_sampling": True},
        {"grpo.use_dynamic_sampling": True, _LOO: False},
    ),
    Case("nemo_rl", "SAM502", {"grpo.use_dynamic_sampling": True}, {}),
    Case("nemo_rl", "SIL210", {"grpo.use_dynamic_sampling": True}, {}),
    Case(
        "nemo_rl",
        "CFG902",
        {"grpo.batch_multiplier": 2},
        {"grpo.batch_multiplier": 2, "grpo.use_dynamic_sampling": True},
    ),
    Case(
        "nemo_rl",
        "CFG901",
        {"grpo.normalize_rewards": False},
        {"grpo.normalize_rewards": False, f"{_NEMO}.normalize_rewards": False},
    ),
    Case(
        "nemo_rl",
        "CFG901",
        {"grpo.use_leave_one_out_baseline": False},
        {"grpo.use_leave_one_out_baseline": False, _LOO: False},
    ),
    Case(
        "nemo_rl", "CFG901", {"grpo.use_leave_one_out_baseline": True, _LOO: False}, {_LOO: False}
    ),
    Case(
        "nemo_rl",
        "CFG901",
        {"grpo.normalize_rewards": True, f"{_NEMO}.normalize_rewards": False},
        {f"{_NEMO}.normalize_rewards": False},
    ),
    Case("nemo_rl", "SIL205", {f"{_NEMO}.name": "reinforce_plus_plus"}, {}),
    Case("nemo_rl", "SIL205", {f"{_NEMO}.name": "gdpo"}, {f"{_NEMO}.name": "gdpo", _LOO: False}),
    # ── slime ───────────────────────────────────────────────────────────────────────────────────
    Case(
        "slime",
        "EST107",
        _SLIME,
        {**_SLIME, "custom_reward_post_process_path": "my.package.by_group"},
    ),
    Case(
        "slime",
        "EST107",
        {**_SLIME, "partial_rollout": True},
        {**_SLIME, "custom_reward_post_process_path": "my.package.by_group"},
    ),
    Case(
        "slime",
        "SIL203",
        {**_SLIME, "dynamic_sampling_filter_path": f"{_FILTERS}.check_reward_nonzero_std"},
        {
            **_SLIME,
            "dynamic_sampling_filter_path": (f"{_FILTERS}.check_reward_nonzero_std_with_fallback"),
        },
    ),
    Case("slime", "SIL205", {**_SLIME, "normalize_advantages": True}, _SLIME),
    Case(
        "slime",
        "SIL205",
        {"advantage_estimator": "reinforce_plus_plus_baseline", "normalize_advantages": True},
        _SLIME,
    ),
    Case(
        "slime",
        "CFG902",
        {"advantage_estimator": "reinforce_plus_plus"},
        {"advantage_estimator": "reinforce_plus_plus", "normalize_advantages": True},
    ),
    Case(
        "slime",
        "CFG901",
        {"advantage_estimator": "ppo", "disable_grpo_std_normalization": True},
        {"advantage_estimator": "ppo"},
    ),
    Case(
        "slime",
        "CFG901",
        {"disable_grpo_std_normalization": True, "disable_rewards_normalization": True},
        {"disable_grpo_std_normalization": True},
    ),
    Case("slime", "CFG901", {"kl_loss_coef": 0.01}, {"kl_loss_coef": 0.01, "use_kl_loss": True}),
    Case("slime", "EST108", {"custom_advantage_function_path": "my.package.rule"}, {}),
    Case("slime", "EST108", {"custom_reward_post_process_path": "my.package.by_group"}, {}),
    Case("slime", "EST105", {}, _SLIME),
    # ── ms-swift ────────────────────────────────────────────────────────────────────────────────
    Case("ms_swift", "MET401", {"scale_rewards": "batch"}, {"scale_rewards": "group"}),
    Case("ms_swift", "EST103", {"scale_rewards": "gdpo"}, {"scale_rewards": "group"}),
    Case("ms_swift", "SIL204", {"dynamic_sample": True}, {}),
    Case(
        "ms_swift", "CFG901", {"loss_type": "real", "scale_rewards": "group"}, {"loss_type": "real"}
    ),
    Case(
        "ms_swift",
        "SIL208",
        {"advantage_estimator": "rloo"},
        {"advantage_estimator": "rloo", "kl_in_reward": False},
    ),
    Case(
        "ms_swift", "EST105", {"num_generations": 1}, {"num_generations": 1, "teacher_model": "t"}
    ),
    Case("ms_swift", "SIL211", {}, {"beta": 0}),
    Case(
        "ms_swift",
        "EST102",
        {"loss_type": "dr_grpo"},
        {"loss_type": "dr_grpo", "scale_rewards": "none"},
    ),
    # ── open-instruct ───────────────────────────────────────────────────────────────────────────
    Case("open_instruct", "SIL202", {}, {"active_sampling": True}),
    Case(
        "open_instruct",
        "SAM502",
        {"num_samples_per_prompt_rollout": 12},
        {"num_samples_per_prompt_rollout": 12, "filter_zero_std_samples": False},
    ),
    Case("open_instruct", "SIL203", {"active_sampling": True}, {}),
    Case(
        "open_instruct",
        "CFG902",
        {"active_sampling": True, "filter_zero_std_samples": False},
        {"active_sampling": True, "filter_zero_std_samples": True},
    ),
    Case(
        "open_instruct",
        "CFG902",
        {"num_samples_per_prompt_rollout": 1},
        {"num_samples_per_prompt_rollout": 8},
    ),
    Case("open_instruct", "SAM506", {"mask_truncated_completions": True}, {}),
    Case(
        "open_instruct",
        "EST104",
        {"advantage_normalization_type": "standard"},
        {"advantage_normalization_type": "centered"},
    ),
    Case("open_instruct", "EST109", {}, {"advantage_normalization_type": "centered"}),
    # ── prime-rl ────────────────────────────────────────────────────────────────────────────────
    Case("prime_rl", "SIL202", _PRIME, {**_PRIME, _GATE: "advantage_range"}),
    Case(
        "prime_rl",
        "SAM502",
        _PRIME,
        {**_PRIME, "orchestrator.train.filter_zero_advantages": False},
    ),
    Case("prime_rl", "CFG904", {**_PRIME, "orchestrator.advantage.type": "custom"}, _PRIME),
    Case(
        "prime_rl",
        "EST108",
        {**_PRIME, "orchestrator.advantage.type": "custom"},
        _PRIME,
        version="0.5.0",
    ),
    Case("prime_rl", "EST105", {}, _PRIME),
    Case("prime_rl", "CFG906", {**_PRIME, f"{_SOURCE}.algo.type": "opd"}, _PRIME),
    # ── AReaL ───────────────────────────────────────────────────────────────────────────────────
    Case(
        "areal",
        "EST110",
        {**_AREAL, f"{_ADV}.mean_level": "batch", f"{_ADV}.std_level": "batch"},
        {**_AREAL, _ADV: None},
    ),
    Case(
        "areal",
        "CFG901",
        {**_AREAL, f"{_A}.mean_leave1out": True},
        {**_AREAL, f"{_A}.mean_leave1out": True, f"{_A}.std_level": None},
    ),
    Case("areal", "EST111", {**_AREAL, f"{_A}.std_level": "batch"}, _AREAL),
    Case("areal", "EST112", {**_AREAL, f"{_A}.group_size": 1}, _AREAL),
    Case(
        "areal",
        "SIL208",
        {**_AREAL, "actor.kl_ctl": 0.1, "ref.path": "model"},
        {**_AREAL, "ref.path": "model"},
    ),
    Case("areal", "EST105", {**_AREAL, f"{_A}.group_size": 1, "gconfig.n_samples": 1}, _AREAL),
    # ── tinker-cookbook ─────────────────────────────────────────────────────────────────────────
    Case("tinker", "SIL202", {"remove_constant_reward_groups": True}, {}),
    Case("tinker", "SAM502", {"remove_constant_reward_groups": True}, {}),
    Case("tinker", "SIL208", {"kl_penalty_coef": 0.1}, {"kl_penalty_coef": 0.0}),
    # ── ROLL ────────────────────────────────────────────────────────────────────────────────────
    Case(
        "roll",
        "CFG901",
        {**_ROLL, "norm_std_type": None},
        {**_ROLL, "adv_estimator": "reinforce", "norm_mean_type": "group", "norm_std_type": None},
    ),
    Case("roll", "CFG901", {**_ROLL, "norm_mean_type": "batch"}, _ROLL),
    Case("roll", "EST105", {"adv_estimator": "grpo"}, _ROLL),
    Case("roll", "SAM501", {**_ROLL, "difficulty_mask": True}, _ROLL),
    Case(
        "roll",
        "SAM501",
        {**_ROLL, f"{_QF}.type": "mean_filter", **_ADDITIONAL},
        {
            **_ROLL,
            f"{_QF}.type": "std_filter",
            f"{_QF}.filter_args.std_threshold": 1e-6,
            **_ADDITIONAL,
        },
    ),
    Case(
        "roll",
        "SAM507",
        {**_ROLL, f"{_QF}.type": "std_filter"},
        {**_ROLL, f"{_QF}.type": "std_filter", f"{_QF}.filter_args.std_threshold": 1e-6},
    ),
    Case(
        "roll",
        "SIL202",
        {**_ROLL, f"{_QF}.type": "mean_filter"},
        {**_ROLL, f"{_QF}.type": "mean_filter", **_ADDITIONAL},
    ),
    Case("roll", "SIL205", {**_ROLL, "whiten_advantages": True}, _ROLL),
    Case("roll", "SIL205", {"adv_estimator": "reinforce", "whiten_advantages": True}, _ROLL),
    Case("roll", "SIL208", {**_ROLL, "add_token_level_kl": True}, _ROLL),
]
