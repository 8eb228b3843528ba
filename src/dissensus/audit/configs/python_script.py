"""Settings from Python training scripts: TRL, Unsloth and tinker-cookbook."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from dissensus.audit.configs.arguments import Argument, Arguments, read_arguments
from dissensus.audit.configs.entry_module import parse_python
from dissensus.audit.configs.notebook import read_cells
from dissensus.audit.configs.python_follow import CommandLine, Site, follow_python
from dissensus.audit.configs.python_values import Known, Object, Unknown, Value, missing_of, plain
from dissensus.audit.configs.scalars import unique
from dissensus.audit.configs.shell_follow import follow_script
from dissensus.audit.configs.text import read_text
from dissensus.audit.settings import ConfigProblem, Setting, Settings

__all__ = ["read_notebook", "read_python", "read_python_launch"]

_TRAINER = re.compile(r"(?:\w*GRPO\w*|\w*RLOO|GFPO\w*|GSPO\w*)Trainer")
_CONFIG = re.compile(r"(?:\w*GRPO\w*|\w*RLOO|GFPO\w*|GSPO\w*)Config")
_TINKER = re.compile(r"tinker_cookbook\.rl\.train\.Config")
_WORTH = re.compile(r"^[ \t]*(?:from|import)[ \t]+(?:trl|unsloth|tinker_cookbook)\b", re.MULTILINE)
_WORTH_QUOTED = re.compile(r"\"(?:from|import)[ ]+(?:trl|unsloth|tinker_cookbook)\b")
_VERSION = re.compile(r"[\"'](?:trl|unsloth|tinker[-_]cookbook)(?:\[[\w,]*\])?==([\w.]+)[\"']")
_UNSLOTH = re.compile(r"^[ \t]*(?:from|import)[ \t]+unsloth\b", re.MULTILINE)
_MAX_SETTINGS = 2_000


def read_python(path: Path, text: str, problems: list[ConfigProblem]) -> list[Settings]:
    """Return the training configurations that a script builds.

    A script that takes its configuration from the command line, and shows command lines in its
    docstring, is read once for each of them.
    """
    if not _WORTH.search(text):
        return []
    module = parse_python(text)
    if module is None:
        problems.append(ConfigProblem(str(path), 0, "not Python that can be parsed"))
        return []
    shown = _docstring_launches(path, module, text, problems)
    if shown:
        return shown
    script = _Script(module, text, "python", str(path), lambda line: f"{path}:{line}")
    return _settings(script, None, problems)


def read_notebook(path: Path, text: str, problems: list[ConfigProblem]) -> list[Settings]:
    """Return the training configurations that a notebook builds; its lines name their cell."""
    book = read_cells(text)
    module = parse_python(book.text) if _WORTH.search(book.text) else None
    if not book.places and _WORTH_QUOTED.search(text):
        problems.append(ConfigProblem(str(path), 0, "not a notebook with cells that can be read"))
    if module is None:
        return []
    odd = (f"cell {number} is not Python, and left out" for number in book.odd)
    problems.extend(ConfigProblem(str(path), 0, what) for what in odd)
    script = _Script(
        module, book.text, "python", str(path), lambda line: f"{path}:{book.place(line)}"
    )
    found = _settings(script, None, problems)
    return [replace(item, line=book.place(int(item.line))) for item in found]


def read_python_launch(
    script: Path,
    arguments: Arguments,
    target: Path,
    where: Callable[[int], str],
    problems: list[ConfigProblem],
) -> list[Settings]:
    """Return the configurations of a script as a command line in `target` launches it."""
    text = read_text(script)
    if text is None or not _WORTH.search(text):
        return []
    module = parse_python(text)
    if module is None:
        problems.append(ConfigProblem(str(script), 0, "not Python that can be parsed"))
        return []
    flags = _as_values(arguments)

    def place(line: int) -> str:
        return where(-line) if line < 0 else f"{script}:{line}"

    launched = _Script(module, text, "shell", str(target), place)
    found = _settings(launched, CommandLine(flags), problems)
    missing, launch = arguments.missing, arguments.launch
    return [
        replace(item, missing=unique(item.missing, missing), launch=unique(item.launch, launch))
        for item in found
    ]


def _as_values(arguments: Arguments) -> dict[str, Value]:
    """Return flags and overrides as values; their lines are negative, to tell the files apart."""
    given = {**arguments.flags, **arguments.overrides}
    return {name: _value(item) for name, item in given.items()}


def _value(item: Argument) -> Value:
    if item.missing:
        return Unknown(item.missing, -item.line)
    if isinstance(item.value, list):
        return Known([Known(entry, -item.line) for entry in item.value], -item.line)
    return Known(item.value, -item.line)


def _docstring_launches(
    path: Path, module: ast.Module, text: str, problems: list[ConfigProblem]
) -> list[Settings]:
    """Read the command lines in a script's docstring that launch the script itself."""
    docstring = ast.get_docstring(module, clean=False)
    if not docstring or not re.search(r"Parser|argparse|entrypoint", text):
        return []
    line = module.body[0].lineno
    kept = "\n".join("" if row.lstrip().startswith("```") else row for row in docstring.split("\n"))
    followed = follow_script(path, kept, line)
    found: list[Settings] = []
    for command in followed.commands:
        names = [field.text.rsplit("/", 1)[-1] for field in command.fields]
        if path.name not in names:
            continue
        rest = command.fields[names.index(path.name) + 1 :]
        arguments = read_arguments(rest, dotted=False)
        launched = read_python_launch(
            path, arguments, path, lambda line: f"{path}:{line}", problems
        )
        for item in launched:
            if not any(_says_the_same(item, other) for other in found):
                found.append(replace(item, kind="python", line=command.line))
    return found


def _says_the_same(left: Settings, right: Settings) -> bool:
    def content(settings: Settings) -> dict[str, object]:
        return {key: (item.value, item.missing) for key, item in settings.values.items()}

    return content(left) == content(right) and left.missing == right.missing


@dataclass(frozen=True)
class _Script:
    """A parsed script, how it is launched, and how its lines are named."""

    module: ast.Module
    text: str
    kind: str
    target: str
    place: Callable[[int], str]


def _settings(
    script: _Script, command_line: CommandLine | None, problems: list[ConfigProblem]
) -> list[Settings]:
    classes = {node.name: node for node in script.module.body if isinstance(node, ast.ClassDef)}
    aliases = _trainer_names(classes)

    def is_site(dotted: str) -> bool:
        last = dotted.rsplit(".", 1)[-1]
        return bool(
            _TRAINER.fullmatch(last)
            or _CONFIG.fullmatch(last)
            or last in aliases
            or _TINKER.fullmatch(dotted)
        )

    sites, command_lines, is_complete = follow_python(script.module, is_site, command_line)
    if not is_complete:
        problems.append(ConfigProblem(script.target, 0, "too long to follow to its end"))
    version = _VERSION.search(script.text)
    framework = "unsloth" if _UNSLOTH.search(script.text) else "trl"
    found: list[Settings] = []
    for entry, config in _chosen(sites, aliases):
        is_tinker = bool(_TINKER.fullmatch(config.cls))
        found.append(
            Settings(
                "tinker" if is_tinker else framework,
                script.kind,
                script.target,
                "tinker_cookbook.rl.train" if is_tinker else entry,
                _flatten(config, script.place),
                config.open,
                version.group(1) if version else None,
                command_lines,
                max(config.line, 1),
            )
        )
    return found


def _trainer_names(classes: Mapping[str, ast.ClassDef]) -> dict[str, str]:
    """Return classes of the script that stand for a trainer or config, with what they extend."""
    names: dict[str, str] = {}
    for _ in range(3):
        for name, node in classes.items():
            for base in node.bases:
                last = (
                    ast.unparse(base).rsplit(".", 1)[-1]
                    if isinstance(base, ast.Name | ast.Attribute)
                    else ""
                )
                last = names.get(last, last)
                if _TRAINER.fullmatch(last) or _CONFIG.fullmatch(last):
                    names[name] = last
    return names


def _chosen(sites: list[Site], aliases: Mapping[str, str]) -> list[tuple[str, Object]]:
    """Return (trainer class, configuration) for each trainer; configurations alone without one."""
    chosen: list[tuple[str, Object]] = []
    configs: list[Object] = []
    for site in sites:
        last = site.cls.rsplit(".", 1)[-1]
        base = aliases.get(last, last)
        if _TRAINER.fullmatch(base):
            chosen.append((base, _config_of(site)))
        else:
            configs.append(site.result)
    if chosen:
        tinker = [("", config) for config in configs if _TINKER.fullmatch(config.cls)]
        return _distinct([*chosen, *tinker])
    named = []
    for config in configs:
        last = config.cls.rsplit(".", 1)[-1]
        named.append((aliases.get(last, last).replace("Config", "Trainer"), config))
    return _distinct(named)


def _distinct(pairs: list[tuple[str, Object]]) -> list[tuple[str, Object]]:
    kept: list[tuple[str, Object]] = []
    for pair in pairs:
        if pair not in kept:
            kept.append(pair)
    return kept[:100]


def _config_of(site: Site) -> Object:
    """Return the configuration that a trainer is given; without one, its defaults."""
    given: Value | None = site.keywords.get("args")
    if given is None and len(site.positional) > 2:
        given = site.positional[2]
    if isinstance(given, Object):
        return replace(given, line=given.line or site.line)
    if given is None or (isinstance(given, Known) and given.value is None):
        return replace(site.result, fields={}, cls="", open=site.result.open)
    return Object("", {}, missing_of(given) or ("args",), site.line)


def _flatten(config: Object, place: Callable[[int], str]) -> dict[str, Setting]:
    """Return the fields as settings; an object inside gives dotted keys."""
    made: dict[str, Setting] = {}
    stack: list[tuple[str, Value, int]] = [("", config, 0)]
    while stack and len(made) < _MAX_SETTINGS:
        key, value, depth = stack.pop()
        if isinstance(value, Object) and depth < 6:
            dotted = f"{key}." if key else ""
            inner = [(dotted + name, item, depth + 1) for name, item in value.fields.items()]
            stack.extend(reversed(inner))
            if not key or inner:
                continue
        line = value.line or config.line or 1
        names = () if isinstance(value, Object) else missing_of(value)
        result = value.cls if isinstance(value, Object) else None if names else plain(value)
        made[key] = Setting(key, result, place(line), names)
    return made
