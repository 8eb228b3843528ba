"""What a training configuration says: settings with their place, and what stays unknown.

The readers under `dissensus.audit.configs` produce these values; `dissensus.audit.resolve` turns
them into an answer. Neither side guesses: a value that depends on something outside the file (an
environment variable, a command line, a parent file that is not there) is unknown, and its
`missing` names what decides it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

__all__ = ["FRAMEWORKS", "KINDS", "ConfigProblem", "Setting", "Settings"]

FRAMEWORKS = (
    "trl",
    "unsloth",
    "verl",
    "openrlhf",
    "skyrl",
    "nemo_rl",
    "slime",
    "ms_swift",
    "open_instruct",
    "prime_rl",
    "areal",
    "tinker",
    "roll",
)
"""Names of the frameworks whose configurations are read."""

KINDS = ("python", "shell", "yaml", "toml")
"""How a configuration is written."""


@dataclass(frozen=True)
class Setting:
    """One key of a configuration.

    Args:
        key: The framework's own dotted key. Command line flags have no leading dashes and `_` for
            `-`: `--scale-rewards` is `scale_rewards`.
        value: A str, int, float, bool, list or None (the configuration says null); an empty dict
            for a section without content. None as well when the value is unknown: ask `is_known`
            first.
        where: `file:line` of the text that sets it.
        missing: Names of the variables, arguments or files that decide the value and are not
            there. Empty when the value is known.

    Example:
        >>> Setting("loss_type", None, "run.sh:4", missing=("LOSS",)).is_known
        False
    """

    key: str
    value: Any
    where: str
    missing: tuple[str, ...] = ()

    @property
    def is_known(self) -> bool:
        """Whether the value could be read without guessing."""
        return not self.missing


@dataclass(frozen=True)
class Settings:
    """One training configuration, as far as it can be read without running anything.

    Args:
        framework: One of `FRAMEWORKS`.
        kind: One of `KINDS`.
        target: Path of the file it was read from.
        entry: What is launched: `verl.trainer.main_ppo`, or the trainer class (`GRPOTrainer`).
        values: Settings by key. Nested sections are flattened (`algorithm.adv_estimator`); an
            item of a list of sections has its position as a part (`rewards.0.name`).
        missing: Parents, included files or whole argument lists that are not there. Any key that
            is not in `values` may have been set by them, so it is unknown and not the default.
        version: Version of the framework, where the configuration names it.
        launch: What may still override any key when the training is launched (`"$@"` of a
            script, the command line of a parser), beyond what was read. Nothing is unknown by it.
        line: Line of the launch or of the trainer in the target, from 1; `cell 3:7` is line 7 of
            the third cell of a notebook.

    Example:
        >>> settings = Settings("verl", "shell", "run.sh", "verl.trainer.main_ppo",
        ...     {"trainer.n": Setting("trainer.n", 1, "run.sh:3")})
        >>> settings.find("trainer.n").value, settings.find("algorithm.gamma")
        (1, None)
    """

    framework: str
    kind: str
    target: str
    entry: str
    values: Mapping[str, Setting] = field(default_factory=dict)
    missing: tuple[str, ...] = ()
    version: str | None = None
    launch: tuple[str, ...] = ()
    line: int | str = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "values", MappingProxyType(dict(self.values)))

    def find(self, key: str) -> Setting | None:
        """Return the setting of `key`, or None when the framework's default applies.

        A key that is not set here, while a parent or an argument list is missing, is an unknown
        setting: its `missing` names them. A section that was replaced as a whole by a single
        value (`actor.reward_norm: null`, or one unknown variable) decides every key inside it:
        that setting is returned.
        """
        found = self.values.get(key)
        parts = key.split(".")
        while found is None and len(parts) > 1:
            parts.pop()
            found = self.values.get(".".join(parts))
            if found is not None and found.value == {}:  # an empty section: defaults inside
                found = None
        if found is None and self.missing:
            return Setting(key, None, self.place, missing=self.missing)
        return found

    @property
    def place(self) -> str:
        """`file:line` of the launch or of the trainer."""
        return f"{self.target}:{self.line}"

    def has_section(self, prefix: str) -> bool:
        """Whether any key below `prefix` is set: `actor.reward_norm` has `.mean_level`."""
        return any(key.startswith(prefix + ".") for key in self.values)

    def under(self, prefix: str) -> Iterator[Setting]:
        """Yield the settings whose key is `prefix` or lies below it."""
        for key, setting in self.values.items():
            if key == prefix or key.startswith(prefix + "."):
                yield setting


@dataclass(frozen=True)
class ConfigProblem:
    """A file, or a part of one, that could not be read.

    Args:
        path: The file.
        line: Line of the trouble, from 1; 0 when the whole file is meant.
        text: What is wrong, in one line.

    Example:
        >>> str(ConfigProblem("run.yaml", 7, "not YAML: a tab where spaces belong"))
        'run.yaml:7: not YAML: a tab where spaces belong'
    """

    path: str
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.text}" if self.line else f"{self.path}: {self.text}"
