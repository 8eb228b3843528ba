"""Walk a file or a folder and read every training configuration in it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from dissensus.audit.configs.launches import settings_from_commands
from dissensus.audit.configs.mapping_config import load_tree, read_toml, read_yaml
from dissensus.audit.configs.python_script import read_notebook, read_python
from dissensus.audit.configs.shell_follow import follow_script
from dissensus.audit.configs.text import read_text, why_unreadable
from dissensus.audit.settings import ConfigProblem, Settings

__all__ = ["CONFIG_ENDINGS", "Scan", "config_files", "scan_configs"]

_SHELL = {".sh", ".bash", ".slurm", ".sbatch", ".sub"}
_KIND_BY_ENDING = {
    **dict.fromkeys(_SHELL, "shell"),
    ".py": "python",
    ".ipynb": "notebook",
    ".yaml": "yaml",
    ".yml": "yaml",
    ".toml": "toml",
}
CONFIG_ENDINGS = frozenset(_KIND_BY_ENDING)
"""How the names of files end that may hold a configuration."""

_SKIPPED = {
    ".git",
    ".hg",
    ".svn",
    ".venv",
    "venv",
    "node_modules",
    "__pycache__",
    ".mypy_cache",
    ".pytest_cache",
    ".ruff_cache",
    ".tox",
    "site-packages",
    "wandb",
}
_RUN_KEY = re.compile(r"^run:", re.MULTILINE)
_MAX_FILES = 100_000
_MAX_DEPTH = 40


class Scan(NamedTuple):
    """What was read.

    Args:
        settings: The configurations, in the order of their paths.
        problems: What could not be read, or will not do what it looks like.
        files: Files that were looked at.
    """

    settings: list[Settings]
    problems: list[ConfigProblem]
    files: int


def scan_configs(path: str | Path) -> Scan:
    """Read every training configuration in a file or below a folder; never raises."""
    settings: list[Settings] = []
    problems: list[ConfigProblem] = []
    files = 0
    for file in config_files(Path(path), problems):
        files += 1
        settings.extend(_read_file(file, problems))
    return Scan(settings, problems, files)


def config_files(path: Path, problems: list[ConfigProblem]) -> Iterator[Path]:
    """Yield the files that may be configurations, in order; links are not followed."""
    try:
        is_folder = path.is_dir()
    except (OSError, ValueError):
        is_folder = False
    if not is_folder:
        yield path
        return
    count = 0
    for folder, names, files in os.walk(path, onerror=lambda error: _note(problems, error)):
        depth = len(Path(folder).parts) - len(path.parts)
        names[:] = sorted(n for n in names if n not in _SKIPPED) if depth < _MAX_DEPTH else []
        for name in sorted(files):
            if Path(name).suffix.lower() in _KIND_BY_ENDING:
                count += 1
                if count > _MAX_FILES:
                    problems.append(ConfigProblem(str(path), 0, f"stopped at {_MAX_FILES:,} files"))
                    return
                yield Path(folder) / name


def _note(problems: list[ConfigProblem], error: OSError) -> None:
    problems.append(ConfigProblem(str(error.filename), 0, f"cannot be listed ({error.strerror})"))


def _read_file(path: Path, problems: list[ConfigProblem]) -> list[Settings]:
    text = read_text(path)
    if text is None:
        problems.append(ConfigProblem(str(path), 0, why_unreadable(path)))
        return []
    kind = _KIND_BY_ENDING.get(path.suffix.lower()) or _guess_kind(text)
    try:
        if kind == "shell":
            return _read_shell(path, text, problems)
        if kind == "python":
            return read_python(path, text, problems)
        if kind == "notebook":
            return read_notebook(path, text, problems)
        if kind == "toml":
            return read_toml(path, text, problems)
        return _read_job(path, text, problems)
    except RecursionError:
        problems.append(ConfigProblem(str(path), 0, "nested deeper than any configuration"))
    except Exception as error:  # noqa: BLE001 - one odd file must not hide all the others
        kind_of_error = type(error).__name__
        problems.append(ConfigProblem(str(path), 0, f"could not be understood ({kind_of_error})"))
    return []


def _guess_kind(text: str) -> str:
    first = text[:200].split("\n", 1)[0]
    if first.startswith("#!"):
        return "python" if "python" in first else "shell"
    return "yaml"


def _read_shell(path: Path, text: str, problems: list[ConfigProblem]) -> list[Settings]:
    return _launched(path, text, 1, problems)


def _launched(path: Path, script: str, line: int, problems: list[ConfigProblem]) -> list[Settings]:
    """Return what the commands of a script launch, with everything that is odd about them."""
    found = settings_from_commands(follow_script(path, script, line), path)
    problems.extend(found.problems)
    return found.settings


def _read_job(path: Path, text: str, problems: list[ConfigProblem]) -> list[Settings]:
    """Read a YAML configuration; a job description gives the commands that it runs."""
    found = read_yaml(path, text, problems)
    job = None if found or not _RUN_KEY.search(text) else load_tree(path)
    script = job[0].get("run") if job is not None else None
    if script is None or not isinstance(script.value, str):
        return found
    line = int(script.where.rpartition(":")[2]) + 1  # the text starts below `run: |`
    return _launched(path, script.value, line, problems)
