"""YAML with its parents and interpolations, and TOML."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from dissensus.audit.configs import read_settings, scan_configs


def write(folder, **files):
    for name, text in files.items():
        path = folder / name.replace("__", "/").replace("_yaml", ".yaml").replace("_toml", ".toml")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))


def one(path):
    (settings,) = read_settings(path)
    return settings


BASE = """\
grpo:
  num_generations_per_prompt: 16
  adv_estimator:
    name: grpo
    normalize_rewards: true
policy:
  batch: ${mul:${grpo.num_generations_per_prompt}, 2}
"""


def test_relative_parents_and_the_place_of_each_value(tmp_path):
    write(
        tmp_path,
        base_yaml=BASE,
        recipes__child_yaml="""\
        defaults: ../base.yaml
        grpo:
          adv_estimator:
            normalize_rewards: false
        """,
    )
    settings = one(tmp_path / "recipes" / "child.yaml")
    assert (settings.framework, settings.kind) == ("nemo_rl", "yaml")
    changed = settings.find("grpo.adv_estimator.normalize_rewards")
    assert (changed.value, changed.where.endswith("child.yaml:4")) == (False, True)
    kept = settings.find("grpo.num_generations_per_prompt")
    assert (kept.value, kept.where) == (16, f"{tmp_path}/base.yaml:2")
    assert settings.find("policy.batch").value == 32


def test_a_parent_that_is_not_there_makes_every_other_key_unknown(tmp_path):
    write(tmp_path, child_yaml="defaults: gone.yaml\ngrpo: {a: 1}\npolicy: {}\n")
    settings = one(tmp_path / "child.yaml")
    assert settings.missing == ("gone.yaml",)
    assert settings.find("grpo.a").value == 1
    assert settings.find("grpo.adv_estimator.name").missing == ("gone.yaml",)


def test_hydra_groups_packages_and_the_order_of_self(tmp_path):
    write(
        tmp_path,
        main_yaml="""\
        defaults:
          - engine: dp
          - actor@actor_rollout_ref.actor: ${engine}_actor
          - /extra@_global_: more
          - _self_
        algorithm: {adv_estimator: gae}
        actor_rollout_ref:
          rollout: {n: 4}
        """,
        engine__dp_yaml="lr: 1\n",
        actor__dp_actor_yaml="defaults: [../optim@optim: adam, actor, _self_]\nloss: mine\n",
        actor__actor_yaml="loss: base\nloss_agg_mode: token-mean\n",
        optim__adam_yaml="lr: 1e-6\n",
        extra__more_yaml="algorithm: {adv_estimator: grpo, gamma: 1.0}\n",
    )
    settings = one(tmp_path / "main.yaml")
    assert settings.missing == ()
    assert settings.find("actor_rollout_ref.actor.loss_agg_mode").value == "token-mean"
    assert settings.find("actor_rollout_ref.actor.loss").value == "mine"
    assert settings.find("actor_rollout_ref.actor.optim.lr").value == 1e-6
    assert settings.find("algorithm.adv_estimator").value == "gae"
    assert settings.find("algorithm.gamma").value == 1.0


@pytest.mark.parametrize(
    ("text", "value", "missing"),
    [
        ("${gconfig.n}", 4, ()),
        ("${.sibling}", 7, ()),
        ("${..other}", "x", ()),
        ("a-${gconfig.n}-b", "a-4-b", ()),
        ("${oc.env:HOME_DIR,/data}", "/data", ()),
        ("${oc.env:HOME_DIR}", None, ("HOME_DIR",)),
        ("${oc.select:gconfig.gone,3}", 3, ()),
        ("${gconfig.gone}", None, ("${gconfig.gone}",)),
        ("${now:%Y}", None, ("${now:%Y}",)),
        ("${div:${gconfig.n},0}", None, ("${div:…}",)),
        ("${actor.probe}", None, ("${actor.probe}",)),  # a value that stands for itself
        ("!path x", None, ("!path x",)),
        ("1e-6", 1e-6, ()),
        ("'1e-6'", "1e-6", ()),
        ("yes", True, ()),
        ("null", None, ()),
        ("none", "none", ()),
    ],
)
def test_values(tmp_path, text, value, missing):
    write(
        tmp_path,
        a_yaml=f"gconfig: {{n: 4}}\nrollout: {{}}\nother: y\n"
        f"actor:\n  kl_ctl: 0\n  other: x\n  sibling: 7\n  probe: {text}\n".replace(
            "other: y", "other: x"
        ),
    )
    found = one(tmp_path / "a.yaml").find("actor.probe")
    assert found.value == value
    assert found.missing == missing


@pytest.mark.parametrize(
    ("text", "framework"),
    [
        ("actor_rollout_ref: {a: 1}\n", "verl"),
        ("trainer: {algorithm: {advantage_estimator: grpo}}\n", "skyrl"),
        ("grpo: {}\npolicy: {}\n", "nemo_rl"),
        ("actor: {reward_norm: {mean_level: group}}\ngconfig: {}\n", "areal"),
        ("actor_train: {}\nadv_estimator: grpo\n", "roll"),
        ("rlhf_type: grpo\nnum_generations: 8\n", "ms_swift"),
        ("num_generations: 8\nlearning_rate: 1e-6\n", "trl"),
        ("rlhf_type: dpo\n", None),
        ("name: x\nsteps: [a, b]\n", None),
        ("- a\n- b\n", None),
        ("", None),
    ],
)
def test_detected_by_content(tmp_path, text, framework):
    (tmp_path / "any.yaml").write_text(text)
    found = [settings.framework for settings in read_settings(tmp_path)]
    assert found == ([framework] if framework else [])


def test_null_sections_and_lists_of_sections(tmp_path):
    write(
        tmp_path,
        a_yaml="""\
        actor: {kl_ctl: 0.0, reward_norm: null, layers: [1, 2]}
        rollout: {}
        envs:
          - {name: first}
          - {name: second}
        """,
    )
    settings = one(tmp_path / "a.yaml")
    assert settings.find("actor.reward_norm.mean_level").value is None
    assert settings.find("actor.reward_norm.mean_level").is_known
    assert settings.find("envs.1.name").value == "second"
    assert settings.find("actor.layers").value == [1, 2]
    assert settings.has_section("actor")
    assert not settings.has_section("actor.reward_norm")


def test_anchors_and_merge_keys(tmp_path):
    write(
        tmp_path,
        a_yaml="""\
        base: &base {mean_level: group, std_level: group}
        actor:
          kl_ctl: 0.0
          reward_norm:
            <<: *base
            std_level: null
        rollout: {}
        """,
    )
    settings = one(tmp_path / "a.yaml")
    assert settings.find("actor.reward_norm.mean_level").value == "group"
    assert settings.find("actor.reward_norm.std_level").value is None


def test_toml_with_lines_and_dashes(tmp_path):
    write(
        tmp_path,
        rl_toml="""\
        max_steps = 5
        [orchestrator]
        group-size = 16
        [orchestrator.algo]
        type = "max_rl"
        [[orchestrator.train.source]]
        name = "a"
        [[orchestrator.train.source]]
        name = "b"
        """,
        orch_toml="group_size = 8\n[train.sampling]\nn = 1\n",
        other_toml="[project]\nname = 'x'\n",
    )
    orch, rl = read_settings(tmp_path)
    assert (rl.framework, rl.kind) == ("prime_rl", "toml")
    assert rl.find("orchestrator.group_size").value == 16
    assert rl.find("orchestrator.algo.type").where == f"{tmp_path}/rl.toml:5"
    assert rl.find("orchestrator.train.source.1.name").where.endswith(":9")
    assert orch.find("orchestrator.group_size").value == 8


def test_an_orchestrator_in_its_own_file(tmp_path):
    write(
        tmp_path,
        rl_toml='orchestrator = "parts/orch.toml"\n',
        parts__orch_toml="group_size = 8\n",
        gone_toml='orchestrator = "nowhere.toml"\n',
    )
    gone, rl = read_settings(tmp_path)
    assert rl.find("orchestrator.group_size").value == 8
    assert gone.find("orchestrator.group_size").missing == ("nowhere.toml",)


def test_what_cannot_be_read_is_a_problem_and_not_an_error(tmp_path):
    write(tmp_path, bad_yaml="a: [1,\nb: 2\n", bad_toml="a = \n", good_yaml=BASE)
    (tmp_path / "loop.yaml").symlink_to(tmp_path / "loop.yaml")
    scan = scan_configs(tmp_path)
    assert [settings.framework for settings in scan.settings] == ["nemo_rl"]
    assert sorted(str(p).rsplit("/", 1)[1].split(":")[0] for p in scan.problems) == [
        "bad.toml",
        "bad.yaml",
        "loop.yaml",
    ]
    assert scan_configs(tmp_path / "nothing").problems[0].text.startswith("cannot be opened")


def test_a_section_marked_as_an_override_replaces_that_of_its_parent(tmp_path):
    # NeMo-RL, nemo_rl/utils/config.py merge_with_override: at the top level only
    (tmp_path / "base.yaml").write_text(
        "grpo: {num_prompts_per_step: 4, adv_estimator: {name: gdpo}}\n"
        "policy: {a: {x: 1, y: 1}}\nloss_fn: {token_level_loss: true}\n"
    )
    (tmp_path / "run.yaml").write_text(
        "defaults: base.yaml\ngrpo: {_override_: true, num_generations_per_prompt: 8}\n"
        "policy: {a: {_override_: true, x: 2}}\nloss_fn: {_override_: false, b: 1}\n"
    )
    settings = {Path(s.target).name: s for s in read_settings(tmp_path)}["run.yaml"]
    assert settings.find("grpo.num_generations_per_prompt").value == 8
    assert settings.find("grpo.adv_estimator.name") is None
    assert settings.find("grpo._override_") is None
    assert settings.find("policy.a.y").value == 1
    assert settings.find("loss_fn.token_level_loss").value is True


def test_an_override_leaves_the_other_uses_of_an_anchor_alone(tmp_path):
    (tmp_path / "run.yaml").write_text(
        "actor: &common {kl_ctl: 0.0, path: a}\nref: *common\nrollout: {}\n"
        "gconfig: {n_samples: 4}\n"
    )
    (tmp_path / "run.sh").write_text("python -m x.train --config run.yaml actor.kl_ctl=0.1\n")
    (settings,) = read_settings(tmp_path / "run.sh")
    assert settings.find("actor.kl_ctl").value == 0.1
    assert settings.find("ref.kl_ctl").value == 0.0


def test_an_interpolation_on_a_command_line(tmp_path):
    (tmp_path / "run.sh").write_text(
        "python -m verl.trainer.main_ppo actor_rollout_ref.rollout.n=4 "
        "'a.b=${actor_rollout_ref.rollout.n}' 'a.c=${data.n}' 'a.d=${oc.env:N}'\n"
    )
    (settings,) = read_settings(tmp_path / "run.sh")
    assert settings.find("a.b").value == 4
    assert settings.find("a.c").missing == ("${data.n}",)
    assert settings.find("a.d").missing == ("N",)


def test_flags_behind_a_file_of_ms_swift_win(tmp_path):
    # swift/cli/main.py parse_yaml_args puts the file's keys in front of the flags
    (tmp_path / "a.yaml").write_text("rlhf_type: grpo\nscale_rewards: none\nbeta: 0.1\n")
    (tmp_path / "run.sh").write_text("swift rlhf a.yaml --beta 0.0 --loss-type dr_grpo\n")
    (settings,) = read_settings(tmp_path / "run.sh")
    found = {key: item.value for key, item in settings.values.items()}
    assert found["scale_rewards"] == "none"
    assert (found["beta"], found["loss_type"]) == (0.0, "dr_grpo")
    (tmp_path / "run.sh").write_text("swift rlhf b.yaml --rlhf_type grpo --beta 0.0\n")
    (settings,) = read_settings(tmp_path / "run.sh")
    assert settings.missing == ("b.yaml",)


def test_flags_beside_a_file_for_ray_are_not_read_and_told(tmp_path):
    # swift/ray/megatron/pipeline.py main reads --config only
    (tmp_path / "a.yaml").write_text("rlhf_type: grpo\nbeta: 0.1\n")
    (tmp_path / "run.sh").write_text("megatron rlhf --use_ray --config a.yaml --beta 0.0\n")
    scan = scan_configs(tmp_path / "run.sh")
    assert scan.settings[0].find("beta").value == 0.1
    assert "--beta" in scan.problems[0].text


def test_a_list_beside_an_interpolation(tmp_path):
    (tmp_path / "run.sh").write_text(
        "python -m verl.trainer.main_ppo a.x=[1,2] 'a.b=${a.x}' actor_rollout_ref.rollout.n=4\n"
    )
    (settings,) = read_settings(tmp_path / "run.sh")
    assert settings.find("a.b").value == [1, 2]
