"""Which word of a command names the training program that it launches."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from dissensus.audit.configs.shell_values import HOLE, Field

__all__ = ["Entry", "find_entry"]

_PYTHON_FILE = re.compile(r"[^\s=]*\.py\Z")
_OPENRLHF = re.compile(r"openrlhf\.(cli|trainer)\.train_ppo\w*")
_OPEN_INSTRUCT = re.compile(r"(?:.*[/.])?grpo\w*(?:\.py)?")
_WRAPPERS = {"mason.py"}
_SWITCHES = {"--", "--active", "--frozen", "--isolated", "--locked", "--no-project", "--no-sync"}
_TRL_COMMANDS = {"grpo": "GRPOTrainer", "rloo": "RLOOTrainer"}


@dataclass(frozen=True)
class Entry:
    """Where a command names what it launches: the word, and the position behind it."""

    name: str
    after: int
    framework: str | None = None


def find_entry(fields: Sequence[Field]) -> Entry | None:
    """Return what a command launches: a known program, else the first that could be one."""
    texts = [field.text for field in fields]
    fallback: Entry | None = None
    for at, text in enumerate(texts):
        entry = _two_words(texts, at)
        if entry is None and _is_program(texts, at):
            name = text.replace(HOLE, "…")
            entry = _known_program(name, at + 1)
            if fallback is None and name.rsplit("/", 1)[-1] not in _WRAPPERS:
                fallback = Entry(name, at + 1)
        if entry is not None:
            return entry
    return fallback


def _two_words(texts: list[str], at: int) -> Entry | None:
    """Return the entry that a pair such as `swift rlhf` names."""
    pair = (texts[at].rsplit("/", 1)[-1], texts[at + 1] if at + 1 < len(texts) else "")
    if pair in {("swift", "rlhf"), ("megatron", "rlhf")}:
        return Entry(" ".join(pair), at + 2, "ms_swift")
    if pair[0] == "trl" and pair[1] in _TRL_COMMANDS:
        return Entry(_TRL_COMMANDS[pair[1]], at + 2, "trl")
    if texts[at] == "rl" and "@" in texts[at:]:
        return Entry("rl", at + 1, "prime_rl")
    return None


def _is_program(texts: list[str], at: int) -> bool:
    """Return whether a word is a module behind `-m`, or a Python file that is no flag's value."""
    before = texts[at - 1] if at else ""
    if before in {"-m", "--module"}:
        return "." in texts[at]
    if not _PYTHON_FILE.match(texts[at]):
        return False
    is_value = before.startswith("--") and "=" not in before and before not in _SWITCHES
    return not is_value or _known_program(texts[at], at) is not None


def _known_program(name: str, after: int) -> Entry | None:
    if _OPENRLHF.fullmatch(name):
        return Entry(name, after, "openrlhf")
    if name.endswith("swift/cli/rlhf.py"):
        return Entry("swift rlhf", after, "ms_swift")
    if "open_instruct" in name and _OPEN_INSTRUCT.fullmatch(name):
        return Entry(name, after, "open_instruct")
    return None
