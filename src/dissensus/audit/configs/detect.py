"""Say which framework a configuration belongs to, by what it holds and never by its name."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from dissensus.audit.configs.yaml_tree import Tree

__all__ = ["Detected", "detect_keys", "detect_tree"]


class Detected(NamedTuple):
    """A framework, and what its configuration launches."""

    framework: str
    entry: str


_AREAL_ACTOR = {
    "kl_ctl",
    "reward_norm",
    "adv_norm",
    "eps_clip",
    "ppo_n_minibatches",
    "use_decoupled_loss",
}
_ROLL_ROLES = {"actor_train", "actor_infer"}
_ROLL_ROLLOUT = {"rollout_batch_size", "adv_estimator", "num_return_sequences_in_group"}
_TRL_GROUP = {"num_generations", "scale_rewards"}


def detect_tree(tree: Tree) -> Detected | None:
    """Return the framework of a YAML or TOML configuration; None when it trains nothing here.

    Example:
        >>> detect_tree(Tree({"grpo": Tree({}, "a:1"), "policy": Tree({}, "a:2")}, "a:1"))
        Detected(framework='nemo_rl', entry='grpo')
    """
    keys = tree.keys
    if _is(tree, "rlhf_type"):
        return Detected("ms_swift", "swift rlhf") if _value(tree, "rlhf_type") == "grpo" else None
    if _is_section(tree, "actor_rollout_ref"):
        return Detected("verl", "verl.trainer.main_ppo")
    if _is_section(tree, "trainer.algorithm") or (
        _is_section(tree, "trainer.policy") and _is_section(tree, "generator")
    ):
        return Detected("skyrl", "skyrl.train.entrypoints.main_base")
    if _is_section(tree, "grpo") and keys & {"policy", "loss_fn"}:
        return Detected("nemo_rl", "grpo")
    actor = tree.get("actor")
    if actor is not None and actor.keys & _AREAL_ACTOR and keys & {"rollout", "gconfig"}:
        return Detected("areal", "PPOTrainer")
    if keys & _ROLL_ROLES and keys & _ROLL_ROLLOUT:
        return Detected("roll", "roll")
    if _is_section(tree, "orchestrator"):
        return Detected("prime_rl", "rl")
    if keys & _TRL_GROUP and not keys & {"trainer", "policy", "model"}:
        is_rloo = bool(keys & {"normalize_advantages", "reward_clip_range"})
        return Detected("trl", "RLOOTrainer" if is_rloo else "GRPOTrainer")
    return None


_BY_OVERRIDE = (
    ("verl", ("actor_rollout_ref.", "algorithm.adv_estimator")),
    ("skyrl", ("trainer.algorithm.", "trainer.policy.", "generator.inference_engine.")),
    ("nemo_rl", ("grpo.",)),
    ("areal", ("actor.reward_norm", "actor.adv_norm", "actor.kl_ctl", "gconfig.")),
)
_BY_FLAG = (
    ("ms_swift", {"rlhf_type"}),
    ("open_instruct", {"num_unique_prompts_rollout", "num_samples_per_prompt_rollout"}),
    ("slime", {"rollout_batch_size", "num_rollout"}),
    ("slime", {"advantage_estimator", "hf_checkpoint"}),
)


def detect_keys(overrides: Iterable[str], flags: Iterable[str]) -> str | None:
    """Return the framework whose dotted overrides or flags a command line uses.

    Example:
        >>> detect_keys(["actor_rollout_ref.rollout.n"], [])
        'verl'
    """
    dotted, given = list(overrides), set(flags)
    for framework, prefixes in _BY_OVERRIDE:
        if any(key.startswith(prefixes) for key in dotted):
            return framework
    for framework, names in _BY_FLAG:
        if names <= given:
            return framework
    return None


def _is(tree: Tree, key: str) -> bool:
    return tree.get(key) is not None


def _value(tree: Tree, key: str) -> object:
    node = tree.get(key)
    return node.value if node is not None else None


def _is_section(tree: Tree, key: str) -> bool:
    return isinstance(_value(tree, key), dict)
