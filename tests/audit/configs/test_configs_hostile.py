"""Whatever a file holds, reading it neither raises nor hangs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dissensus.audit.configs import scan_configs
from dissensus.audit.settings import FRAMEWORKS, KINDS

# Whatever grows exponentially does not end within this.
pytestmark = pytest.mark.timeout(60)
TRL = "from trl import GRPOConfig, GRPOTrainer\n"
VERL = "\npython3 -m verl.trainer.main_ppo actor_rollout_ref.a.b=$A\n"

BOMBS = {
    "alias_bomb.yaml": "a: &a [x, x, x, x, x, x, x, x, x]\n"
    + "".join(
        f"{b}: &{b} [{', '.join(f'*{a}' for _ in range(9))}]\n"
        for a, b in zip("abcdefgh", "bcdefghi", strict=True)
    )
    + "actor: {kl_ctl: 0, x: *i}\nrollout: {}\n",
    "self_alias.yaml": "a: &a [*a]\n",
    "merge_loop.yaml": "a: &a\n  <<: *a\n",
    "deep_flow.yaml": "a: " + "[" * 200_000,
    "deep_block.yaml": "- " * 200_000 + "x",
    "deep_indent.yaml": "".join(" " * i + "a:\n" for i in range(900)),
    "own_parent.yaml": "defaults: own_parent.yaml\ngrpo: {}\npolicy: {}\n",
    "many.yaml": "actor: {kl_ctl: 0}\nrollout: {}\n" + "".join(f"k{i}: 1\n" for i in range(25_000)),
    "endless.yaml": "actor: {kl_ctl: '${a}'}\nrollout: {}\na: ${b}${b}\nb: ${a}${a}\n",
    "wide_interpolation.yaml": "actor: {kl_ctl: 0, x: '" + "${" * 20_000 + "'}\nrollout: {}\n",
    "growing.yaml": "actor: {kl_ctl: '${x20}'}\nrollout: {}\nx0: aaaaaaaa\n"
    + "".join(f"x{i + 1}: '${{x{i}}}${{x{i}}}'\n" for i in range(20)),
    "python_tag.yaml": "grpo: !!python/object/apply:os.system ['exit 1']\npolicy: {}\n",
    "deep_key.toml": "orchestrator." + ".".join("a" * 100_000) + " = 1\n",
    "deep_array.toml": "x = " + "[" * 100_000,
    "many_tables.toml": "".join(f"[[orchestrator.a]]\nb = {i}\n" for i in range(20_000)),
    "braces.sh": "X=" + "${X:-" * 20_000 + VERL,
    "commands.sh": "X=" + "$(" * 20_000 + VERL,
    "parentheses.sh": "(" * 50_000 + VERL,
    "arithmetic.sh": "X=$((" + "(" * 20_000 + VERL,
    "power.sh": "X=$((9**9**9**9))" + VERL,
    "doubling.sh": "A=aaaaaaaaaaaaaaaa\n" + "A=$A$A\n" * 60 + VERL,
    "doubling_array.sh": "A=(a b)\n" + 'A=("${A[@]}" "${A[@]}")\n' * 60 + VERL,
    "recursion.sh": "f() { f; f; f; }\nf\n" + VERL,
    "launches_itself.sh": "bash launches_itself.sh\nsource launches_itself.sh\n" * 40 + VERL,
    "ifs.sh": "if foo; then\n" * 2_000 + VERL,
    "branches.sh": "".join(f"if foo; then V{i}=1; fi\n" for i in range(6_000)) + VERL,
    "functions.sh": "".join(f"f{i}() {{ f{i + 1}; f{i + 1}; f{i + 1}; }}\n" for i in range(30))
    + "f0\n"
    + VERL,
    "quote.sh": "echo 'never closed" + VERL * 100,
    "heredoc.sh": "cat <<EOF\n" + VERL * 2_000,
    "pattern.sh": "A=" + "a" * 5_000 + "\nB=${A%%" + "*a" * 50 + "b}" + VERL,
    "case.sh": "A=" + "a" * 5_000 + "\ncase $A in " + "*a" * 60 + "b) B=1;; esac" + VERL,
    "words.sh": VERL.strip() + " a.b=1" * 15_000,
    "arrays.sh": "A=(" * 20_000 + VERL,
    "backslashes.sh": "\\" * 100_000 + VERL,
    "backticks.sh": "`" * 50_001 + VERL,
    "deep_python.py": TRL + "x = " + "(" * 5_000,
    "minus.py": TRL + "x = " + "-" * 20_000 + "1\n",
    "dots.py": TRL + "x = a" + ".b" * 20_000 + "()\n",
    "sum.py": TRL + "x = " + "1+" * 20_000 + "1\nGRPOTrainer(args=GRPOConfig(beta=x))\n",
    "not.py": TRL + "if " + "not " * 900 + "x: GRPOTrainer()\n",
    "power.py": TRL + "GRPOTrainer(args=GRPOConfig(beta=9**9**9**9, n='a' * 10**12))\n",
    "doubling.py": TRL + "a = ['x']\n" + "a = a + a\n" * 60 + "GRPOTrainer(args=GRPOConfig(b=a))\n",
    "doubling_dict.py": TRL
    + "a = {'x': 1}\n"
    + "a = {'l': a, 'r': a}\n" * 60
    + "GRPOTrainer(args=GRPOConfig(b=a))\n",
    "doubling_text.py": TRL
    + "a = 'x'\n"
    + "a = f'{a}{a}'\n" * 60
    + "GRPOTrainer(args=GRPOConfig(b=a))\n",
    "recursion.py": TRL + "def f():\n    f(); f(); f()\nf()\nGRPOTrainer()\n",
    "own_base.py": TRL
    + "class A(A): pass\nclass B(C): pass\nclass C(B): pass\nB(); A()\nGRPOTrainer()\n",
    "loops.py": TRL + "for a in b:\n for c in d:\n  while e:\n   GRPOTrainer()\n",
    "ifs.py": TRL + "".join(f"if q{i}:\n    v{i} = 1\n" for i in range(4_000)) + "GRPOTrainer()\n",
    "surrogate.py": TRL + "x = '\\ud800'\nGRPOTrainer(args=GRPOConfig(run_name=x))\n",
    "not_a_notebook.ipynb": "[" * 50_000,
    "odd.ipynb": '{"cells": [1, {"cell_type": "code"}, {"cell_type": "code", "source": 3}]}',
}


@pytest.mark.parametrize("name", BOMBS)
def test_bombs(tmp_path, name):
    (tmp_path / name).write_text(BOMBS[name])
    scan = scan_configs(tmp_path)
    assert scan.files == 1
    assert not [p for p in scan.problems if "could not be understood" in p.text]
    assert all(len(item.values) <= 20_000 for item in scan.settings)


def test_a_script_is_still_read_beside_or_after_a_bomb(tmp_path):
    for name in ("doubling.sh", "doubling_array.sh", "power.sh", "pattern.sh", "backslashes.sh"):
        (tmp_path / name).write_text(BOMBS[name])
    found = {Path(item.target).name for item in scan_configs(tmp_path).settings}
    assert {"doubling.sh", "doubling_array.sh", "power.sh", "pattern.sh"} <= found


@pytest.mark.parametrize("ending", [".sh", ".py", ".yaml", ".toml", ".ipynb"])
@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\0" * 1_000,
        b"\xff\xfe\x00",
        b"\xef\xbb\xbfa: 1",
        bytes(range(256)) * 50,
        b"\r\r\n\x85",
    ],
)
def test_broken_encodings(tmp_path, raw, ending):
    (tmp_path / f"a{ending}").write_bytes(raw)
    assert scan_configs(tmp_path).settings == []


def test_a_configuration_survives_broken_bytes_in_a_comment(tmp_path):
    (tmp_path / "a.sh").write_bytes(b"# \xff\xfe\x80\r\n" + VERL.encode())
    (tmp_path / "b.yaml").write_bytes(b"# \xff\ngrpo: {a: 1}\npolicy: {}\n")
    assert [item.framework for item in scan_configs(tmp_path).settings] == ["verl", "nemo_rl"]


def test_huge_files_pipes_and_links(tmp_path):
    with (tmp_path / "huge.yaml").open("wb") as file:
        file.truncate(10**10)  # sparse: takes no space
    os.mkfifo(tmp_path / "pipe.sh")
    (tmp_path / "folder.yaml").mkdir()
    (tmp_path / "loop").symlink_to(tmp_path)
    (tmp_path / "gone.sh").symlink_to(tmp_path / "nowhere")
    scan = scan_configs(tmp_path)
    assert scan.settings == []
    assert sorted(Path(p.path).name for p in scan.problems) == [
        "gone.sh",
        "huge.yaml",
        "pipe.sh",
    ]


WORDS = """if then else elif fi for in do done while case esac ;; { } ( ) (( )) [[ ]] [ ] && || | ;
& $A ${A ${A:-b} $(echo $(( )) ` ' " \\ \n # <<EOF EOF > < = += ( A= A=( A+=( "$@" $1 $# export
local python3 -m verl.trainer.main_ppo algorithm.adv_estimator=grpo --a --a=b swift rlhf
--rlhf_type grpo trl exit source . bash eval function f() read * ? ! == -z 1 defaults: - a: &a *a
<< : [ ] , ${a} !t x: ' | > --- ... \t grpo: policy: actor_rollout_ref: import trl\n def class
return lambda GRPOTrainer( GRPOConfig( args= ** for x in : ) = , . 1 'a' None if else: \n\x20"""
TOKENS = st.sampled_from(WORDS.replace("\n", " \n ").split(" "))


@pytest.mark.parametrize("ending", [".sh", ".py", ".yaml", ".toml"])
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(parts=st.lists(TOKENS, max_size=60), glue=st.sampled_from([" ", "", "\n"]))
def test_any_arrangement_of_words(tmp_path_factory, ending, parts, glue):
    check(tmp_path_factory, "import trl\n" * (ending == ".py") + glue.join(parts), ending)


@pytest.mark.parametrize("ending", [".sh", ".py", ".yaml", ".toml", ".ipynb"])
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(text=st.text(max_size=200))
def test_any_text(tmp_path_factory, ending, text):
    check(tmp_path_factory, text, ending)


WHOLE = {
    ".sh": 'A=(x.y=1)\nif [ -z "$Q" ]; then B=${C:-2}; fi\nuv run -m verl.trainer.main_ppo \\\n'
    '  algorithm.adv_estimator=grpo actor_rollout_ref.n=$B "${A[@]}" "$@" 2>&1 | tee log\n',
    ".py": TRL + "kw = dict(beta=0.1, **{'loss_type': f'dr_{1}'})\nc = GRPOConfig(**kw)\n"
    "if c:\n    c.x = [1, *kw]\nGRPOTrainer(model='m', args=c)\n",
    ".yaml": "defaults: [x, _self_]\ngrpo: &g {a: '${b.c}', d: [1, {e: 2}]}\npolicy: {<<: *g}\n",
    ".toml": "[orchestrator]\ngroup_size = 8\n[[orchestrator.a]]\nb = {c = [1, 2]}\n",
}


@pytest.mark.parametrize("ending", WHOLE)
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_any_damage_to_a_whole_file(tmp_path_factory, ending, data):
    text = WHOLE[ending]
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(text)))
        until = data.draw(st.integers(at, min(len(text), at + 12)))
        text = text[:at] + data.draw(st.text(max_size=3)) + text[until:]
    check(tmp_path_factory, text, ending)


def check(tmp_path_factory, text, ending):
    path = tmp_path_factory.mktemp("any") / f"a{ending}"
    path.write_text(text, encoding="utf-8", errors="surrogatepass")
    scan = scan_configs(path)
    assert not [p for p in scan.problems if "could not be understood" in p.text], scan.problems
    for item in scan.settings:
        assert item.framework in FRAMEWORKS
        assert item.kind in KINDS
        for key, found in item.values.items():
            assert key == found.key
            assert found.is_known or found.value is None
            assert "\0" not in str(found.value)
            assert ":" in found.where
