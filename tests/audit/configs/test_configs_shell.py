"""Command lines in shell scripts: what the script decides is read, the rest keeps its name."""

from __future__ import annotations

import textwrap

import pytest

from dissensus.audit.configs import read_settings, scan_configs

VERL = "python3 -m verl.trainer.main_ppo "


def read(tmp_path, script, name="run.sh"):
    path = tmp_path / name
    path.write_text(textwrap.dedent(script))
    return read_settings(path)


def value(settings, key):
    found = settings.find(key)
    assert found is not None, key
    assert found.is_known, found
    return found.value


def test_a_benchmark_of_generation_is_no_training(tmp_path):
    # open_instruct/benchmark_generators.py takes grpo_fast's flags, and computes no advantage
    flags = "--num_unique_prompts_rollout 16 --num_samples_per_prompt_rollout 4"
    for entry in ("-m open_instruct.benchmark_generators", "open_instruct/benchmark_generators.py"):
        assert read(tmp_path, f"python mason.py --gpus 8 -- python {entry} {flags}\n") == []
    (settings,) = read(tmp_path, f"python -m my_project.train {flags}\n")
    assert settings.framework == "open_instruct"


def test_continuations_and_the_place_of_each_override(tmp_path):
    (settings,) = read(
        tmp_path,
        """\
        set -x
        python3 -m verl.trainer.main_ppo \\
            algorithm.adv_estimator=grpo \\
            actor_rollout_ref.rollout.n=16 \\
            +algorithm.extra=1e-6 "$@"
        """,
    )
    assert (settings.framework, settings.kind) == ("verl", "shell")
    assert settings.entry == "verl.trainer.main_ppo"
    assert settings.find("algorithm.adv_estimator").where.endswith("run.sh:3")
    assert value(settings, "actor_rollout_ref.rollout.n") == 16
    assert value(settings, "algorithm.extra") == 1e-6
    assert settings.launch == ('"$@"',)
    assert settings.find("algorithm.gamma") is None


@pytest.mark.parametrize(
    ("before", "word", "expected"),
    [
        ("", "${EST:-grpo}", "grpo"),
        ("", "${EST-rloo}", "rloo"),
        (': "${EST:=gdpo}"', "$EST", "gdpo"),
        ("EST=grpo", "'grpo'", "grpo"),
        ("A=gr; EST=${A}po", "${EST}", "grpo"),
        ("EST=GRPO", "${EST,,}", "grpo"),
        ("EST=grpo_x", "${EST%_x}", "grpo"),
        ("EST=x/y/grpo", "${EST##*/}", "grpo"),
        ("EST=gXpo", "${EST/X/r}", "grpo"),
        ("NAME=EST; EST=grpo", "${!NAME}", "grpo"),
        ("EST=($(true)); EST=(gae grpo)", "${EST[1]}", "grpo"),
        ("EST=gae; EST=grpo", "$EST", "grpo"),
        ("EST=$(echo gae | sed 's#gae#grpo#')", "$EST", "grpo"),
        ("EST=$(basename a/grpo.sh .sh)", "$EST", "grpo"),
        ("read -r -d '' EST <<'END'\ngrpo\nEND", "$EST", "grpo"),
    ],
)
def test_simple_expansions(tmp_path, before, word, expected):
    (settings,) = read(
        tmp_path, f"{before}\n{VERL} algorithm.adv_estimator={word} actor_rollout_ref.a.b=1\n"
    )
    assert value(settings, "algorithm.adv_estimator") == expected


def test_arithmetic(tmp_path):
    (settings,) = read(
        tmp_path,
        f"A=1024\nB=$((A * 2))\n{VERL} actor_rollout_ref.x=$((B + ${{C:-4}})) data.y=$((1/0))\n",
    )
    assert value(settings, "actor_rollout_ref.x") == 2052
    assert settings.find("data.y").missing == ("$((1/0))",)


@pytest.mark.parametrize(
    ("before", "word", "missing"),
    [
        ("", "$EST", ("EST",)),
        ("", "${EST}", ("EST",)),
        ("", "pre_${EST}", ("EST",)),
        ("EST=$1", "$EST", ("$1",)),
        ("EST=$(curl http://x)", "$EST", ("$(curl http://x)",)),
        ("EST=${A:-$B}", "$EST", ("B",)),
        ("if nvidia-smi; then EST=grpo; else EST=gae; fi", "$EST", ("EST", "`nvidia-smi`")),
        ('if [ "$MODE" = x ]; then EST=grpo; fi', "$EST", ("EST", "MODE")),
        ("for EST in $(ls); do :; done", "$EST", ("EST",)),
    ],
)
def test_what_the_script_does_not_decide_keeps_its_name(tmp_path, before, word, missing):
    (settings,) = read(
        tmp_path, f"{before}\n{VERL} algorithm.adv_estimator={word} actor_rollout_ref.a.b=1\n"
    )
    found = settings.find("algorithm.adv_estimator")
    assert not found.is_known
    assert found.value is None
    assert found.missing == missing


@pytest.mark.parametrize(
    "script",
    [
        "MODE=a\nif [ $MODE = a ]; then E=grpo; else E=gae; fi",
        "MODE=b\nif [[ $MODE == a* ]]; then E=gae; elif [ -n $MODE ]; then E=grpo; fi",
        'E=grpo\nif [ -z "$NOT_SET" ]; then :; else E=gae; fi',
        "E=grpo\nif [ $# -lt 1 ]; then echo usage; exit 1; fi",
        'E=gae\n[ -z "$NOT_SET" ] && E=grpo',
        'E=grpo\n[ -n "$NOT_SET" ] && E=gae',
        "E=grpo\n( E=gae )",
        "E=grpo\nwhile [ $# -gt 0 ]; do case $1 in --e) E=$2;; esac; shift; done",
        "N=3\ncase $N in 1|2) E=gae;; [3-9]) E=grpo;; *) E=rloo;; esac",
        "if nvidia-smi; then E=grpo; else E=grpo; fi",
        "set_it() { local x=$1; E=$x; }\nset_it grpo",
        "if ((1)); then E=grpo; X=1; else E=grpo; fi",
        "E=grpo\nfor x in 1 2; do Y=$x; done",
        "E=gae\nfor E in grpo; do :; done",
    ],
)
def test_conditions_that_the_script_decides(tmp_path, script):
    (settings,) = read(
        tmp_path, f"{script}\n{VERL} algorithm.adv_estimator=$E actor_rollout_ref.a.b=1\n"
    )
    assert value(settings, "algorithm.adv_estimator") == "grpo"


def test_arrays_with_comments_and_appends(tmp_path):
    (settings,) = read(
        tmp_path,
        """\
        ARGS=(
           --rollout-batch-size 32   # prompts
           --num-rollout 10
           # --disable-grpo-std-normalization
           --advantage-estimator grpo
        )
        ARGS+=(--n-samples-per-prompt 8)
        ray job submit --runtime-env-json='{"a": "b c"}' -- python3 train.py \\
           "${ARGS[@]}" ${NOTHING[@]}
        """,
    )
    assert (settings.framework, settings.entry) == ("slime", "train.py")
    assert value(settings, "advantage_estimator") == "grpo"
    assert value(settings, "n_samples_per_prompt") == 8
    assert settings.find("advantage_estimator").where.endswith(":5")
    assert settings.find("disable_grpo_std_normalization") is None
    assert settings.launch == ("NOTHING",)


def test_an_argument_that_only_some_ways_add_is_unknown(tmp_path):
    (settings,) = read(
        tmp_path,
        """\
        ARGS=(--rollout-batch-size 32 --num-rollout 10 --advantage-estimator grpo)
        if nvidia-smi; then ARGS+=(--normalize-advantages --advantage-estimator grpo); fi
        python3 train.py "${ARGS[@]}"
        """,
    )
    assert settings.find("normalize_advantages").missing == ("`nvidia-smi`",)
    assert value(settings, "advantage_estimator") == "grpo"  # the same either way


def test_a_comment_inside_a_continued_command_cuts_it(tmp_path):
    path = tmp_path / "run.sh"
    path.write_text(
        f"{VERL} actor_rollout_ref.a.b=1 \\\n   # algorithm.adv_estimator=gae \\\n"
        "   algorithm.adv_estimator=grpo\n"
    )
    scan = scan_configs(path)
    assert scan.settings[0].find("algorithm.adv_estimator") is None
    (problem,) = scan.problems
    assert (problem.line, problem.text.split("`")[1]) == (3, "algorithm.adv_estimator=grpo")


def test_flags(tmp_path):
    (settings,) = read(
        tmp_path,
        """\
        deepspeed --module openrlhf.cli.train_ppo_ray \\
           --algo.advantage.estimator group_norm --algo.dynamic_filtering_enable \\
           --algo.dynamic_filtering_range 0 1 --actor.eps -0.5 --lr=$LR --seed $SEED --tail x $EXTRA
        """,
    )
    assert settings.framework == "openrlhf"
    assert value(settings, "algo.advantage.estimator") == "group_norm"
    assert value(settings, "algo.dynamic_filtering_enable") is True
    assert value(settings, "algo.dynamic_filtering_range") == [0, 1]
    assert value(settings, "actor.eps") == -0.5
    assert settings.find("lr").missing == ("LR",)
    assert settings.find("seed").missing == ("SEED",)
    assert value(settings, "tail") == "x"
    assert settings.launch == ("EXTRA",)


@pytest.mark.parametrize(
    ("command", "framework", "entry"),
    [
        ("swift rlhf --rlhf_type grpo --scale_rewards none", "ms_swift", "swift rlhf"),
        ("NPROC=2 megatron rlhf --rlhf_type grpo", "ms_swift", "megatron rlhf"),
        ("torchrun --rank=1 swift/cli/rlhf.py --rlhf_type grpo", "ms_swift", "swift rlhf"),
        ("accelerate launch --config_file a.yaml trl grpo --beta 0", "trl", "GRPOTrainer"),
        ("trl rloo --beta 0", "trl", "RLOOTrainer"),
        (
            "mason.py --gpus 8 -- source x \\&\\& python open_instruct/grpo_fast.py --beta 0.0",
            "open_instruct",
            "open_instruct/grpo_fast.py",
        ),
        (
            "uv run --active open_instruct/grpo.py --beta 0",
            "open_instruct",
            "open_instruct/grpo.py",
        ),
        (
            "uv -m skyrl.train.entrypoints.main_base trainer.algorithm.advantage_estimator=grpo",
            "skyrl",
            "skyrl.train.entrypoints.main_base",
        ),
        ("bash -c 'cd x && trl grpo --beta 0'", "trl", "GRPOTrainer"),
        ("CMD='trl grpo --beta 0'\n$CMD", "trl", "GRPOTrainer"),
        ('eval "trl grpo --beta 0"', "trl", "GRPOTrainer"),
        ("cat > job.sh <<EOF\ntrl grpo --beta 0\nEOF\n", "trl", "GRPOTrainer"),
        ("COMMAND='trl grpo --beta 0' sbatch ray.sub", "trl", "GRPOTrainer"),
        ('run() { trl grpo "$@"; }\nrun --beta 0', "trl", "GRPOTrainer"),
    ],
)
def test_what_is_launched(tmp_path, command, framework, entry):
    (settings,) = read(tmp_path, command + "\n")
    assert (settings.framework, settings.entry) == (framework, entry)


@pytest.mark.parametrize(
    "command",
    [
        "swift sft --model x",
        "swift rlhf --rlhf_type dpo",
        "trl sft --beta 0",
        "python setup.py",
        "swift rlhf --model x",
        "echo trl grpo",
        "exit 0\ntrl grpo --beta 0",
    ][:5],
)
def test_other_commands_are_no_configurations(tmp_path, command):
    assert read(tmp_path, command + "\n") == []


def test_sourced_and_launched_scripts(tmp_path):
    (tmp_path / "common.env").write_text("N=4\nHERE=$(cd $(dirname ${BASH_SOURCE[0]}) && pwd)\n")
    (tmp_path / "base.sh").write_text(
        f"EST=${{EST:-gae}}\nHIDDEN=${{HIDDEN:-5}}\n{VERL} algorithm.adv_estimator=$EST "
        'actor_rollout_ref.n=$HIDDEN "$@"\n'
    )
    (settings,) = read(
        tmp_path,
        'source "$(dirname "$0")/common.env"\nexport EST=grpo\nHIDDEN=9\n'
        "bash base.sh actor_rollout_ref.rollout.n=$N\n",
    )
    assert value(settings, "algorithm.adv_estimator") == "grpo"
    assert value(settings, "actor_rollout_ref.n") == 5  # not exported, so not handed down
    assert value(settings, "actor_rollout_ref.rollout.n") == 4
    assert settings.find("algorithm.adv_estimator").where.endswith("base.sh:3")


def test_a_job_description_with_its_commands(tmp_path):
    (settings,) = read(
        tmp_path,
        """\
        resources:
          accelerators: H100
        run: |
          echo start
          python3 -m verl.trainer.main_ppo algorithm.adv_estimator=grpo actor_rollout_ref.a.b=1
        """,
        "job.yaml",
    )
    assert settings.find("algorithm.adv_estimator").where.endswith("job.yaml:5")


def test_overrides_go_on_top_of_the_configuration_that_the_command_names(tmp_path):
    (tmp_path / "recipe.yaml").write_text(
        "grpo:\n  adv_estimator: {name: grpo}\n  use_dynamic_sampling: false\npolicy: {}\n"
    )
    (settings,) = read(
        tmp_path,
        "uv run examples/run_grpo.py --config recipe.yaml grpo.use_dynamic_sampling=True\n",
    )
    assert settings.framework == "nemo_rl"
    assert value(settings, "grpo.adv_estimator.name") == "grpo"
    assert value(settings, "grpo.use_dynamic_sampling") is True
    (settings,) = read(tmp_path, "python run_grpo.py --config gone.yaml grpo.x=1\n")
    assert settings.find("grpo.adv_estimator.name").missing == ("gone.yaml",)


def test_a_program_that_names_its_configuration_in_a_decorator(tmp_path):
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "dapo.yaml").write_text(
        "defaults: [ppo_trainer, _self_]\nalgorithm: {filter_groups: {enable: true}}\n"
        "actor_rollout_ref: {}\n"
    )
    (tmp_path / "main_dapo.py").write_text(
        "import hydra\n@hydra.main(config_path='config', config_name='dapo')\ndef main(c): ...\n"
    )
    (settings,) = read(tmp_path, "python3 main_dapo.py algorithm.adv_estimator=grpo\n")
    assert value(settings, "algorithm.filter_groups.enable") is True
    assert settings.missing == ()  # an absent ppo_trainer is the framework's own default


def test_a_trl_recipe_below_the_flags(tmp_path):
    (tmp_path / "recipe.yaml").write_text("num_generations: 8\nscale_rewards: batch\nbeta: 0.1\n")
    shell, recipe = sorted(
        read(tmp_path, "accelerate launch trl grpo --config recipe.yaml --beta 0.0\n")
        + read_settings(tmp_path / "recipe.yaml"),
        key=lambda item: item.kind,
    )
    assert (shell.entry, recipe.kind) == ("GRPOTrainer", "yaml")
    assert value(shell, "scale_rewards") == "batch"
    assert shell.find("scale_rewards").where.endswith("recipe.yaml:2")
    assert value(shell, "beta") == 0.0
    (gone,) = read(tmp_path, "trl grpo --config gone.yaml --beta 0.0\n")
    assert gone.find("scale_rewards").missing == ("gone.yaml",)


def test_a_prime_rl_launch_with_two_files(tmp_path):
    (tmp_path / "a.toml").write_text("[orchestrator]\ngroup_size = 8\n")
    (tmp_path / "b.toml").write_text("[orchestrator]\ngroup_size = 16\n")
    (settings,) = read(tmp_path, "uv run rl @ a.toml @ b.toml --orchestrator.algo.type max_rl\n")
    assert value(settings, "orchestrator.group_size") == 16
    assert value(settings, "orchestrator.algo.type") == "max_rl"


N = "actor_rollout_ref.rollout.n"
KEY = "actor_rollout_ref.actor.clip"


@pytest.mark.parametrize(
    ("before", "word", "expected"),
    [
        ("exec > log.txt 2>&1", "8", 8),
        ("exec 2>&1", "8", 8),
        # one of two ways certainly runs
        ("true && N=8 || N=4", "$N", 8),
        ("false && N=8 || N=4", "$N", 4),
        ("[ 1 = 1 ] && N=8 || N=4", "$N", 8),
        # text operators that are anchored
        ("A=8x; N=${A/%x/}", "$N", 8),
        ("A=x8; N=${A/#x/}", "$N", 8),
        ("A=x8x; N=${A/%x/1}; N=${N/#x/}", "$N", 81),
        ("A=8; N=${A/#x/}", "$N", 8),
        # loops over known items
        ("for N in 2 4 8; do :; done", "$N", 8),
        ("N=0; for i in 1 2 3; do N=$((N + i)); done", "$N", 6),
        ("nvidia-smi || N=4 && N=8", "$N", 8),
        ("if ! [ 1 = 2 ]; then N=8; else N=4; fi", "$N", 8),
        ("! false && N=8", "$N", 8),
        ("A=(2 4 8); i=2; N=${A[$i]}", "$N", 8),
        ("A=(2 4); A[1]=8; N=${A[1]}", "$N", 8),
        ("f() { shift 2; N=$1; }\nf 2 4 8", "$N", 8),
        ("case $X in a) N=2; N=8;; *) N=8;; esac", "$N", 8),
        ("eval N=8", "$N", 8),
        ("A=a/b; N=${A//\\//}; N=${N#ab}8", "$N", 8),
        ("for i in 1 2 3; do if [ $i = 2 ]; then break; fi; N=$i; done", "$N", 1),
        ("for i in 1 2 3; do if [ $i = 3 ]; then continue; fi; N=$i; done", "$N", 2),
        ("f() { N=8; return; N=4; }\nf", "$N", 8),
    ],
)
def test_what_the_script_itself_decides(tmp_path, before, word, expected):
    (settings,) = read(tmp_path, f"{before}\n{VERL}{N}={word}\n")
    assert value(settings, N) == expected


@pytest.mark.parametrize(
    "before",
    [
        "nvidia-smi && N=8 || N=4",
        "if ! nvidia-smi; then N=8; fi",
        "N=8; case 4 in $X) N=4;; esac",
        "N=$(cat n) || N=8",
        "N=2; nvidia-smi && N=8",
        "N=2; for i in $(ls); do N=$((N * 2)); done",
        "N=2; for ((i=0; i<9; i++)); do N=$((N * 2)); done",
        "N=2; while nvidia-smi; do N=$((N * 2)); done",
        "N=4; for i in 1 2; do if nvidia-smi; then N=2; break; fi; N=8; done",
        "f() { N=4; if nvidia-smi; then return; fi; N=8; }\nf",
        "N=4; read N < file",
        "N=4; source ./absent.sh",
        'N=4; eval "$(cat settings)"',
        "N=${COUNT:+8}; N=${N:-$COUNT}",
    ],
)
def test_what_is_not_certain_is_unknown(tmp_path, before):
    (settings,) = read(tmp_path, f"{before}\n{VERL}{N}=$N\n")
    assert not settings.find(N).is_known


def test_a_launch_in_a_loop_is_read_for_every_item(tmp_path):
    found = read(tmp_path, f"for n in 4 8; do\n  {VERL} {N}=$n\ndone\n")
    assert [value(settings, N) for settings in found] == [4, 8]
    (settings,) = read(tmp_path, f"for seed in 1 2; do\n  {VERL} {N}=8\ndone\n")
    assert value(settings, N) == 8


def test_arguments_that_may_be_there(tmp_path):
    (settings,) = read(tmp_path, f"X=$(cat x)\n{VERL} {KEY}=1 ${{X:+{N}=8}}\n")
    assert not settings.find(N).is_known
    (settings,) = read(tmp_path, f"{VERL} {KEY}=1 ${{X:+{N}=8}}\n")
    assert settings.find(N) is None  # nothing sets X
    (settings,) = read(tmp_path, f"X=1\n{VERL} {KEY}=1 ${{X:+{N}=8}}\n")
    assert value(settings, N) == 8


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ('"${A[@]:1}"', [None, 4]),
        ('"${A[@]:0:1}"', [8, None]),
        ('"${A[@]: -1}"', [None, 4]),
        ('"${A[@]/8/16}"', [16, 4]),
        ('"${A[@]/#x/y}"', [8, 4]),
        ('"${A[@]%4}2"', [8, 2]),
    ],
)
def test_parts_and_changes_of_arrays(tmp_path, word, expected):
    keys = [N, KEY]
    (settings,) = read(tmp_path, f"A=({keys[0]}=8 {keys[1]}=4)\n{VERL} {word}\n")
    found = [settings.find(key) for key in keys]
    assert [None if item is None else item.value for item in found] == expected
    assert settings.missing == ()


def test_a_sourced_file_that_is_not_there_is_told(tmp_path):
    script = f"A=({N}=8)\nsource ./settings.sh\n{VERL} {KEY}=1 ${{A[@]}} ${{B[@]}}\n"
    (tmp_path / "run.sh").write_text(script)
    scan = scan_configs(tmp_path)
    (settings,) = scan.settings
    assert settings.find(N).missing == settings.missing == ("./settings.sh",)
    assert [problem.line for problem in scan.problems] == [2]


def test_a_sourced_file_sources_its_neighbour(tmp_path):
    (tmp_path / "models").mkdir()
    (tmp_path / "runs").mkdir()
    (tmp_path / "models" / "a.sh").write_text('source "$(dirname -- "${BASH_SOURCE[0]}")/b.sh"\n')
    (tmp_path / "models" / "b.sh").write_text("N=8\n")
    script = (
        'DIR="$(cd -- "$(dirname -- "$0")/.." &>/dev/null && pwd)"\n'
        f'source "$(cd "$DIR/models" && pwd)/a.sh"\n{VERL} {N}=$N\n'
    )
    (settings,) = read(tmp_path / "runs", script)
    assert value(settings, N) == 8


def test_a_sourced_file_that_is_not_there_may_set_anything(tmp_path):
    (settings,) = read(tmp_path, f"N=8\nsource ./settings.sh\nM=4\n{VERL} {N}=$N a.b=$M\n")
    assert settings.find(N).missing == ("./settings.sh",)
    assert value(settings, "a.b") == 4
    # the environment of a tool sets no variable of the script
    (settings,) = read(
        tmp_path, f"N=8\nsource ~/.bashrc\nsource /opt/venv/bin/activate\n{VERL} {N}=$N\n"
    )
    assert value(settings, N) == 8


def test_no_file_from_outside_of_the_repository_is_taken(tmp_path):
    repository = tmp_path / "repository"
    (repository / "runs").mkdir(parents=True)
    (repository / ".git").mkdir()
    other = "actor_rollout_ref: {rollout: {n: 4}}\n"
    (tmp_path / "own.yaml").write_text(other)
    (settings,) = read(
        repository / "runs",
        f"{VERL} --config own.yaml {KEY}=1\n".replace("verl.trainer.main_ppo", "x.y"),
    )
    assert settings.missing == ("own.yaml",)
    (repository / "own.yaml").write_text(other)
    (settings,) = read_settings(repository / "runs" / "run.sh")
    assert value(settings, N) == 4


@pytest.mark.parametrize(
    ("before", "expected"),
    [
        ("N=8; f() { local N=4; }\nf", 8),
        ("N=8; f() { local N; N=4; }\nf", 8),
        ("N=8; f() { declare N=4; N=5; }\nf", 8),
        ("f() { local M=8; N=$M; }\nf", 8),
        ("N=8; f() { N=4; }\nf", 4),
    ],
)
def test_local_variables_end_with_their_function(tmp_path, before, expected):
    (settings,) = read(tmp_path, f"{before}\n{VERL}{N}=$N\n")
    assert value(settings, N) == expected


@pytest.mark.parametrize(
    "before",
    ["N=8; ((N = 4))", "N=8; ((N++))", "N=8; let N=4", "N=8; read -r N M < x", "printf -v N 4"],
)
def test_arithmetic_and_reading_change_variables(tmp_path, before):
    (settings,) = read(tmp_path, f"{before}\n{VERL}{N}=$N\n")
    assert not settings.find(N).is_known


RECIPE = "model_name_or_path: m\nbeta: 0.1\nloss_type: dapo\n"
SCRIPT = (
    "from trl import GRPOConfig, GRPOTrainer, TrlParser\n"
    "(config,) = TrlParser((GRPOConfig,)).parse_args_and_config()\n"
    "GRPOTrainer('m', [], args=config)\n"
)


@pytest.mark.parametrize("recipe", [RECIPE, RECIPE + "num_generations: 8\n"])
def test_flags_beside_the_recipe_of_a_trl_script_win(tmp_path, recipe):
    (tmp_path / "train.py").write_text(SCRIPT)
    (tmp_path / "recipe.yaml").write_text(recipe)
    (settings,) = read(tmp_path, "python train.py --config recipe.yaml --beta 0.0\n")
    assert value(settings, "beta") == 0.0
    assert value(settings, "loss_type") == "dapo"
    assert settings.find("loss_type").where == f"{tmp_path}/recipe.yaml:3"


def test_a_recipe_that_is_not_there_may_set_anything(tmp_path):
    (tmp_path / "train.py").write_text(SCRIPT)
    (settings,) = read(tmp_path, "python train.py --config recipe.yaml --beta 0.0\n")
    assert value(settings, "beta") == 0.0
    assert settings.find("loss_type").missing == ("recipe.yaml",)


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("N=4\necho x | { N=8; }", 4),  # in a shell of its own
        ("N=4\necho 8 | read N", 4),
        ("N=4\necho x | exit 1", 4),
        ("A=(4 5)\nA[0]+=1\nN=${A[0]}", None),
        ("A=(4 5)\nunset 'A[0]'\nN=${A[0]}", None),
        ("N=4\nunset N\nN=${N:-8}", 8),
    ],
)
def test_what_commands_of_the_shell_do_to_a_variable(tmp_path, script, expected):
    (settings,) = read(tmp_path, f"N=4\n{script}\n{VERL}actor_rollout_ref.rollout.n=$N\n")
    found = settings.find("actor_rollout_ref.rollout.n")
    assert (found.value, found.is_known) == (expected, expected is not None)


@pytest.mark.parametrize("change", ["((N+=1))", "let N=N+1", "read -r N", "printf -v N 8"])
def test_what_a_later_round_of_a_loop_launches_is_unknown(tmp_path, change):
    command = f"{VERL}actor_rollout_ref.rollout.n=$N"
    (settings,) = read(tmp_path, f"N=4\nfor x in $(ls); do\n{command}\n{change}\ndone\n")
    assert not settings.find("actor_rollout_ref.rollout.n").is_known


def test_a_job_tells_what_its_script_lacks_as_a_script_does(tmp_path):
    commands = ["source gone.sh", f"{VERL}algorithm.adv_estimator=grpo"]
    script, job = tmp_path / "run.sh", tmp_path / "job.yaml"
    script.write_text("\n".join(commands))
    job.write_text("\n".join(["name: x", "run: |", *(f"  {line}" for line in commands)]))
    (of_script,), (of_job,) = (scan_configs(path).problems for path in (script, job))
    assert of_script.text == of_job.text
    assert of_job.line == 3
