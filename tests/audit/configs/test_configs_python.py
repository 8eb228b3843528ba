"""TRL, Unsloth and tinker-cookbook scripts, read as syntax trees."""

# ruff: noqa: ISC004 - a script of several lines beside what is expected of it

from __future__ import annotations

import json
import textwrap

import pytest

from dissensus.audit.configs import read_settings, scan_configs

TRL = "from trl import GRPOConfig, GRPOTrainer\n"
TRAIN = "\ntrainer = GRPOTrainer(model='m', reward_funcs=[], args=config)\n"


def read(tmp_path, script, name="train.py"):
    path = tmp_path / name
    path.write_text(textwrap.dedent(script))
    return read_settings(path)


def trl(tmp_path, body):
    (settings,) = read(tmp_path, TRL + textwrap.dedent(body) + TRAIN)
    return settings


def test_keyword_arguments_and_later_assignments(tmp_path):
    settings = trl(
        tmp_path,
        """\
        BETA = 0.04
        config = GRPOConfig(output_dir="x", scale_rewards=False, beta=BETA, num_generations=4 * 2)
        config.loss_type = "dr_grpo"
        """,
    )
    assert (settings.framework, settings.entry, settings.kind) == ("trl", "GRPOTrainer", "python")
    values = {key: item.value for key, item in settings.values.items()}
    assert values["scale_rewards"] is False
    assert (values["beta"], values["num_generations"]) == (0.04, 8)
    assert values["loss_type"] == "dr_grpo"
    assert settings.find("loss_type").where.endswith("train.py:4")
    assert settings.find("epsilon") is None


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("n = 3\nname = f'dr_{\"gr\"}po'\nconfig = GRPOConfig(loss_type=name)", "dr_grpo"),
        ("kw = dict(loss_type='dr_grpo')\nconfig = GRPOConfig(**kw)", "dr_grpo"),
        (
            "a = {'loss_type': 'x'}\nb = {**a, 'loss_type': 'dr_grpo'}\nconfig = GRPOConfig(**b)",
            "dr_grpo",
        ),
        ("kw = {}\nkw['loss_type'] = 'dr_grpo'\nconfig = GRPOConfig(**kw)", "dr_grpo"),
        ("kw = {}\nkw.update(loss_type='dr_grpo')\nconfig = GRPOConfig(**kw)", "dr_grpo"),
        (
            "kw = {'loss_type': 'dr_' + 'grpo'}\nconfig = GRPOConfig(loss_type=kw['loss_type'])",
            "dr_grpo",
        ),
        ("import os\nconfig = GRPOConfig(loss_type=os.environ.get('L', 'dr_grpo'))", "dr_grpo"),
        (
            "def make(kind='dr_grpo'):\n    return GRPOConfig(loss_type=kind)\nconfig = make()",
            "dr_grpo",
        ),
        (
            "def make(kind):\n    if kind:\n        return GRPOConfig(loss_type=kind)\n"
            "config = make('dr_grpo')",
            "dr_grpo",
        ),
        ("FAST = False\nconfig = GRPOConfig(loss_type='x' if FAST else 'dr_grpo')", "dr_grpo"),
        (
            "from dataclasses import dataclass\n@dataclass\nclass A:\n    kind: str = 'dr_grpo'\n"
            "a = A()\nconfig = GRPOConfig(loss_type=a.kind)",
            "dr_grpo",
        ),
        (
            "from dataclasses import dataclass, field, replace\n@dataclass\nclass A:\n"
            "    kind: str = field(default='x')\n"
            "a = replace(A(), kind='dr_grpo')\nconfig = GRPOConfig(loss_type=a.kind)",
            "dr_grpo",
        ),
        (
            "import argparse\np = argparse.ArgumentParser()\n"
            "p.add_argument('--loss-type', default='dr_grpo')\na = p.parse_args()\n"
            "config = GRPOConfig(loss_type=a.loss_type)",
            "dr_grpo",
        ),
    ],
)
def test_values_that_the_script_decides(tmp_path, body, expected):
    settings = trl(tmp_path, body)
    assert settings.find("loss_type").value == expected


@pytest.mark.parametrize(
    ("body", "missing"),
    [
        ("config = GRPOConfig(loss_type=KIND)", ("KIND",)),
        ("import os\nconfig = GRPOConfig(loss_type=os.environ['LOSS'])", ("LOSS",)),
        ("import os\nconfig = GRPOConfig(loss_type=os.getenv('LOSS'))", ("LOSS",)),
        ("import sys\nconfig = GRPOConfig(loss_type=sys.argv[1])", ("sys.argv[1]",)),
        (
            "import argparse\np = argparse.ArgumentParser()\np.add_argument('--loss-type')\n"
            "a = p.parse_args()\nconfig = GRPOConfig(loss_type=a.loss_type)",
            ("--loss-type",),
        ),
        (
            "from x import fast\nconfig = GRPOConfig(loss_type='a' if fast() else 'b')",
            ("x.fast(…)",),
        ),
        ("from x import kw\nconfig = GRPOConfig(**kw)", ("**kw",)),
        (
            "from trl import TrlParser\np = TrlParser((GRPOConfig,))\n"
            "(config,) = p.parse_args_and_config()",
            ("the command line (TrlParser)",),
        ),
        ("for kind in kinds():\n    config = GRPOConfig(loss_type=kind)", ("kind",)),
        ("from x import config", ("config",)),
    ],
)
def test_values_decided_elsewhere_keep_their_name(tmp_path, body, missing):
    found = trl(tmp_path, body).find("loss_type")
    assert not found.is_known
    assert found.missing == missing


def test_a_value_that_only_one_way_sets_is_unknown(tmp_path):
    settings = trl(
        tmp_path,
        """\
        import torch
        kw = dict(beta=0.0)
        if torch.cuda.is_available():
            kw["loss_type"] = "bnpo"
            kw["beta"] = 0.0
        config = GRPOConfig(**kw)
        """,
    )
    assert settings.find("beta").value == 0.0
    assert not settings.find("loss_type").is_known


@pytest.mark.parametrize(
    ("script", "framework", "entry"),
    [
        (
            "from unsloth import FastLanguageModel\n" + TRL + "config = GRPOConfig()" + TRAIN,
            "unsloth",
            "GRPOTrainer",
        ),
        (
            "from trl import RLOOConfig, RLOOTrainer\nRLOOTrainer('m', [], RLOOConfig())\n",
            "trl",
            "RLOOTrainer",
        ),
        (
            "from trl.experimental.async_grpo import AsyncGRPOConfig, AsyncGRPOTrainer\n"
            "AsyncGRPOTrainer(model='m', args=AsyncGRPOConfig())\n",
            "trl",
            "AsyncGRPOTrainer",
        ),
        (
            "import trl\nclass Mine(trl.GRPOTrainer):\n    pass\nMine(args=trl.GRPOConfig())\n",
            "trl",
            "GRPOTrainer",
        ),
        (
            "import trl\ndef f(size: int):\n    trl.GRPOTrainer(args=trl.GRPOConfig(beta=size))\n",
            "trl",
            "GRPOTrainer",
        ),
        ("import trl\nconfig = trl.GRPOConfig(beta=1)\n", "trl", "GRPOTrainer"),
        ("from trl import GRPOTrainer\nGRPOTrainer('m', [])\n", "trl", "GRPOTrainer"),
    ],
)
def test_which_trainer(tmp_path, script, framework, entry):
    (settings,) = read(tmp_path, script)
    assert (settings.framework, settings.entry) == (framework, entry)


@pytest.mark.parametrize(
    "script",
    [
        "from trl import SFTTrainer\nSFTTrainer()\n",
        "class GRPOConfig: ...\nGRPOConfig()\n",
        "import trl\n",
        "def broken(:\n",
        "x = 1\n",
    ],
)
def test_other_scripts_are_no_configurations(tmp_path, script):
    assert read(tmp_path, script) == []


def test_the_command_lines_of_a_docstring(tmp_path):
    first, second = read(
        tmp_path,
        '''\
        """
        accelerate launch --config_file a.yaml \\\\
            examples/train.py \\\\
            --num_generations 2 --scale_rewards none

        python examples/train.py --loss_type bnpo
        """
        from trl import GRPOConfig, GRPOTrainer, ScriptArguments, TrlParser
        script_args, config = TrlParser((ScriptArguments, GRPOConfig)).parse_args_and_config()
        config.beta = 0.5
        GRPOTrainer(model="m", args=config)
        ''',
    )
    assert first.find("scale_rewards").value == "none"
    assert first.find("num_generations").value == 2
    assert first.find("scale_rewards").where.endswith("train.py:4")
    assert first.find("beta").value == 0.5
    assert second.find("loss_type").value == "bnpo"
    assert second.find("scale_rewards") is None


def test_a_shell_script_that_launches_a_trl_script(tmp_path):
    (tmp_path / "train.py").write_text(
        "from trl import *\n(config,) = TrlParser((GRPOConfig,)).parse_args_and_config()" + TRAIN
    )
    (tmp_path / "run.sh").write_text("accelerate launch train.py --loss_type ${LOSS:-bnpo}\n")
    launched = next(item for item in read_settings(tmp_path) if item.kind == "shell")
    assert (launched.framework, launched.entry) == ("trl", "GRPOTrainer")
    assert launched.find("loss_type").value == "bnpo"
    assert launched.find("loss_type").where.endswith("run.sh:1")
    assert launched.find("scale_rewards") is None


def test_a_notebook(tmp_path):
    cells = [
        {"cell_type": "markdown", "source": ["# GRPO"]},
        {"cell_type": "code", "source": ["!pip install \\\n", "    trl>=1.0\n", TRL]},
        {"cell_type": "code", "source": "%%bash\npip install x"},
        {"cell_type": "code", "source": "%%time\nfiles = !ls\nconfig = GRPOConfig(\n beta=0.1)"},
        {"cell_type": "code", "source": TRAIN},
    ]
    (settings,) = read(tmp_path, json.dumps({"cells": cells}), "a.ipynb")
    assert settings.find("beta").value == 0.1
    assert settings.find("beta").where == f"{tmp_path}/a.ipynb:cell 4:4"
    assert settings.place == f"{tmp_path}/a.ipynb:cell 4:3"


def test_a_cell_that_is_not_python_hides_no_other(tmp_path):
    cells = ["def f(:", TRL + "config = GRPOConfig(beta=0.1)" + TRAIN]
    text = json.dumps({"cells": [{"cell_type": "code", "source": cell} for cell in cells]})
    (tmp_path / "a.ipynb").write_text(text)
    scan = scan_configs(tmp_path)
    assert scan.settings[0].find("beta").value == 0.1
    assert [problem.text for problem in scan.problems] == ["cell 1 is not Python, and left out"]


def test_a_training_script_that_cannot_be_parsed_is_told(tmp_path):
    (tmp_path / "train.py").write_text(TRL + "config = GRPOConfig(beta=0.1\n")
    (tmp_path / "other.py").write_text("print 'Python 2'\n")
    scan = scan_configs(tmp_path)
    assert scan.settings == []
    assert [problem.path for problem in scan.problems] == [str(tmp_path / "train.py")]
    assert "not Python" in scan.problems[0].text


def test_tinker_with_chz_defaults(tmp_path):
    (settings,) = read(
        tmp_path,
        """\
        import asyncio, chz
        from tinker_cookbook.rl import train
        @chz.chz
        class CLIConfig:
            remove_constant: bool = True
            group_size: int = 4
            path: str | None = None
        async def cli_main(cli: CLIConfig):
            config = train.Config(
                remove_constant_reward_groups=cli.remove_constant,
                dataset_builder=Builder(group_size=cli.group_size),
                log_path=cli.path or "/tmp/x",
            )
            await train.main(config)
        if __name__ == "__main__":
            asyncio.run(cli_main(chz.entrypoint(CLIConfig)))
        """,
    )
    assert (settings.framework, settings.entry) == ("tinker", "tinker_cookbook.rl.train")
    assert settings.find("remove_constant_reward_groups").value is True
    assert settings.find("dataset_builder.group_size").value == 4
    assert settings.find("loss_fn") is None
    assert settings.launch == ("the command line (chz.entrypoint)",)


def test_nothing_is_executed(tmp_path):
    marker = tmp_path / "executed"
    trl(
        tmp_path,
        f"""\
        import os, pathlib
        pathlib.Path({str(marker)!r}).write_text("x")
        os.system("touch {marker}")
        config = GRPOConfig(beta=exec("open({str(marker)!r}, 'w')"), x=eval("1+1"))
        """,
    )
    assert not marker.exists()


def missing(settings, key):
    found = settings.find(key)
    return found is not None and not found.is_known


@pytest.mark.parametrize(
    "body",
    [
        # a way out of a function that is taken under an undecided condition
        "import sys\ndef make():\n    if sys.argv[1] == 'a':\n        return GRPOConfig(beta=0.1)\n"
        "    return GRPOConfig(beta=0.0)\nconfig = make()",
        "import sys\ndef make():\n    c = GRPOConfig(beta=0.1)\n    if sys.argv[1]:\n"
        "        return c\n    c.beta = 0.0\n    return c\nconfig = make()",
        "import sys\nbeta = 0.0\nfor x in sys.argv:\n    if x:\n        beta = 0.1\n        break\n"
        "    beta = 0.0\nconfig = GRPOConfig(beta=beta)",
        "import sys\nbeta = 0.0\nfor x in [1, 2]:\n    if sys.argv[x]:\n        beta = 0.1\n"
        "        continue\n    beta = 0.0\nconfig = GRPOConfig(beta=beta)",
        # loops that carry a value from one round to the next
        "import sys\nbeta = 0.1\nfor x in sys.argv:\n    beta = beta * 2\n"
        "config = GRPOConfig(beta=beta)",
        "n = 0\nbeta = 0.1\nwhile n < beta_rounds():\n    n = n + 1\n    beta = beta * 2\n"
        "config = GRPOConfig(beta=beta)",
        "import sys\nconfig = GRPOConfig(beta=0.1)\nfor x in sys.argv:\n    config.beta = float(x)",
        "import sys\nkw = {'beta': 0.1}\nfor x in sys.argv:\n    kw.update({x: 1})\n"
        "config = GRPOConfig(**kw)",
        # errors, patterns, names of other scopes
        "beta = 0.1\ntry:\n    beta = read()\nexcept OSError:\n    beta = 0.0\n"
        "config = GRPOConfig(beta=beta)",
        "beta = 0.1\ntry:\n    work()\n    beta = 0.2\nexcept OSError:\n    pass\n"
        "config = GRPOConfig(beta=beta)",
        "import sys\nbeta = 0.1\nmatch sys.argv[1]:\n    case 'a':\n        beta = 0.0\n"
        "config = GRPOConfig(beta=beta)",
        "import sys\nif sys.argv[1]:\n    def make():\n        return GRPOConfig(beta=0.1)\nelse:\n"
        "    def make():\n        return GRPOConfig(beta=0.0)\nconfig = make()",
        # what changes an object without an assignment to its name
        "import sys\nconfig = GRPOConfig(beta=0.1)\nsetattr(config, sys.argv[1], 0)",
        "import sys\nkw = {'beta': 0.1}\nkw[sys.argv[1]] = 0.0\nconfig = GRPOConfig(**kw)",
        "import sys\nkw = {'beta': 0.1}\nkw.pop(sys.argv[1])\nconfig = GRPOConfig(**kw)",
    ],
)
def test_what_is_not_certain_is_unknown(tmp_path, body):
    assert missing(trl(tmp_path, body), "beta")


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("beta = 0.1\nx = 3\nif 0 < x < 5:\n    beta = 0.0\nconfig = GRPOConfig(beta=beta)", 0.0),
        ("beta = 0.1\nx = 7\nif 0 < x < 5:\n    beta = 0.0\nconfig = GRPOConfig(beta=beta)", 0.1),
        (
            "beta = 0.1\ndef f():\n    global beta\n    beta = 0.0\nf()\n"
            "config = GRPOConfig(beta=beta)",
            0.0,
        ),
        (
            "match 'b':\n    case 'a':\n        x = 0.1\n    case 'b' | 'c':\n        x = 0.0\n"
            "config = GRPOConfig(beta=x)",
            0.0,
        ),
        ("kw = {'beta': 0.1, 'x': 1}\nkw.pop('x')\nconfig = GRPOConfig(**kw)", 0.1),
        ("kw = {'beta': 0.1}\ndel kw['beta']\nconfig = GRPOConfig(**kw)", None),
        ("kw = {'beta': 0.1}\nkw.pop('beta', None)\nconfig = GRPOConfig(**kw)", None),
        ("kw = {'beta': 0.1}\nkw.clear()\nconfig = GRPOConfig(**kw)", None),
        ("kw = {'beta': 0.1}\nkw.setdefault('beta', 0.3)\nconfig = GRPOConfig(**kw)", 0.1),
        ("kw = {}\nkw.setdefault('beta', 0.3)\nconfig = GRPOConfig(**kw)", 0.3),
        ("config = GRPOConfig(beta=0.1)\nsetattr(config, 'beta', 0.0)", 0.0),
        ("a = {'t': {'beta': 0.1}}\na['t']['beta'] = 0.0\nconfig = GRPOConfig(**a['t'])", 0.0),
        ("def tune(c):\n    c.beta = 0.0\nconfig = GRPOConfig(beta=0.1)\ntune(config)", 0.0),
        (
            "def tune(c):\n    c = GRPOConfig(beta=0.0)\nconfig = GRPOConfig(beta=0.1)\n"
            "tune(config)",
            0.1,
        ),
        ("if (beta := 0.2) > 0:\n    pass\nconfig = GRPOConfig(beta=beta)", 0.2),
        ("beta = 0.1\nfor f in [2, 3]:\n    beta = f\nconfig = GRPOConfig(beta=beta)", 3),
        # a name that one way leaves unbound has the value of the other where it is used
        ("try:\n    config = GRPOConfig(beta=0.1)\nexcept ValueError:\n    print('no')", 0.1),
        (
            "TOKEN = None\nif TOKEN is None:\n    raise ValueError\nconfig = GRPOConfig(beta=0.1)",
            0.1,
        ),
        (
            "import sys\nbeta = 0.1\nif sys.argv[1:]:\n    beta = 0.0\n    raise SystemExit\n"
            "config = GRPOConfig(beta=beta)",
            0.1,
        ),
        (
            "import sys\nbeta = 0.1\nif sys.argv[1:]:\n    beta = 0.0\n    sys.exit(1)\n"
            "config = GRPOConfig(beta=beta)",
            0.1,
        ),
    ],
)
def test_what_is_certain_all_the_same(tmp_path, body, expected):
    settings = trl(tmp_path, body)
    found = settings.find("beta")
    assert not settings.missing
    assert (None if found is None else found.value) == expected, found


def test_a_launch_in_a_loop_is_read_for_every_item(tmp_path):
    found = read(
        tmp_path,
        TRL + "for beta in [0.0, 0.1]:\n"
        "    GRPOTrainer(model='m', reward_funcs=[], args=GRPOConfig(beta=beta))\n",
    )
    assert [settings.find("beta").value for settings in found] == [0.0, 0.1]


@pytest.mark.parametrize(
    "body",
    [
        "@dataclass\nclass A(GRPOConfig):\n    beta: float = 0.1\n    def __post_init__(self):\n"
        "        self.beta = self.beta * 2\nconfig = A()",
        "import tyro\nconfig = tyro.cli(GRPOConfig)",
        "import argparse, sys\np = argparse.ArgumentParser()\n"
        "p.add_argument('--beta', default=0.1)\na = p.parse_args(sys.argv[2:])\n"
        "config = GRPOConfig(beta=a.beta)",
    ],
)
def test_what_other_code_fills_in_is_unknown(tmp_path, body):
    assert missing(trl(tmp_path, body), "beta")


def test_the_first_argument_of_a_derived_configuration_is_its_parents(tmp_path):
    settings = trl(
        tmp_path, "class A(GRPOConfig):\n    beta: float = 0.1\nconfig = A('out', loss_type='x')"
    )
    assert settings.find("beta").value == 0.1


def test_a_switch_turned_off_on_a_command_line(tmp_path):
    (tmp_path / "train.py").write_text(
        TRL + "import argparse\np = argparse.ArgumentParser()\n"
        "p.add_argument('--x', action=argparse.BooleanOptionalAction, default=True)\n"
        "a = p.parse_args()\nconfig = GRPOConfig(scale_rewards=a.x)" + TRAIN
    )
    (settings,) = read(tmp_path, "python train.py --no-x\n", "run.sh")
    assert settings.find("scale_rewards").value is False


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        # a call gives back what it changed then, and not again what an earlier call changed
        ("n = 2\ndef f():\n  global n\n  n = 8\nf()\nn = 4\ndef g(): pass\ng()", 4),
        ("n = 2\ndef f():\n  global n\n  n = 8\nif ask():\n  f()\ndef g(): pass\ng()", None),
        ("n = 2\ndef f():\n  global n\n  n = 8\ndef g():\n  f()\ng()", 8),
        # a function sees the module's names, and not those of its caller
        ("n = 4\ndef f():\n  return n\ndef g():\n  n = 8\n  return f()\nn = g()", 4),
        ("def g():\n  n = 8\n  def f():\n    return n\n  return f()\nn = g()", 8),
        # what a function does to an object of the module is done to the object
        ("kw = {'n': 2}\ndef f():\n  kw['n'] = 8\nf()\nn = kw['n']", 8),
        ("kw = {'n': 2}\ndef f():\n  kw = {'n': 8}\nf()\nn = kw['n']", 2),
        # a loop's `else` is for loops that do not break
        ("for n in [4]:\n  break\nelse:\n  n = 9", 4),
        ("for n in [4]:\n  pass\nelse:\n  n = 9", 9),
        ("for n in [4]:\n  if ask(): break\nelse:\n  n = 9", None),
    ],
)
def test_names_belong_to_the_function_that_binds_them(tmp_path, body, expected):
    settings = trl(tmp_path, body + "\nconfig = GRPOConfig(num_generations=n)")
    found = settings.find("num_generations")
    assert (found.value, found.is_known) == (expected, expected is not None)


def test_a_function_may_change_a_configuration_of_the_module(tmp_path):
    body = "config = GRPOConfig(beta=0.1)\ndef f():\n  config.beta = 0.5\nf()"
    assert trl(tmp_path, body).find("beta").value == 0.5


def test_a_cell_with_a_line_that_looks_like_magic_is_python(tmp_path):
    cells = [TRL, "name = ('%s'\n   % 'x')\nconfig = GRPOConfig(beta=0.5)", TRAIN]
    book = {"cells": [{"cell_type": "code", "source": cell} for cell in cells]}
    (settings,) = read(tmp_path, json.dumps(book), "train.ipynb")
    assert settings.find("beta").value == 0.5


def test_a_notebook_that_is_cut_off_is_a_problem(tmp_path):
    path = tmp_path / "train.ipynb"
    path.write_text('{"cells": [{"cell_type": "code", "source": ["from trl import GRPOTrainer\\n"')
    (problem,) = scan_configs(path).problems
    assert problem.path == str(path)


def test_a_trainer_that_is_built_and_run_in_one_line_sees_what_was_assigned_before(tmp_path):
    script = """\
        args = GRPOConfig("out", loss_type="dr_grpo")
        args.scale_rewards = "none"
        GRPOTrainer(model="m", args=args).train()
        """
    (settings,) = read(tmp_path, TRL + textwrap.dedent(script))
    assert settings.find("scale_rewards").value == "none"
