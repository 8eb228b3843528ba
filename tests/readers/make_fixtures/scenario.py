"""The rollouts that every framework's fixture holds, and a way to import writers without a GPU.

Two steps of two groups of four: lone correct, all correct, half correct, all wrong.
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import sys
from typing import Any, NamedTuple
from unittest.mock import MagicMock


class Group(NamedTuple):
    step: int
    prompt: str
    answer: str
    rewards: tuple[float, ...]


GROUPS = (
    Group(1, "What is 2 + 2 ?", "4", (1.0, 0.0, 0.0, 0.0)),
    Group(1, "What is 3 + 4 ?", "7", (1.0, 1.0, 1.0, 1.0)),
    Group(2, "What is 2 + 2 ?", "4", (1.0, 1.0, 0.0, 0.0)),
    Group(2, "What is 9 - 9 ?", "0", (0.0, 0.0, 0.0, 0.0)),
)
GROUP_SIZE = 4


def completion(group: Group, i: int) -> str:
    """Text of rollout `i`: right answers are the reference, wrong ones are not numbers."""
    return f"It is {group.answer if group.rewards[i] else 'word' + 'abcd'[i]}"


def of_step(step: int) -> list[Group]:
    return [group for group in GROUPS if group.step == step]


class _Stub(MagicMock):
    """A class of an absent package: can be inherited from, called and subscripted."""

    def __mro_entries__(self, bases: Any) -> tuple[type, ...]:
        return (object,)


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Comes last: what no other finder knows is a stub, except what these packages look for."""

    def __init__(self, real: tuple[str, ...]) -> None:
        self.real = real

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> Any:
        top = fullname.partition(".")[0]
        if top in self.real or top in sys.stdlib_module_names or top.startswith("_"):
            return None
        return importlib.machinery.ModuleSpec(fullname, self, is_package=True)

    def create_module(self, spec: Any) -> Any:
        module = _Stub(name=spec.name)
        module.__spec__ = spec
        module.__path__ = []
        module.__name__ = spec.name
        module.__version__ = "999.0.0"
        return module

    def exec_module(self, module: Any) -> None:
        pass


def stub_what_is_absent(*real: str) -> None:
    """Let packages be absent that the writer's module imports but the writer does not use.

    Args:
        real: Packages whose optional parts must stay absent, because they ask for them.
    """
    for name in (
        "regex",
        "sympy",
        "scipy.stats",
        "pandas",
        "torch.utils.data",
        "transformers",
        "datasets",
        "accelerate",
    ):
        importlib.import_module(name)  # these look for optional packages of their own

    sys.meta_path.append(
        _Finder(
            (
                "torch",
                "numpy",
                "torch_mlu",
                "torch_npu",
                "torch_musa",
                "triton",
                "ck4inductor",
                "cutlass",
                "flash_attn",
                "sitecustomize",
                *real,
            )
        )
    )
