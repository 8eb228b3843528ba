"""Find the function that a target names. Importing a module runs it: only on request."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import inspect
import re
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from dissensus.errors import InputError

__all__ = ["FunctionTarget", "load_function", "parse_target"]

_PATTERN = re.compile(
    r"(?P<place>.+?):(?P<name>[A-Za-z_][\w.]*)\s*(?P<arguments>\(.*\))?", re.DOTALL
)
_MODULE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")


class FunctionTarget(NamedTuple):
    """`package.module:function(key=value)` in its parts.

    Attributes:
        place: Dotted module, or path of a Python file.
        name: Function, or `Class.method`.
        arguments: Keyword arguments to fix before the audit.
    """

    place: str
    name: str
    arguments: dict[str, Any]


def parse_target(text: str) -> FunctionTarget | None:
    """The parts of a target, or None when the text names no function.

    Example:
        >>> parse_target("verl.trainer.ppo.core_algos:compute_grpo_outcome_advantage").name
        'compute_grpo_outcome_advantage'
        >>> parse_target("my_rules.py:scaled(eps=1e-3)").arguments
        {'eps': 0.001}
        >>> parse_target("runs/first") is None
        True
    """
    match = _PATTERN.fullmatch(text.strip())
    if match is None:
        return None
    place = match["place"]
    if not (place.endswith(".py") or _MODULE.fullmatch(place)):
        return None
    return FunctionTarget(place, match["name"], _arguments(match["arguments"], text))


def load_function(text: str) -> Callable[..., Any]:
    """Import the module or file and get the function. The module's code runs.

    Args:
        text: `package.module:function`, `path/to/file.py:function`, either with keyword arguments
            in parentheses that are fixed first: `pkg.mod:f(norm_std_type="group")`.

    Raises:
        InputError: The text names no function, the import fails, or there is no such function.
    """
    target = parse_target(text)
    if target is None:
        raise InputError(
            "this names no function",
            got=text,
            hint="write package.module:function or file.py:function",
        )
    found: Any = _import(target.place)
    for part in target.name.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            raise InputError(
                f"there is no {part!r} in it", where=target.place, hint=_similar(found)
            ) from None
    if not (callable(found) or hasattr(found, "_generate_and_score_completions")):
        raise InputError("this is not a function", where=text, got=type(found).__name__)
    return _with_arguments(found, target.arguments, text) if target.arguments else found


def _with_arguments(
    function: Callable[..., Any], arguments: dict[str, Any], text: str
) -> Callable[..., Any]:
    fixed = partial(function, **arguments)
    try:
        inspect.signature(function).bind_partial(**arguments)
    except TypeError as error:
        names = ", ".join(inspect.signature(function).parameters)
        hint = f"its parameters are {names}" if names else "it has no parameters"
        raise InputError(f"the arguments do not fit: {error}", where=text, hint=hint) from None
    except ValueError:  # built in, without a signature: the call will tell
        pass
    return fixed


def _import(place: str) -> Any:
    try:
        if not place.endswith(".py"):
            return importlib.import_module(place)
        return _import_file(Path(place).expanduser().resolve())
    except InputError:
        raise
    except (Exception, SystemExit) as error:
        line = " ".join(str(error).split())
        raise InputError(
            f"importing it failed: {type(error).__name__}: {line[:200]}", where=place
        ) from error


def _import_file(path: Path) -> Any:
    if not path.is_file():
        raise InputError("there is no such file", where=str(path))
    spec = importlib.util.spec_from_file_location(f"_audited_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise InputError("this file cannot be imported", where=str(path))
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses and pickling look their module up there
    spec.loader.exec_module(module)
    return module


def _arguments(text: str | None, where: str) -> dict[str, Any]:
    if not text:
        return {}
    wrong = InputError("the arguments must be keyword=literal", where=where, got=text)
    try:
        call = ast.parse(f"f{text}", mode="eval").body
        keywords = {str(k.arg): ast.literal_eval(k.value) for k in getattr(call, "keywords", ())}
    except (SyntaxError, ValueError) as error:
        raise wrong from error
    if not isinstance(call, ast.Call) or call.args or "None" in keywords:
        raise wrong
    return keywords


def _similar(found: Any) -> str | None:
    names = [name for name in dir(found) if "adv" in name.lower() and not name.startswith("_")]
    return f"it has {', '.join(names[:8])}" if names else None
