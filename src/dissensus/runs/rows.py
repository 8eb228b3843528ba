"""What one row of a training data set says: its prompt, its reference answer, its stable id."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

__all__ = ["REFERENCE_COLUMNS", "as_text", "prompt_id", "reference_text"]

REFERENCE_COLUMNS = ("answer", "solution", "ground_truth", "label", "labels", "target")
"""Columns that hold a reference answer, in order of preference."""


def as_text(value: Any) -> str:
    """A prompt or a completion as text: strings as they are, one message as its content, else JSON.

    Objects that JSON does not know (images in a message) appear as the name of their type, and so
    does a value that JSON cannot hold at all. Never raises.

    Example:
        >>> as_text([{"role": "user", "content": "2+2="}])
        '2+2='
        >>> as_text([{"role": "user", "content": "2+2="}, {"role": "assistant", "content": "4"}])
        '[{"role": "user", "content": "2+2="}, {"role": "assistant", "content": "4"}]'
    """
    if isinstance(value, str):
        return value
    if isinstance(value, list) and len(value) == 1 and isinstance(value[0], Mapping):
        content = value[0].get("content")
        if isinstance(content, str) and set(value[0]) <= {"role", "content"}:
            return content
    try:
        return json.dumps(value, ensure_ascii=False, default=_type_name)
    except (TypeError, ValueError, RecursionError):  # keys of another kind, a value inside itself
        return _type_name(value)


def reference_text(row: Mapping[str, Any]) -> str | None:
    """The row's reference answer as text, or None when no known column holds one.

    Example:
        >>> reference_text({"prompt": "2+2=", "answer": 4})
        '4'
    """
    for column in REFERENCE_COLUMNS:
        if row.get(column) is not None:
            return as_text(row[column])
    return None


def prompt_id(row: Mapping[str, Any]) -> str:
    """The row's `prompt_id` column, or a hash of its prompt and reference answer.

    The hash (blake2b, 64 bits) depends on nothing but the two texts, so a prompt keeps its id over
    epochs, restarts, machines and releases. Rows with equal prompt and reference are one
    prompt.

    Example:
        >>> prompt_id({"prompt": "2+2=", "prompt_id": 7})
        '7'
        >>> prompt_id({"prompt": "2+2=", "answer": 4})
        'f08887d0c5ff8e9b'
    """
    given = row.get("prompt_id")
    if given is not None:
        return str(given)
    # The text of a reference may be anything, so a separator alone would not tell where it begins.
    parts = json.dumps([as_text(row.get("prompt")), reference_text(row)], ensure_ascii=False)
    return hashlib.blake2b(parts.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


def _type_name(value: object) -> str:
    return f"<{type(value).__name__}>"
