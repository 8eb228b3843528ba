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


def test_findings_come_most_severe_first():
    answer = _resolved("nemo_rl", {"grpo.use_dynamic_sampling": True})
    ranks = [finding.severity.rank for finding in answer.findings]
    assert ranks == sorted(ranks, reverse=True)
    assert answer.worst == "error"


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
