"""Every figure of the page, in the order of the paper.

Figures 1 and 2 of the paper are diagrams without numbers and have no counterpart.
"""

from __future__ import annotations

from dissensus.lab.paper.panels_data import (
    big_math_panels,
    controlled_panels,
    dapo_panels,
    model_panels,
)
from dissensus.lab.paper.panels_theory import theory_panels
from dissensus.lab.paper.run import PaperResult
from dissensus.views.page import Panel

__all__ = ["paper_panels"]


def paper_panels(result: PaperResult) -> list[Panel]:
    """Draw what there is: without DAPO's log or the language model their figures are left out."""
    panels = [*theory_panels(), *big_math_panels(), *controlled_panels(result.runs)]
    if result.curve is not None:
        panels += dapo_panels(result.curve)
    panels.sort(key=lambda panel: int(panel.name.split("-")[1]))
    return panels + ([] if result.model is None else model_panels(result.model))
