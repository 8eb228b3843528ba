"""Turn the commands that a script would run into training configurations."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from dissensus.audit.configs.arguments import Argument, Arguments, read_arguments
from dissensus.audit.configs.compose import find_upwards, set_path
from dissensus.audit.configs.detect import Detected, detect_keys, detect_tree
from dissensus.audit.configs.entry_module import entry_config
from dissensus.audit.configs.interpolation import Root, resolve_value
from dissensus.audit.configs.launch_entries import Entry, find_entry
from dissensus.audit.configs.mapping_config import load_tree, settings_from_tree
from dissensus.audit.configs.python_script import read_python_launch
from dissensus.audit.configs.scalars import unique
from dissensus.audit.configs.shell_follow import FILE_STEP, Followed
from dissensus.audit.configs.shell_values import Field
from dissensus.audit.configs.yaml_tree import Tree, YamlError, flatten, parse_yaml
from dissensus.audit.settings import ConfigProblem, Setting, Settings

__all__ = ["settings_from_commands"]

_OWN_ENTRY = re.compile(r"verl\.trainer\.|skyrl(_train)?\.(train\.)?entrypoints\.|openrlhf\.cli\.")
_NO_TRAINING = re.compile(r"(?:.*[/.])?open_instruct[/.]benchmark_\w+(?:\.py)?")
_CONFIG_FLAGS = ("config", "config_file_path", "cfg")
_NO_VALUES: frozenset[str] = frozenset()


class Launches(NamedTuple):
    """The configurations of a script's commands, and what will not do what it looks like."""

    settings: list[Settings]
    problems: list[ConfigProblem]


def settings_from_commands(followed: Followed, target: Path) -> Launches:
    """Return one configuration per training command, in the order of the commands."""
    found = Launches([], [])
    has_program = False
    for command in followed.commands:
        entry = find_entry(command.fields)
        if entry is None or len(found.settings) >= 200:
            continue
        has_program = True
        place = _Place(followed.files, target, command.line)
        reader = _Reader(entry, command.fields[entry.after :], place, followed)
        read = reader.read()
        # the rounds of a loop that differ in no setting are one configuration
        found.settings.extend(item for item in read if item not in found.settings)
        found.problems.extend(reader.problems)
        if not read and reader.absent and reader.is_found:
            what = f"`{entry.name}` names the configuration {reader.absent}, which is not there"
            found.problems.append(_problem(place, command.line, what))
    for line, name in followed.lost[:20] if has_program else []:
        what = f"`{name}` stands alone: the command before it has already ended"
        found.problems.append(_problem(_Place(followed.files, target, line), line, what))
    for line, name in followed.absent[:20] if found.settings else []:
        what = f"`source {name}`: there is no such file, and what it sets is unknown"
        found.problems.append(_problem(_Place(followed.files, target, line), line, what))
    if found.settings and not followed.is_complete:
        found.problems.append(ConfigProblem(str(target), 0, "too long to follow to its end"))
    return found


def _problem(place: _Place, line: int, what: str) -> ConfigProblem:
    path, _, number = place.where(line).rpartition(":")
    return ConfigProblem(path, int(number), what)


def _beside(folder: str | None) -> list[str]:
    """Return the folders, relative to a script, in which a named configuration may lie."""
    if not folder:
        return ["", "config"]
    # packages that are kept outside of the repository in whose `recipe` folder they are used
    return [folder, f"{folder}/config", *([folder[7:]] if folder.startswith("recipe/") else [])]


@dataclass(frozen=True)
class _Place:
    files: list[Path]
    target: Path
    line: int

    def where(self, line: int) -> str:
        index, number = divmod(line or self.line, FILE_STEP)
        path = self.target if index == 0 else self.files[min(index, len(self.files) - 1)]
        return f"{path}:{number}"


class _Reader:
    """Reads one training command."""

    def __init__(
        self, entry: Entry, fields: Sequence[Field], place: _Place, followed: Followed
    ) -> None:
        self.entry, self.place, self.followed = entry, place, followed
        flags_only = entry.framework in {"openrlhf", "ms_swift", "open_instruct", "trl"}
        self.found = read_arguments(fields, dotted=not flags_only)
        if entry.framework is None and detect_keys(self.found.overrides, _NO_VALUES) is None:
            self.found = self._as_flags(fields)
        self.folder = place.target.parent
        self.absent = ""
        self.is_found = False
        self.problems: list[ConfigProblem] = []

    def _as_flags(self, fields: Sequence[Field]) -> Arguments:
        """Read again as plain flags when nothing but the flags tells the framework."""
        plain = read_arguments(fields, dotted=False)
        return plain if detect_keys(_NO_VALUES, plain.flags) else self.found

    def read(self) -> list[Settings]:
        framework = self.entry.framework
        if framework == "ms_swift":
            return self._ms_swift()
        if framework == "trl":
            return [self._trl(self.entry.name)]
        if framework == "prime_rl":
            return self._prime_rl()
        if framework is not None:
            return [self._settings(framework, self.found.flags)]
        return self._by_content()

    def _by_content(self) -> list[Settings]:
        """Read a command whose program is a script of the user's."""
        if _NO_TRAINING.fullmatch(self.entry.name):
            return []
        framework = detect_keys(self.found.overrides, self.found.flags)
        if framework in {"ms_swift", "slime", "open_instruct"}:
            if framework == "ms_swift":
                return self._ms_swift()
            return [self._settings(framework, self.found.flags)]
        script = self._entry_file()
        tree, missing = self._config(script)
        self.absent, self.is_found = ", ".join(missing), script is not None
        if tree is not None:
            composed = self._on_tree(tree, missing)
            if composed is not None:
                return [composed]
        if framework is not None:
            settings = self._settings(framework, self.found.overrides, missing)
            return [settings]
        if script is not None:
            return self._script(script, tree, missing)
        return []

    def _script(self, script: Path, tree: Tree | None, missing: tuple[str, ...]) -> list[Settings]:
        """Read the script that a command runs; its flags win over the file it names."""
        place, arguments = self.place, self.found
        if tree is not None:
            arguments = replace(arguments, flags={**self._recipe(tree), **arguments.flags})
        read = read_python_launch(script, arguments, place.target, place.where, self.problems)
        return [
            replace(item, line=place.line % FILE_STEP, missing=unique(item.missing, missing))
            for item in read
        ]

    def _recipe(self, tree: Tree) -> dict[str, Argument]:
        """Return the settings of a file as flags whose lines are counted as its own."""
        files = self.followed.files
        found: dict[str, Argument] = {}
        for key, node in flatten(tree):
            name, _, line = node.where.rpartition(":")
            path = Path(name)
            if path not in files:
                files.append(path)
            value = node.value
            if isinstance(value, list):
                value = [item.value for item in value]
            found[key] = Argument(value, files.index(path) * FILE_STEP + int(line), node.missing)
        return found

    def _settings(
        self, framework: str, values: dict[str, Argument], missing: tuple[str, ...] = ()
    ) -> Settings:
        root = self._root(values)
        made = {}
        for key, item in values.items():
            value, names = item.value, item.missing
            if root is not None and isinstance(value, str) and "${" in value:
                value, names = resolve_value(Tree(value, ""), key, root)
            made[key] = Setting(key, value, self.place.where(item.line), names)
        return Settings(
            framework,
            "shell",
            str(self.place.target),
            self.entry.name,
            made,
            unique(self.found.missing, missing),
            launch=self.found.launch,
            line=self.place.line % FILE_STEP,
        )

    @staticmethod
    def _root(values: dict[str, Argument]) -> Root | None:
        """Return what the `${…}` of overrides refer to; None where there are none."""
        if not any(isinstance(item.value, str) and "${" in item.value for item in values.values()):
            return None
        tree = Tree({}, "")
        for key, item in values.items():
            set_path(tree, key, _node(item, ""))
        return Root(tree)

    def _ms_swift(self) -> list[Settings]:
        config = self.found.flag("config")
        tree = self._load(config) if config else None
        if tree is not None:
            self._tell_ignored(config or "")
            composed = self._on_tree(tree[0], tree[1])
            return [composed] if composed is not None else []
        named = next((w for w in self.found.words[:1] if w.endswith((".yaml", ".yml"))), None)
        tree = self._load(named) if named else None
        if tree is not None and isinstance(tree[0].value, dict):
            for key, item in self.found.flags.items():  # they come behind the file's keys
                set_path(tree[0], key, _node(item, self.place.where(item.line)))
            composed = self._on_tree(tree[0], tree[1])
            return [composed] if composed is not None else []
        given = self.found.flags.get("rlhf_type")
        if given is None or (given.value != "grpo" and not given.missing):
            return []  # swift's default is another method
        absent = tuple(name for name in (config, named) if name)
        return [self._settings("ms_swift", self.found.flags, absent)]

    def _tell_ignored(self, config: str) -> None:
        """Report flags that ms-swift's launch by Ray does not read."""
        ignored = [f"--{name}" for name in self.found.flags if name not in {"config", "use_ray"}]
        if ignored:
            what = f"beside --config {config} ms-swift does not read {', '.join(ignored[:5])}"
            self.problems.append(_problem(self.place, self.place.line, what))

    def _trl(self, trainer: str) -> Settings:
        config = self.found.flag("config")
        tree = self._load(config) if config else None
        missing = (config,) if config and tree is None else ()
        settings = self._settings("trl", self.found.flags, missing)
        if tree is None:
            return Settings(**{**vars(settings), "entry": trainer})
        base = settings_from_tree(
            self.place.target, tree[0], Detected("trl", trainer), tree[1], kind="shell"
        )
        merged = {**base.values, **settings.values}
        return Settings(**{**vars(settings), "entry": trainer, "values": merged})

    def _prime_rl(self) -> list[Settings]:
        names = [word for word in self.found.words if word.endswith(".toml")]
        names += [value for value in (self.found.flag("@"),) if value]
        values: dict[str, Setting] = {}
        missing: list[str] = []
        for name in names:
            loaded = self._load(name)
            if loaded is None:
                missing.append(name)
                continue
            detected = Detected("prime_rl", "rl")
            read = settings_from_tree(self.place.target, loaded[0], detected, (), kind="shell")
            values.update(read.values)
        settings = self._settings("prime_rl", self.found.flags, tuple(missing))
        return [Settings(**{**vars(settings), "values": {**values, **settings.values}})]

    def _config(self, script: Path | None) -> tuple[Tree | None, tuple[str, ...]]:
        """Return the YAML that the command names, or that its program names."""
        direct = self.found.flag(*_CONFIG_FLAGS)
        if direct and direct.endswith((".yaml", ".yml")):
            loaded = self._load(direct)
            return loaded if loaded is not None else (None, (direct,))
        name = self.found.flag("config_name", "cn")
        folder = self.found.flag("config_path", "config_dir", "cp")
        unknown = [
            flag for flag in ("config", "config_name", "config_path") if flag in self.found.flags
        ]
        for flag in unknown:
            if self.found.flags[flag].missing:
                return None, self.found.flags[flag].missing
        if name is None and folder is None and script is not None:
            return self._entry_config(script)
        if name is None or (folder is None and script is None):
            return None, ()
        return self._named(name, folder, script)

    def _entry_config(self, script: Path) -> tuple[Tree | None, tuple[str, ...]]:
        if _OWN_ENTRY.match(self.entry.name):
            return None, ()  # the framework's own defaults
        path = entry_config(script)
        if path is None:
            return None, ()
        loaded = load_tree(path)
        return loaded if loaded is not None else (None, ())

    def _named(
        self, name: str, folder: str | None, script: Path | None
    ) -> tuple[Tree | None, tuple[str, ...]]:
        file_name = name if name.endswith((".yaml", ".yml")) else f"{name}.yaml"
        is_own = re.fullmatch(r"ppo(_\w+)?_trainer\.yaml", file_name) is not None
        if is_own and (folder is None or folder in {"config", "./config"}):
            return None, ()
        if folder is not None:
            folder = folder.removeprefix("./")
        starts = [script.parent] if script is not None else []
        for start in (*starts, self.folder):
            for beside in _beside(folder):
                path = find_upwards(start, f"{beside}/{file_name}" if beside else file_name)
                loaded = load_tree(path) if path is not None else None
                if loaded is not None:
                    return loaded
        return None, (() if is_own else (f"{folder or 'config'}/{file_name}",))

    def _load(self, name: str) -> tuple[Tree, tuple[str, ...]] | None:
        written = self.followed.written.get(name)
        if written is not None and name.endswith((".yaml", ".yml")):
            try:
                return parse_yaml(written[0], str(self.place.target), written[1]), ()
            except YamlError:
                return None
        path = find_upwards(self.folder, name)
        return load_tree(path) if path is not None else None

    def _entry_file(self) -> Path | None:
        name = self.entry.name
        if not name.endswith(".py"):
            name = name.replace(".", "/") + ".py"
        beside = find_upwards(self.folder, name)
        if beside is not None:
            return beside
        for prefix in ("recipe/", "examples/"):  # packages that live elsewhere in their repository
            if name.startswith(prefix):
                return find_upwards(self.folder, name.removeprefix(prefix))
        return None

    def _on_tree(self, tree: Tree, missing: tuple[str, ...]) -> Settings | None:
        """Put the overrides of the command line on the configuration that it names."""
        if not isinstance(tree.value, dict):
            return None
        for key, item in self.found.overrides.items():
            name = key.partition("@")[0]
            if "/" in key:
                continue
            set_path(tree, name, _node(item, self.place.where(item.line)))
        found = detect_tree(tree)
        if found is None:
            return None
        if found.framework == "trl":  # whose parser reads the file first, and then the flags
            for key, item in self.found.flags.items():
                if key not in _CONFIG_FLAGS:
                    set_path(tree, key, _node(item, self.place.where(item.line)))
        everything = unique(self.found.missing, missing)
        settings = settings_from_tree(
            self.place.target,
            tree,
            found,
            everything,
            kind="shell",
            line=self.place.line % FILE_STEP,
        )
        entry = self.entry.name
        return Settings(**{**vars(settings), "entry": entry, "launch": self.found.launch})


def _node(item: Argument, where: str) -> Tree:
    value = item.value
    if isinstance(value, list):
        value = [Tree(each, where) for each in value]
    return Tree(value, where, item.missing)
