"""Where one completion differs from another, word by word."""

from __future__ import annotations

import re
from difflib import SequenceMatcher

__all__ = ["spans"]

_WORD = re.compile(r"\s*\S+|\s+$")
_COMPARED = 400
"""Words compared one by one, between the common start and the common end: it costs their square."""


def spans(text: str, against: str | None) -> list[list[str | bool]]:
    """Cut a text into `[part, is_different]`; the parts make up the text again.

    Args:
        text: What is shown.
        against: What it is compared with; `None`: nothing is marked.

    Example:
        >>> spans("7 + 5 = 13", "7 + 5 = 12")
        [['7 + 5 =', False], [' 13', True]]
    """
    if against is None or text == against:
        return [[text, False]] if text else []
    mine, other = _WORD.findall(text), _WORD.findall(against)
    shared = min(len(mine), len(other))
    start = next((i for i in range(shared) if mine[i] != other[i]), shared)
    end = next((i for i in range(shared - start) if mine[-1 - i] != other[-1 - i]), shared - start)
    middle = mine[start : len(mine) - end]
    found: list[list[str | bool]] = []
    _add(found, mine[:start], is_different=False)
    opposite = other[start : len(other) - end][:_COMPARED]
    matcher = SequenceMatcher(None, middle[:_COMPARED], opposite, autojunk=False)
    done = 0
    for place, _, length in matcher.get_matching_blocks():
        _add(found, middle[done:place], is_different=True)
        _add(found, middle[place : place + length], is_different=False)
        done = place + length
    _add(found, middle[done:], is_different=True)
    _add(found, mine[len(mine) - end :], is_different=False)
    return found


def _add(found: list[list[str | bool]], words: list[str], *, is_different: bool) -> None:
    if not words:
        return
    if found and found[-1][1] is is_different:
        found[-1][0] = str(found[-1][0]) + "".join(words)
    else:
        found.append(["".join(words), is_different])
