"""Find the configuration that a Hydra program names in its decorator."""

from __future__ import annotations

import ast
from pathlib import Path

from dissensus.audit.configs.text import read_text

__all__ = ["entry_config", "parse_python"]


def parse_python(text: str) -> ast.Module | None:
    """Return the syntax tree of a Python text, or None when it is none that Python accepts."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return ast.parse(text)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return None


def entry_config(script: Path) -> Path | None:
    """Return the YAML file that `@hydra.main(config_path=…, config_name=…)` of a script names."""
    text = read_text(script)
    if text is None or "hydra" not in text:
        return None
    module = parse_python(text)
    if module is None:
        return None
    for node in module.body:
        decorators = getattr(node, "decorator_list", [])
        for call in decorators:
            if isinstance(call, ast.Call) and ast.unparse(call.func) in {"hydra.main", "main"}:
                given = {
                    keyword.arg: keyword.value.value
                    for keyword in call.keywords
                    if isinstance(keyword.value, ast.Constant)
                }
                return _beside(script, given.get("config_path"), given.get("config_name"))
    return None


def _beside(script: Path, folder: object, name: object) -> Path | None:
    if not isinstance(name, str) or len(name) > 200:
        return None
    file_name = name if name.endswith((".yaml", ".yml")) else f"{name}.yaml"
    path = script.parent / (folder if isinstance(folder, str) else ".") / file_name
    try:
        return path if path.is_file() else None
    except (OSError, ValueError):
        return None
