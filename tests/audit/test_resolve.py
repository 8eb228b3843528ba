"""What each framework does by default, what decides it, and what stays unknown."""

from __future__ import annotations

import json

import pytest

from dissensus.audit.facts import load_facts, names
from dissensus.audit.resolve import Version, detect_version, resolve
from dissensus.audit.settings import Setting, Settings
from dissensus.errors import InputError

from .trap_cases import settings


def _resolved(framework, values=None, **more):
    return resolve(settings(framework, values or {}, **more), installed={})


def _estimator(answer):
    facts = answer.estimator
    return (facts.numerator, facts.denominator, facts.ddof, facts.eps, answer.silent)


_AREAL_EXAMPLE = {
    "actor.reward_norm.mean_level": "group",
    "actor.reward_norm.std_level": "group",
    "actor.reward_norm.group_size": 8,
    "actor.adv_norm.mean_level": "batch",
    "actor.adv_norm.std_level": "batch",
    "gconfig.n_samples": 8,
}


@pytest.mark.parametrize(
    ("framework", "entry", "values", "expected"),
    [
        ("trl", "GRPOTrainer", {}, ("mean", "group_std", 1, 1e-4, "keep")),
        ("trl", "GRPOTrainer", {"scale_rewards": False}, ("mean", "none", None, None, "keep")),
        ("trl", "GRPOTrainer", {"scale_rewards": "batch"}, ("mean", "batch_std", 1, 1e-4, "keep")),
        ("trl", "AsyncGRPOTrainer", {}, ("mean", "group_std", 0, 1e-8, "keep")),
        ("trl", "RLOOTrainer", {}, ("leave_one_out", "none", None, None, "keep")),
        (
            "trl",
            "trl.RLOOTrainer",
            {"normalize_advantages": True},
            ("leave_one_out", "batch_centred_std", 1, 1e-4, "keep"),
        ),
        ("unsloth", "", {"loss_type": "dr_grpo"}, ("mean", "none", None, None, "keep")),
        ("verl", "", {}, ("value_function", "batch_centred_std", 1, 1e-8, "keep")),
        (
            "verl",
            "",
            {"algorithm.adv_estimator": "grpo"},
            ("mean", "group_std", 1, 1e-6, "keep"),
        ),
        (
            "verl",
            "",
            {"algorithm.adv_estimator": "GRPO", "algorithm.norm_adv_by_std_in_grpo": "False"},
            ("mean", "none", None, None, "keep"),
        ),
        (
            "verl",
            "",
            {
                "algorithm.adv_estimator": "grpo_vectorized",
                "algorithm.norm_adv_by_std_in_grpo": "False",
            },
            ("mean", "group_std", 1, 1e-6, "keep"),
        ),
        (
            "verl",
            "",
            {
                "algorithm.adv_estimator": "dissensus_grpo",
                "algorithm.dissensus.parameters.ddof": "1",
                "algorithm.dissensus.parameters.eps": "1e-6",
            },
            ("mean", "group_std", 1, 1e-6, "keep"),
        ),
        (
            "verl",
            "",
            {"algorithm.adv_estimator": "dissensus_rloo"},
            ("leave_one_out", "none", None, None, "keep"),
        ),
        (
            "verl",
            "",
            {"algorithm.adv_estimator": "grpo", "algorithm.filter_groups.enable": "True"},
            ("mean", "group_std", 1, 1e-6, "resample"),
        ),
        ("openrlhf", "", {}, ("value_function", "batch_centred_std", 0, 1e-8, "keep")),
        (
            "openrlhf",
            "",
            {"advantage_estimator": "group_norm", "no_advantage_std_norm": True},
            ("mean", "group_std", 1, 1e-9, "keep"),
        ),
        ("skyrl", "", {}, ("mean", "group_std", 1, 1e-6, "keep")),
        (
            "skyrl",
            "",
            {"trainer.algorithm.zero_variance_filter": True},
            ("mean", "group_std", 1, 1e-6, "mask"),
        ),
        (
            "skyrl",
            "",
            {"trainer.algorithm.advantage_estimator": "maxrl"},
            ("mean", "group_mean", None, 1e-6, "keep"),
        ),
        ("nemo_rl", "", {}, ("leave_one_out", "leave_one_out_std", 1, 1e-6, "keep")),
        ("slime", "", {}, ("mean", "group_std", 1, 1e-6, "keep")),
        (
            "slime",
            "",
            {"disable_grpo_std_normalization": True},
            ("mean", "none", None, None, "keep"),
        ),
        ("ms_swift", "", {}, ("mean", "group_std", 1, 1e-4, "keep")),
        (
            "ms_swift",
            "",
            {"advantage_estimator": "reinforce_plus_plus"},
            ("mean", "batch_centred_std", 1, 1e-4, "keep"),
        ),
        ("open_instruct", "", {}, ("mean", "none", None, None, "drop")),
        (
            "open_instruct",
            "",
            {"advantage_normalization_type": "standard", "active_sampling": True},
            ("mean", "group_std", 0, 1e-8, "resample"),
        ),
        ("prime_rl", "", {}, ("mean", "none", None, None, "drop")),
        ("prime_rl", "", {"algo.type": "rae"}, ("running", "none", None, None, "drop")),
        ("areal", "", {}, ("none", "none", None, None, "keep")),
        ("areal", "", _AREAL_EXAMPLE, ("mean", "group_std", 1, 1e-5, "keep")),
        ("tinker", "", {}, ("mean", "none", None, None, "keep")),
        ("roll", "", {}, ("value_function", "none", None, None, "keep")),
        ("roll", "", {"adv_estimator": "grpo"}, ("mean", "group_std", 1, 1e-6, "keep")),
    ],
)
def test_what_the_reference_table_says_of_each_framework(framework, entry, values, expected):
    answer = _resolved(framework, values, entry=entry)
    assert _estimator(answer) == expected
    assert answer.unknown == ()


def test_every_framework_resolves_its_defaults_and_serialises():
    assert len(names()) == 13
    for name in names():
        answer = _resolved(name)
        assert json.loads(json.dumps(answer.to_json()))["framework"] == name
        assert answer.silent_cost
        assert answer.loss_aggregation
        assert answer.sampling
        assert answer.metrics


def test_an_unknown_variable_makes_only_the_fields_it_decides_unknown():
    unknown = Setting("algorithm.adv_estimator", None, "run.sh:3", missing=("ADV",))
    answer = _resolved("verl", {"algorithm.adv_estimator": unknown})
    assert answer.estimator.numerator is None
    assert answer.estimator.denominator is None
    assert "estimator.numerator: decided by ADV" in answer.unknown
    assert answer.silent == "keep"
    assert answer.loss_aggregation == "token-mean"
    assert not any(entry.startswith("loss_aggregation") for entry in answer.unknown)


def test_a_variable_that_changes_nothing_leaves_a_field_known():
    unknown = Setting("algorithm.norm_adv_by_std_in_grpo", None, "run.sh:3", missing=("NORM",))
    rloo = {"algorithm.adv_estimator": "rloo", "algorithm.norm_adv_by_std_in_grpo": unknown}
    assert _resolved("verl", rloo).unknown == ()
    grpo = {**rloo, "algorithm.adv_estimator": "grpo"}
    answer = _resolved("verl", grpo)
    assert answer.estimator.numerator == "mean"
    assert answer.estimator.denominator is None
    assert "estimator.denominator: decided by NORM" in answer.unknown


def test_a_missing_parent_hides_defaults_but_not_what_is_set():
    given = {
        "grpo.adv_estimator.name": "grpo",
        "grpo.adv_estimator.normalize_rewards": True,
        "grpo.adv_estimator.use_leave_one_out_baseline": False,
    }
    answer = _resolved("nemo_rl", given, missing=("grpo_math_1B.yaml",))
    assert answer.estimator.denominator == "group_std"
    assert answer.silent is None
    assert "silent: decided by grpo_math_1B.yaml" in answer.unknown


def test_a_section_set_to_null_decides_everything_inside_it():
    given = {**_AREAL_EXAMPLE, "actor.reward_norm": None}
    del given["actor.reward_norm.mean_level"]
    del given["actor.reward_norm.std_level"]
    del given["actor.reward_norm.group_size"]
    answer = _resolved("areal", given)
    assert answer.estimator.numerator == "none"
    assert answer.estimator.denominator == "batch_centred_std"


def test_a_rule_that_is_registered_in_code_is_unknown_and_named():
    answer = _resolved("verl", {"algorithm.adv_estimator": "loop"})
    assert answer.estimator.name == "loop"
    assert answer.estimator.numerator is None
    assert answer.unknown[0].startswith(
        "estimator.numerator: decided by algorithm.adv_estimator=loop"
    )
    null = _resolved("skyrl", {"trainer.algorithm.advantage_estimator": None})
    assert len(null.unknown) == 4


def test_batch_statistics_are_not_taken_for_groups_of_one():
    given = {
        "adv_estimator": "step_reinforce",
        "reward_normalization.grouping": "batch",
        "reward_normalization.method": "mean_std",
        "train_env_manager.group_size": 1,
    }
    answer = _resolved("roll", given)
    assert answer.estimator.denominator == "batch_std"
    assert "EST105" not in [finding.code for finding in answer.findings]


def test_rounding_noise_is_no_finding_where_the_code_guards_against_it():
    rlvr = {"adv_estimator": "grpo", "num_return_sequences_in_group": 8}
    agentic = {
        **rlvr,
        "reward_normalization.grouping": "traj_group_id",
        "reward_normalization.method": "mean_std",
    }
    assert "EST115" in [finding.code for finding in _resolved("roll", rlvr).findings]
    answer = _resolved("roll", agentic)
    assert answer.estimator.denominator == "group_std"
    assert "EST115" not in [finding.code for finding in answer.findings]


@pytest.mark.parametrize(("gates", "silent"), [((), "drop"), ((0,), "drop"), ((0, 1), "resample")])
def test_prime_rl_replaces_silent_groups_of_the_sources_that_have_a_gate(gates, silent):
    # TrainSourceConfig holds the curriculum; TrainConfig has none
    source = "orchestrator.train.source"
    given = {"orchestrator.group_size": 16, f"{source}.0.name": "a", f"{source}.1.name": "b"}
    for at in gates:
        given[f"{source}.{at}.curriculum.gates.silent.type"] = "advantage_range"
    answer = _resolved("prime_rl", given)
    assert answer.silent == silent
    assert ("SIL202" in [f.code for f in answer.findings]) == (silent == "drop")
    elsewhere = _resolved("prime_rl", {"orchestrator.train.curriculum.gates.a.type": "x"})
    assert elsewhere.silent == "drop"


@pytest.mark.parametrize(
    ("framework", "values", "switch"),
    [
        # whitening takes final_response_mask: masked groups are not in it
        ("roll", {"adv_estimator": "reinforce", "whiten_advantages": True}, "difficulty_mask"),
        (
            "openrlhf",
            {"algo.advantage.estimator": "reinforce_baseline", "rollout.n_samples_per_prompt": 8},
            "algo.dynamic_filtering_enable",
        ),
        (
            "skyrl",
            {"trainer.algorithm.advantage_batch_normalize": True},
            "trainer.algorithm.zero_variance_filter",
        ),
    ],
)
def test_whitening_gives_no_advantage_to_silent_groups_that_do_not_train(framework, values, switch):
    def codes(more):
        return [f.code for f in _resolved(framework, {**values, **more}).findings]

    assert "SIL205" in codes({})
    assert "SIL205" not in codes({switch: True})


def test_a_text_that_names_a_field_holds_no_unfilled_key():
    raw = {"actor.reward_norm": None, "actor.adv_norm.mean_level": "batch", "gconfig.n_samples": 4}
    answer = _resolved("areal", {**raw, "actor.adv_norm.std_level": "batch"})
    (finding,) = [f for f in answer.findings if f.code == "SIL205"]
    assert "over the tokens of the batch (mean) and batch (std)" in finding.evidence
    assert "after the reward normalisation" not in finding.evidence


def test_unsloth_is_not_called_a_version_of_trl():
    (finding,) = [f for f in _resolved("unsloth").findings if f.code == "MET401"]
    assert "2026" not in finding.evidence


def test_two_settings_of_one_thing_are_worse_when_the_estimator_reads_the_default():
    key, read = "grpo.use_leave_one_out_baseline", "grpo.adv_estimator.use_leave_one_out_baseline"
    cases = {"warning": {key: False}, "note": {key: True, read: False}}
    for severity, given in cases.items():
        (found,) = [f for f in _resolved("nemo_rl", given).findings if f.code == "CFG901"]
        assert found.severity == severity


def test_a_preference_loss_is_not_called_a_token_mean():
    settings_of = Settings("verl", "shell", "run_spin.sh", "recipe.spin.main_spin")
    assert resolve(settings_of, installed={}).loss_aggregation == "online DPO: mean over pairs"


def test_samplers_of_dissensus_in_verl():
    fragment = _resolved("verl", {"dissensus": "[record,replace]"})
    named = {"trainer.v1.sampler.custom_sampler.path": "pkg://dissensus.integrations.verl.replay"}
    for answer in (fragment, _resolved("verl", named)):
        assert answer.silent == "resample"
        assert "after 16 training batches" in str(answer.refill)
        assert "max − min ≤ 1e-06 on reward" in str(answer.extra["silence_test"])
    kwargs = {"trainer.v1.sampler.sampler_kwargs.allocator": "dapo", "dissensus": "allocate"}
    answer = _resolved("verl", {**kwargs, "trainer.v1.sampler.sampler_kwargs.most_batches": 3})
    assert answer.sampling == "dapo of Dissensus draws prompts and group sizes"
    assert "at most 3 training batches" in str(answer.refill)


@pytest.mark.parametrize(
    ("entry", "silent"),
    [
        ("verl.trainer.main_ppo", "resample"),
        ("recipe.dapo.main_dapo", "resample"),
        ("verl.experimental.fully_async_policy.fully_async_main", "keep"),
        ("verl.experimental.one_step_off_policy.main_ppo", "keep"),
    ],
)
def test_verl_replaces_groups_only_where_the_trainer_filters(entry, silent):
    filtered = {
        "algorithm.adv_estimator": "grpo",
        "algorithm.filter_groups.enable": True,
        "algorithm.filter_groups.metric": "acc",
    }
    answer = _resolved("verl", filtered, entry=entry)
    assert answer.silent == silent
    assert ("CFG901" in [f.code for f in answer.findings]) == (silent == "keep")


def test_recipes_that_replace_the_advantages_of_their_estimator():
    grpo = {"algorithm.adv_estimator": "grpo", "actor_rollout_ref.rollout.n": 8}
    spo = _resolved("verl", {**grpo, "trainer.spo.enable": True}, entry="recipe.spo.spo_main_ppo")
    assert _estimator(spo) == ("running", "batch_centred_std", 1, 1e-8, "keep")
    assert "EST115" not in [f.code for f in spo.findings]
    off = _resolved("verl", {**grpo, "trainer.spo.enable": False}, entry="recipe.spo.spo_main_ppo")
    assert _estimator(off) == ("mean", "group_std", 1, 1e-6, "keep")
    null = {"algorithm.adv_estimator": None}
    sppo = _resolved("verl", null, entry="recipe.sppo.main_sppo")
    assert _estimator(sppo) == ("mean", "none", None, None, "keep")
    assert not sppo.findings


def test_an_unknown_group_size_is_named():
    unknown = Setting("num_generations", None, "train.py:9", missing=("args.n",))
    answer = _resolved("trl", {"num_generations": unknown})
    assert answer.extra["group_size"] is None
    assert answer.unknown == ("group_size: decided by args.n",)


@pytest.mark.parametrize(
    ("version", "loss", "beta", "meaning"),
    [
        ("0.15.0", "grpo", 0.04, "mean over groups of the group std"),
        ("0.18.0", "bnpo", 0.04, "mean over groups of the group std"),
        ("0.21.0", "bnpo", 0.0, "mean over groups of the group std"),
        ("0.29.0", "dapo", 0.0, "mean over groups of the group std"),
        ("1.9.0", "dapo", 0.0, "std of all rewards"),
        ("1.16.0", "dapo", 0.0, "std of all rewards"),
    ],
)
def test_older_releases_of_trl_have_their_own_rows(version, loss, beta, meaning):
    answer = _resolved("trl", version=version)
    assert answer.loss_aggregation.startswith(loss)
    assert answer.extra["kl_coefficient"] == beta
    assert answer.metrics["reward_std"].startswith(meaning)
    assert (answer.version, answer.version_source) == (version, "configuration")


def test_open_instruct_divided_by_the_std_until_march_2026():
    assert _resolved("open_instruct", version="2026.03.01").estimator.denominator == "group_std"
    assert _resolved("open_instruct", version="2026.03.20").estimator.denominator == "none"


def test_asynchronous_tinker_runs_have_a_loss_of_their_own_since_0_6():
    given = {"loss_fn": "importance_sampling", "async_config.max_steps_off_policy": 2}
    assert _resolved("tinker", given, version="0.6.1").loss_aggregation == "stable_reinforce"
    assert _resolved("tinker", given, version="0.5.5").loss_aggregation == "importance_sampling"


def test_nemo_rl_before_its_estimator_section_reads_the_keys_above_it():
    old = _resolved("nemo_rl", {"grpo.normalize_rewards": False}, version="0.4.0")
    assert old.estimator.denominator == "none"
    new = _resolved("nemo_rl", {"grpo.normalize_rewards": False}, version="0.7.0")
    assert new.estimator.denominator == "leave_one_out_std"


def test_a_version_is_the_configurations_then_the_installed_then_that_of_the_facts():
    facts = load_facts("trl")
    given = Settings("trl", "python", "train.py", "GRPOTrainer", version="1.2")
    bare = Settings("trl", "python", "train.py", "GRPOTrainer")
    assert detect_version(given, facts, {"trl": "1.3"}) == Version("1.2", "configuration")
    assert detect_version(bare, facts, {"trl": "1.3"}) == Version("1.3", "installed")
    assert detect_version(bare, facts, {}) == Version("1.16.0", "facts")


def test_the_installed_version_is_asked_from_this_python():
    metadata = pytest.importorskip("importlib.metadata")
    try:
        expected = Version(metadata.version("trl"), "installed")
    except metadata.PackageNotFoundError:
        expected = Version("1.16.0", "facts")
    bare = Settings("trl", "python", "train.py", "GRPOTrainer")
    assert detect_version(bare, load_facts("trl")) == expected


def test_a_finding_points_at_the_line_that_sets_it():
    answer = _resolved("trl", {"learning_rate": 1e-6, "scale_rewards": "batch"}, target="train.py")
    where = {finding.code: finding.where for finding in answer.findings}
    assert where["MET402"] == "train.py:2"
    assert where["MET401"] == "train.py:1"


def test_a_cross_check_points_at_what_decides_its_field():
    given = {"learning_rate": 1, "num_generations": 2, "beta": 0.1}
    where = {f.code: f.where for f in _resolved("trl", given).findings}
    assert where["EST113"] == "run.sh:2"
    assert where["SIL211"] == "run.sh:3"


def _texts(document):
    if isinstance(document, dict):
        document = list(document.values())
    if isinstance(document, list):
        return [text for item in document for text in _texts(item)]
    return [document] if isinstance(document, str) else []


def test_every_text_of_an_answer_is_filled():
    for name in names():
        assert not [text for text in _texts(_resolved(name).to_json()) if "{" in text]
    document = _resolved("areal", _AREAL_EXAMPLE).to_json()
    assert "batch (mean) and batch (std)" in document["whitening"]


def test_findings_come_most_severe_first():
    answer = _resolved("nemo_rl", {"grpo.use_dynamic_sampling": True})
    ranks = [finding.severity.rank for finding in answer.findings]
    assert ranks == sorted(ranks, reverse=True)
    assert answer.worst == "error"


@pytest.mark.parametrize(
    ("framework", "key", "fix"),
    [
        ("trl", "num_generations", "num_generations=8"),
        ("skyrl", "generator.n_samples_per_prompt", "generator.n_samples_per_prompt=8"),
        ("areal", "gconfig.n_samples", "gconfig.n_samples: 8"),
    ],
)
def test_the_fix_of_a_cross_check_is_the_frameworks_own_key(framework, key, fix):
    extra = {
        "actor.reward_norm.mean_level": "group",
        "actor.reward_norm.std_level": "group",
        "actor.reward_norm.group_size": 2,
    }
    answer = _resolved(framework, {key: 2, **(extra if framework == "areal" else {})})
    assert [f.fix for f in answer.findings if f.code == "EST113"] == [fix]


def test_a_framework_without_facts_is_refused():
    with pytest.raises(InputError, match="no facts about that framework"):
        resolve(Settings("nothing", "python", "a.py", "Trainer"))


def test_no_text_can_be_broken_by_what_a_configuration_holds():
    nasty = "{= positive 1 grpo} {nothing} \x1b[31m" + "x" * 500
    answer = _resolved("slime", {"custom_advantage_function_path": nasty})
    (finding,) = (finding for finding in answer.findings if finding.code == "EST108")
    assert finding.evidence.startswith(
        "custom_advantage_function_path={= positive 1 grpo} {nothing} ?[31mxxx"
    )
    assert len(finding.evidence) < 400
    assert _resolved("trl", {"num_generations": 10**9}).extra["group_size"] == 10**9
    assert _resolved("trl", {"num_generations": "many", "beta": [1, 2]}).silent == "keep"


@pytest.mark.parametrize(
    "text", ["{= x}", "{G}", "{nothing}", "{", "{= positive 1 grpo}", "{@eps}"]
)
def test_text_of_a_configuration_is_never_a_template(text):
    assert any(
        text in each for each in _resolved("verl", {"algorithm.adv_estimator": text}).unknown
    )
    answer = _resolved("ms_swift", {"loss_type": text, "advantage_estimator": text})
    assert answer.estimator.name == answer.loss_aggregation == text


def test_an_eps_that_is_no_number_is_unknown():
    values = {
        "actor.reward_norm.mean_level": "group",
        "actor.reward_norm.std_level": "group",
        "actor.reward_norm.eps": "tiny",
    }
    answer = _resolved("areal", values)
    assert answer.estimator.eps is None
    assert any(text.startswith("estimator.eps") and "tiny" in text for text in answer.unknown)


def test_what_depends_on_an_unknown_group_size_is_said_with_it():
    n = Setting("num_generations", None, "run.sh:3", missing=("N",))
    given = Settings("trl", "shell", "run.sh", "GRPOTrainer", {"num_generations": n})
    findings = {f.code: f for f in resolve(given, installed={}).findings}
    assert "for groups of 7 and more (decided by N)" in findings["MET404"].evidence
    assert "8 equal rewards" in findings["MET404"].consequence
    assert not {"EST105", "EST113"} & set(findings)


@pytest.mark.parametrize(
    ("sizes", "expected", "is_error"), [((16,), 16, False), ((1,), 1, True), ((16, 4), None, False)]
)
def test_the_group_size_of_every_source_of_prime_rl(sizes, expected, is_error):
    prefix = "orchestrator.train.source"
    answer = _resolved("prime_rl", {f"{prefix}.{i}.group_size": n for i, n in enumerate(sizes)})
    assert answer.extra["group_size"] == (expected or "16, 4")
    assert ("EST105" in [f.code for f in answer.findings]) == is_error


def test_sections_that_differ_leave_what_they_decide_unknown():
    filters = {
        "rewards.math.query_filter_config.type": "std_filter",
        "rewards.code.query_filter_config.type": "no_filter",
    }
    answer = _resolved("roll", {"adv_estimator": "grpo", **filters})
    assert answer.silent is None
    assert any("rewards.code.query_filter_config.type=no_filter" in each for each in answer.unknown)


@pytest.mark.parametrize(
    ("loss_mode", "aggregation"),
    # verl/trainer/ppo/core_algos.py: compute_policy_loss_geo_mean ends in a mean over sequences,
    # compute_policy_loss_sapo calls agg_loss with loss_agg_mode="seq-mean-token-mean"
    [("geo_mean", "mean over sequences"), ("sapo", "seq-mean-token-mean, whatever")],
)
def test_losses_of_verl_that_read_no_loss_agg_mode(loss_mode, aggregation):
    values = {
        "algorithm.adv_estimator": "grpo",
        "actor_rollout_ref.actor.policy_loss.loss_mode": loss_mode,
    }
    assert aggregation in str(_resolved("verl", values).loss_aggregation)
