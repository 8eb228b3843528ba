"""HTML that is escaped unless it says that it is HTML.

`tag` builds one element. A plain `str` child or attribute is always escaped; only `Markup`, which
`tag` returns, passes through. Untrusted text therefore cannot become an element by being forgotten.
"""

from __future__ import annotations

import html
from collections.abc import Iterable
from typing import TypeAlias

__all__ = ["Child", "Markup", "tag"]

_VOID = frozenset({"br", "hr", "img", "input", "link", "meta"})


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


Child: TypeAlias = "str | Markup | Iterable[Child] | None"


def tag(name: str, /, *children: Child, **attributes: str | bool | None) -> Markup:
    """Build one HTML element.

    Args:
        name: Element name.
        children: Texts (escaped), elements, nested iterables of them; `None` is nothing.
        attributes: A trailing underscore is dropped and others become hyphens
            (`class_`, `aria_label`). `True` writes the bare name, `False` and `None` write nothing.

    Example:
        >>> tag("p", "1 < 2 ", tag("b", "<i>"), class_="note", hidden=True)
        '<p class="note" hidden>1 &lt; 2 <b>&lt;i&gt;</b></p>'
    """
    opening = f"<{name}{''.join(_attribute(k, v) for k, v in attributes.items())}>"
    if name in _VOID:
        return Markup(opening)
    return Markup(f"{opening}{_render(children)}</{name}>")


def _attribute(key: str, value: str | bool | None) -> str:
    if value is None or value is False:
        return ""
    name = key.rstrip("_").replace("_", "-")
    return f" {name}" if value is True else f' {name}="{html.escape(value, quote=True)}"'


def _render(child: Child) -> str:
    if child is None:
        return ""
    if isinstance(child, Markup):
        return str(child)
    if isinstance(child, str):
        return html.escape(child, quote=False)
    return "".join(map(_render, child))
