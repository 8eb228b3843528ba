"""Import of optional packages, with one message for all of them."""

from __future__ import annotations

import importlib
from types import ModuleType

from dissensus.errors import MissingDependencyError

__all__ = ["require"]


def require(module: str, extra: str) -> ModuleType:
    """Import `module`, or say which extra installs it.

    Args:
        module: Dotted name of the package to import.
        extra: Name of the extra of this package that installs it.

    Raises:
        MissingDependencyError: The package is not installed.

    Example:
        >>> require("math", "lab").pi > 3
        True
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is not None and error.name.partition(".")[0] != module.partition(".")[0]:
            raise  # the package is there, and one of *its* imports is missing: not ours to rename
        raise MissingDependencyError(
            f"{module} is not installed", hint=f"pip install 'dissensus[{extra}]'"
        ) from error
