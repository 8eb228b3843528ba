"""Dissensus: group-relative RL learns only where a prompt's sampled answers disagree."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dissensus.core import advantages, laws
    from dissensus.core.groups import RewardGroups
    from dissensus.runs import Recorder, Run

__version__ = "0.1.0"

__all__ = ["Recorder", "RewardGroups", "Run", "__version__", "advantages", "laws"]

_LAZY = {
    "Recorder": "dissensus.runs",
    "RewardGroups": "dissensus.core.groups",
    "Run": "dissensus.runs",
    "advantages": "dissensus.core.advantages",
    "laws": "dissensus.core.laws",
}


def __getattr__(name: str) -> Any:
    # Lazy, so that `import dissensus` stays fast and pulls in nothing that is not used.
    if name not in _LAZY:
        raise AttributeError(f"module 'dissensus' has no attribute {name!r}")
    module = importlib.import_module(_LAZY[name])
    return module if _LAZY[name].endswith(f".{name}") else getattr(module, name)


def __dir__() -> list[str]:
    return sorted(__all__)
