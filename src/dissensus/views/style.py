"""Colours of every figure and page: colour-blind safe, in a light and a dark version.

The hues are those of Okabe & Ito (2008), darkened or lightened until each has at least 3:1 contrast
with the background it is drawn on. A role keeps its colour in every view.
"""

from __future__ import annotations

from typing import Final, Literal

__all__ = ["DARK", "LIGHT", "TERMINAL", "Theme", "palette"]

Theme = Literal["light", "dark"]

LIGHT: Final[dict[str, str]] = {
    "background": "#ffffff",
    "panel": "#f5f6f8",
    "text": "#1b1f24",
    "muted": "#57606a",
    "grid": "#e3e6ea",
    "axis": "#8b949e",
    "link": "#0060a8",
    "wrong": "#c4500a",
    "correct": "#0072b2",
    "split": "#00805f",
    "unanimous": "#24292f",
    "predicted": "#a8447f",
    "naive": "#9a7400",
    "reward": "#00805e",
    "heldout": "#0072b3",
    "used": "#c4500b",
    "grpo": "#0072b4",
    "dr_grpo": "#a84480",
    "heat_0": "#fafbfc",
    "heat_1": "#b9d7ea",
    "heat_2": "#4f9ac9",
    "heat_3": "#0b4f80",
}

DARK: Final[dict[str, str]] = {
    "background": "#0f1318",
    "panel": "#181e25",
    "text": "#e6eaef",
    "muted": "#9aa6b2",
    "grid": "#2a323c",
    "axis": "#6b7785",
    "link": "#79bfff",
    "wrong": "#f28a4b",
    "correct": "#56b4e9",
    "split": "#3fc49a",
    "unanimous": "#dfe4ea",
    "predicted": "#e38bc0",
    "naive": "#e0b53a",
    "reward": "#3fc49b",
    "heldout": "#56b4ea",
    "used": "#f28a4c",
    "grpo": "#56b4eb",
    "dr_grpo": "#e38bc1",
    "heat_0": "#141a21",
    "heat_1": "#1d4463",
    "heat_2": "#2f86bd",
    "heat_3": "#b5e0fb",
}

TERMINAL: Final[dict[str, str]] = {
    "wrong": "dark_orange3",
    "correct": "deep_sky_blue3",
    "split": "green4",
    "muted": "bright_black",
    "title": "bold",
}


def palette(theme: Theme) -> dict[str, str]:
    """Colours by role.

    Every value of a palette is different from every other one, so that a page can turn a light
    figure into a dark one by replacing colours.

    Args:
        theme: ``"light"`` or ``"dark"``.

    Example:
        >>> len(set(palette("light").values())) == len(palette("light"))
        True
    """
    return LIGHT if theme == "light" else DARK
