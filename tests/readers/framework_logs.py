"""The fixtures of all frameworks, and what must be read from them, computed by hand.

All hold the same rollouts: in the first step a group with a lone correct answer of four and one
that is all correct, in the second a half-correct and an all-wrong one.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

FIXTURES = Path(__file__).parent / "fixtures"

# Advantages of lone-correct and half-correct groups: correct, wrong.
DDOF_1 = ((1.4997, -0.4999), (0.86588, -0.86588))  # /(std + 1e-4): 0.75/0.5001, 0.5/0.57745
LEAVE_ONE_OUT = ((1.0, -0.57735), (1.1547, -1.1547))  # undivided; -1/3 / 0.57735; 2/3 / 0.57735
CENTRED = ((0.75, -0.25), (0.5, -0.5))
SKYRL = ((1.5, -0.5), (0.86602, -0.86602))  # 0.75/0.5, 0.5/0.57735


class FrameworkLog(NamedTuple):
    """A fixture: where it is, how it must be read."""

    path: str
    format: str
    kind: str
    certainty: str
    first_step: int
    advantages: tuple[tuple[float, float], tuple[float, float]] | None = None
    has_prompts: bool = True
    has_lengths: bool = False

    @property
    def folder(self) -> Path:
        return FIXTURES / self.path


LOGS = (
    FrameworkLog("trl/strings", "trl", "consecutive", "likely", 1, DDOF_1),
    FrameworkLog("trl/decoded", "trl", "consecutive", "likely", 1, DDOF_1),
    FrameworkLog("trl/messages", "trl", "consecutive", "likely", 1, DDOF_1),
    FrameworkLog("verl/v1", "verl", "key", "exact", 1),
    FrameworkLog("verl/legacy", "verl-legacy", "prompt", "likely", 1),
    FrameworkLog("nemo_rl", "nemo-rl", "prompt", "likely", 1, LEAVE_ONE_OUT, has_lengths=True),
    FrameworkLog("slime", "slime", "key", "exact", 0),
    FrameworkLog("ms_swift/hf", "ms-swift", "consecutive", "likely", 1, DDOF_1),
    FrameworkLog("ms_swift/megatron", "ms-swift", "consecutive", "likely", 0, DDOF_1),
    FrameworkLog("open_instruct", "open-instruct", "key", "exact", 1, CENTRED),
    FrameworkLog("prime_rl", "prime-rl", "key", "exact", 1),
    FrameworkLog("areal", "areal", "key", "exact", 0),
    FrameworkLog("tinker", "tinker", "key", "exact", 0, has_prompts=False, has_lengths=True),
    FrameworkLog("roll", "roll", "prompt", "likely", 1),
)
"""Logs with rewards. SkyRL's has none and is tested by itself."""
