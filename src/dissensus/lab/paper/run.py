"""The whole comparison: every section, and the figures of the page."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import dissensus
from dissensus.errors import InputError, MissingDependencyError
from dissensus.lab.paper import sections
from dissensus.lab.paper.controlled import (
    ControlledSettings,
    SeedResult,
    run_seed,
)
from dissensus.lab.paper.dapo_curve import DapoCurve, fit_curve, load_curve
from dissensus.lab.paper.identity import check_vectors
from dissensus.lab.paper.language_model import ModelResult, ModelSettings, measure_model
from dissensus.lab.paper.tables import big_math_facts, group_sizes
from dissensus.views.paper import Section

__all__ = ["PAPER", "TITLE", "PaperResult", "PaperSettings", "default_data", "reproduce"]

PAPER = "arXiv:2607.00152"
TITLE = "GRPO, Dr. GRPO, and DAPO Are Three Operations on One Number"


def default_data() -> Path:
    """Where data is looked for that does not come with the package.

    `DISSENSUS_SHARED_DATA`, or `shared/data` beside the checkout.
    """
    beside = Path(dissensus.__file__).resolve().parents[3] / "shared" / "data"
    return Path(os.environ.get("DISSENSUS_SHARED_DATA", beside))


@dataclass(frozen=True)
class PaperSettings:
    """What to do.

    Attributes:
        seeds: Runs of the controlled experiment, at least 2: an interval needs them.
        data: Folder of DAPO's digitised curve; None for `default_data`.
        model: Whether to train and sample the lab's language model.
        controlled: The controlled run.
        language_model: The sampling of the model.
    """

    seeds: int = 20
    data: Path | None = None
    model: bool = True
    controlled: ControlledSettings = field(default_factory=ControlledSettings)
    language_model: ModelSettings = field(default_factory=ModelSettings)

    def __post_init__(self) -> None:
        """Refuse too few seeds.

        Raises:
            InputError: Fewer than two.
        """
        if self.seeds < 2:
            raise InputError("seeds must be at least 2, for an interval", got=self.seeds)


class PaperResult(NamedTuple):
    """What was found.

    Attributes:
        sections: In the order of the paper.
        runs: One per seed of the controlled run.
        curve: DAPO's, where its file was found.
        model: What the language model did, where it was asked.
    """

    sections: Sequence[Section]
    runs: Sequence[SeedResult]
    curve: DapoCurve | None
    model: ModelResult | None

    def to_json(self) -> Mapping[str, Any]:
        """All numbers as plain JSON values."""
        return {
            "paper": PAPER,
            "seeds": len(self.runs),
            "sections": {each.name: each.to_json() for each in self.sections},
        }


def reproduce(
    settings: PaperSettings | None = None, on_progress: Callable[[str], None] | None = None
) -> PaperResult:
    """Recompute the paper's numbers and put them beside the printed ones.

    Args:
        settings: None for the defaults.
        on_progress: Told what begins, in words.
    """
    s, tell = settings or PaperSettings(), on_progress or (lambda _: None)
    tell("checking the identity")
    vectors = check_vectors()
    tell("tables")
    exact = [
        sections.group_size_section(group_sizes()),
        sections.big_math_section(big_math_facts()),
    ]
    runs, started = [], time.process_time()
    for seed in range(s.seeds):
        tell(f"controlled run: seed {seed + 1} of {s.seeds}")
        runs.append(run_seed(seed, s.controlled))
    seconds = (time.process_time() - started) / s.seeds
    controlled = sections.controlled_section(runs, s.controlled, seconds=seconds)
    curve, dapo = _dapo(s.data or default_data())
    model, model_section = _model(s, tell)
    identity = sections.identity_section(vectors, model and model.identity)
    return PaperResult([identity, *exact, controlled, dapo, model_section], runs, curve, model)


def _dapo(folder: Path) -> tuple[DapoCurve | None, Section]:
    try:
        curve = fit_curve(*load_curve(folder))
    except InputError as error:
        return None, Section("dapo", "DAPO's logged all-correct share", "", absent=str(error))
    return curve, sections.dapo_section(curve)


def _model(
    settings: PaperSettings, tell: Callable[[str], None]
) -> tuple[ModelResult | None, Section]:
    absent = Section("language-model", "What the paper leaves open: a language model", "")
    if not settings.model:
        return None, absent._replace(absent="left out by --skip-model")
    try:
        result = measure_model(settings.language_model, tell)
    except MissingDependencyError as error:
        return None, absent._replace(absent=str(error))
    return result, sections.model_section(result)
