"""Whole-number and decimal arithmetic on small expressions, read and never executed."""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["calculate", "combine"]

_LIMIT = 10**15
_OPERATORS: Mapping[type[ast.AST], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
}
_COMPARISONS: Mapping[type[ast.AST], Callable[[Any, Any], bool]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
_NUMERIC = re.compile(r"[\d\s.+\-*/%()]{1,400}\Z")


def combine(kind: ast.AST, left: Any, right: Any) -> Any:
    """Return `left <operator> right` for numbers (and text joined by `+`), or None.

    Huge powers, products and repetitions are None: a configuration has no use for them.

    Example:
        >>> combine(ast.Mult(), 4, 8), combine(ast.Pow(), 9, 10**9)
        (32, None)
    """
    if isinstance(left, str) and isinstance(right, str) and isinstance(kind, ast.Add):
        return left + right if len(left) + len(right) < 100_000 else None
    if not (_is_number(left) and _is_number(right)):
        return None
    function = _OPERATORS.get(type(kind)) or _COMPARISONS.get(type(kind))
    if function is None or (isinstance(kind, ast.Pow) and abs(right) > 64):
        return None
    try:
        result = function(left, right)
    except (ArithmeticError, ValueError):
        return None
    return result if isinstance(result, int | float) and abs(result) < _LIMIT else None


def calculate(text: str, *, whole: bool = True) -> int | float | None:
    """Return the value of an expression of numbers, or None when it is anything else.

    Args:
        text: For example `1024 * (2 + 8)`.
        whole: Divide as a shell does, without a remainder.

    Example:
        >>> calculate("1024 * (2 + 8)"), calculate("7 / 2"), calculate("x + 1")
        (10240, 3, None)
    """
    if not _NUMERIC.match(text):
        return None
    try:
        tree = ast.parse(text.strip(), mode="eval")
        value = _evaluate(tree.body, whole=whole)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    return value if _is_number(value) else None


def _evaluate(node: ast.AST, *, whole: bool) -> Any:
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        value = _evaluate(node.operand, whole=whole)
        return -value if _is_number(value) else None
    if isinstance(node, ast.BinOp):
        kind = ast.FloorDiv() if whole and isinstance(node.op, ast.Div) else node.op
        left, right = _evaluate(node.left, whole=whole), _evaluate(node.right, whole=whole)
        return combine(kind, left, right)
    return None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and abs(value) < _LIMIT
