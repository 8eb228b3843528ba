"""A run in numbers: what `dissensus report` says, computed by queries over the run."""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, NamedTuple

from dissensus.runs import Run
from dissensus.views.correctness import why_unknown_in_sums
from dissensus.views.forecast import Forecast, forecast_unanimous
from dissensus.views.format import one_line
from dissensus.views.prompts import PromptClass, prompt_classes
from dissensus.views.queries import IS_TRAIN, MEASURES, Measures, Source, rolled_buckets, rows
from dissensus.views.readable import Readable
from dissensus.views.snapshot import Snapshot
from dissensus.views.summed import Summed

__all__ = [
    "TIMELINE_POINTS",
    "GroupSize",
    "Heldout",
    "RunSummary",
    "TimePoint",
    "summarise_run",
    "timeline_points",
]

_QUARTERS = 4
#: Stretches of a timeline.
TIMELINE_POINTS = 48


class TimePoint(NamedTuple):
    """Measures of one stretch of training generations, at the middle of its steps."""

    step: float
    measures: Measures


class GroupSize(NamedTuple):
    """Scored rollouts per training group."""

    min: int
    median: float
    max: int


class Heldout(NamedTuple):
    """Evaluation rollouts, apart from training.

    Two splits are two populations of prompts, so first and last are of one split: the one that was
    evaluated most often, of several the first by name.

    Attributes:
        splits: Names of the splits that were evaluated.
        split: The one that `evaluations`, `first` and `last` are about.
        evaluations: Number of steps at which it was evaluated.
        first_step: Step of the first evaluation.
        last_step: Step of the last one.
        first: Measures at the first evaluation.
        last: Measures at the last evaluation; the first one's where there was only one.
        total: Measures over all evaluations of all splits.
        prompts: Number of distinct held-out prompts.
    """

    splits: list[str]
    split: str
    evaluations: int
    first_step: int
    last_step: int
    first: Measures
    last: Measures
    total: Measures
    prompts: int

    @property
    def name(self) -> str:
        """The solve rate of `first` and `last`, with their split where there are several."""
        name = "Held-out solve rate"
        return name if len(self.splits) == 1 else f"{name} of {one_line(self.split, 40)}"


@dataclass(frozen=True, kw_only=True)
class RunSummary:
    """Everything the report says in numbers. Fractions are in 0..1; `None` is unknown.

    Attributes:
        source: Folder of the run.
        state: ``"running"``, ``"finished"`` or ``"died"``.
        attempts: How often the run was started or resumed.
        estimator: Advantage estimator in use, as recorded; `None` if it was not recorded.
        silent_mode: What the trainer did with silent groups, as recorded.
        metadata: What else the recorder was told about the run.
        dropped: What the recorder could not keep, by kind.
        steps: Number of training steps with at least one group.
        first_step: First of them.
        last_step: Last of them.
        generations: Number of training generations.
        prompts: Number of distinct training prompts.
        group_size: Scored rollouts per group.
        train: Measures over all training groups.
        first_quarter: Measures over the first quarter of the generations; `None` below four.
        last_quarter: The same for the last quarter.
        correct_unknown: Why correctness is unknown, as a clause; `None` where it is known.
        never_solved: Prompts no rollout solved; `None` where correctness is unknown.
        always_solved: Prompts every rollout solved.
        timeline: Measures over at most 48 stretches of generations, oldest first.
        forecast: Unanimous share against the closed form; `None` where correctness is unknown, or
            rewards differ among rollouts that are all wrong or all correct.
        heldout: Evaluation, or `None` without one.
    """

    source: str
    state: str
    attempts: int
    estimator: str | None
    silent_mode: str | None
    metadata: dict[str, Any]
    dropped: dict[str, int]
    steps: int
    first_step: int | None
    last_step: int | None
    generations: int
    prompts: int
    group_size: GroupSize | None
    train: Measures
    first_quarter: Measures | None
    last_quarter: Measures | None
    correct_unknown: str | None
    never_solved: PromptClass | None
    always_solved: PromptClass | None
    timeline: list[TimePoint]
    forecast: Forecast | None
    heldout: Heldout | None

    @property
    def discarded_rollouts(self) -> int:
        """Training rollouts that were generated and not trained on."""
        return self.train.rollouts - self.train.trained_rollouts

    def to_json(self) -> dict[str, Any]:
        """The document `dissensus report --json` prints; keys are in docs/report.md."""
        from dissensus.views.advice import advise

        train = self.train
        return {
            "source": self.source,
            "format": "dissensus",
            "state": self.state,
            "attempts": self.attempts,
            "estimator": self.estimator,
            "silent_mode": self.silent_mode,
            "steps": self.steps,
            "first_step": self.first_step,
            "last_step": self.last_step,
            "generations": self.generations,
            "prompts": self.prompts,
            "groups": train.groups,
            "rollouts": train.rollouts,
            "unscored_rollouts": train.unscored_rollouts,
            "trained_rollouts": train.trained_rollouts,
            "discarded_rollouts": self.discarded_rollouts,
            "group_size": None if self.group_size is None else self.group_size._asdict(),
            **_measures_json(train),
            "trend": {
                "first_quarter": _quarter_json(self.first_quarter),
                "last_quarter": _quarter_json(self.last_quarter),
            },
            "never_solved": None if self.never_solved is None else self.never_solved._asdict(),
            "always_solved": None if self.always_solved is None else self.always_solved._asdict(),
            "forecast": _forecast_json(self.forecast),
            "heldout": _heldout_json(self.heldout),
            "dropped": self.dropped,
            "advice": [{"about": each.about, "text": each.text} for each in advise(self)],
        }


def summarise_run(run: Readable | Snapshot | Summed) -> RunSummary:
    """Summarise a run from sums of its generations; ten million groups take a few seconds.

    Args:
        run: A run, also one that is being written, or a log; or what several views share of it.

    Returns:
        The summary. A run without training groups has `steps == 0` and unknown measures.
    """
    if isinstance(run, Run):
        run = Summed(run)
    source = run if isinstance(run, (Snapshot, Summed)) else Snapshot(run)
    run = source.run
    extent = rows(
        source,
        f"""SELECT count(DISTINCT step) AS steps, min(step) AS first, max(step) AS last,
            count(DISTINCT (step, generation)) AS generations,
            min(size_low) AS least, max(size_high) AS most
        FROM generations WHERE {IS_TRAIN}""",  # noqa: S608 — no outside text
    )[0]
    quarters = _quarters(source) if extent["generations"] >= _QUARTERS else {}
    classes = prompt_classes(source)
    attempts = run.attempts
    info = run.info
    metadata = dict(info.get("metadata") or {})
    if attempts:  # a resumed run may have been given other settings
        metadata |= dict(attempts[-1].details.get("metadata") or {})
    return RunSummary(
        source=str(run.path),
        state=one_line(str(info["state"]), 40),
        attempts=len(attempts),
        estimator=_text(metadata.get("estimator")),
        silent_mode=_text(metadata.get("silent")),
        metadata=metadata,
        dropped=_dropped(info),
        steps=int(extent["steps"]),
        first_step=extent["first"],
        last_step=extent["last"],
        generations=int(extent["generations"]),
        prompts=_count_prompts(source),
        group_size=_group_size(source, extent),
        train=Measures(rows(source, f"SELECT {MEASURES} FROM generations WHERE {IS_TRAIN}")[0]),  # noqa: S608
        first_quarter=quarters.get(1),
        last_quarter=quarters.get(_QUARTERS),
        correct_unknown=why_unknown_in_sums(source),
        never_solved=None if classes is None else classes[0],
        always_solved=None if classes is None else classes[1],
        timeline=timeline_points(source),
        forecast=forecast_unanimous(source),
        heldout=_heldout(source),
    )


def timeline_points(source: Source) -> list[TimePoint]:
    """Measures of at most 48 stretches of generations, oldest first.

    Args:
        source: Sums of a run, in the table `generations`.
    """
    generations = rows(
        source,
        f"SELECT count(DISTINCT (step, generation)) AS n FROM generations WHERE {IS_TRAIN}",  # noqa: S608
    )[0]["n"]
    # As few stretches as make them equally long: a shorter one is noisier, and looks like an event.
    length = math.ceil(generations / TIMELINE_POINTS)
    points = math.ceil(generations / max(length, 1))
    found = rows(
        source,
        f"""SELECT bucket, (min(step) + max(step)) / 2 AS middle, {MEASURES}
        FROM {rolled_buckets("generations", max(points, 1))}
        GROUP BY bucket ORDER BY bucket""",  # noqa: S608 — no outside text
    )
    return [TimePoint(float(row["middle"]), Measures(row)) for row in found]


def _quarters(source: Source) -> dict[int, Measures]:
    found = rows(
        source,
        f"""SELECT bucket, {MEASURES} FROM {rolled_buckets("generations", _QUARTERS)}
        WHERE bucket IN (1, {_QUARTERS}) GROUP BY bucket""",  # noqa: S608 — no outside text
    )
    return {int(row["bucket"]): Measures(row) for row in found}


def _count_prompts(source: Source) -> int:
    found = rows(
        source,
        """SELECT count(*) AS n FROM (SELECT prompt_id FROM prompt_totals
            UNION SELECT prompt_id FROM unscored_prompts)""",
    )
    return int(found[0]["n"])


def _group_size(source: Source, extent: dict[str, Any]) -> GroupSize | None:
    if extent["least"] is None:
        return None
    # A prompt without a scored rollout is counted in `generations` only.
    found = rows(
        source,
        f"""WITH sizes AS (
            SELECT size::BIGINT AS size, groups FROM counts WHERE {IS_TRAIN}
            UNION ALL SELECT 0, groups - scored FROM generations WHERE {IS_TRAIN}
        )
        SELECT size, sum(groups)::BIGINT AS groups FROM sizes GROUP BY size
        HAVING sum(groups) > 0 ORDER BY size""",  # noqa: S608 — no outside text
    )
    reach = list(accumulate(row["groups"] for row in found))
    low, high = (reach[-1] - 1) // 2, reach[-1] // 2
    median = sum(found[bisect_right(reach, place)]["size"] for place in (low, high)) / 2
    return GroupSize(int(extent["least"]), median, int(extent["most"]))


def _heldout(source: Source) -> Heldout | None:
    total = rows(
        source,
        f"""SELECT list(DISTINCT split ORDER BY split) AS splits, {MEASURES}
        FROM generations WHERE NOT {IS_TRAIN}""",  # noqa: S608 — no outside text
    )[0]
    if not total["groups"]:
        return None
    ends = rows(
        source,
        f"""WITH chosen AS (
            SELECT split, count(DISTINCT step) AS evaluations, min(step) AS first, max(step) AS last
            FROM generations WHERE NOT {IS_TRAIN}
            GROUP BY split ORDER BY evaluations DESC, split LIMIT 1
        )
        SELECT split, evaluations, step, {MEASURES} FROM generations JOIN chosen USING (split)
        WHERE step IN (first, last) GROUP BY split, evaluations, step ORDER BY step""",  # noqa: S608
    )
    return Heldout(
        splits=list(total["splits"]),
        split=str(ends[0]["split"]),
        evaluations=int(ends[0]["evaluations"]),
        first_step=int(ends[0]["step"]),
        last_step=int(ends[-1]["step"]),
        first=Measures(ends[0]),
        last=Measures(ends[-1]),
        total=Measures(total),
        prompts=int(rows(source, "SELECT count(*) AS n FROM heldout_prompts")[0]["n"]),
    )


def _dropped(info: dict[str, Any]) -> dict[str, int]:
    return {one_line(str(k), 40): int(v) for k, v in dict(info.get("dropped") or {}).items() if v}


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def _quarter_json(measures: Measures | None) -> dict[str, Any] | None:
    return None if measures is None else _measures_json(measures)


def _measures_json(measures: Measures) -> dict[str, Any]:
    return {
        "unanimous": {
            "total": measures.unanimous,
            "all_wrong": measures.all_wrong,
            "all_correct": measures.all_correct,
        },
        "silent": measures.silent,
        "std_mean": measures.std_mean,
        "solve_rate": measures.solve_rate,
        "reward_mean": measures.reward_mean,
        "effective_rollout_frac": measures.effective_rollout_frac,
        "contrast_per_1000_rollouts": measures.contrast_per_1000_rollouts,
        "length_mean": measures.length_mean,
        "truncated_frac": measures.truncated_frac,
    }


def _forecast_json(forecast: Forecast | None) -> dict[str, Any] | None:
    if forecast is None:
        return None
    return {
        "measured": forecast.measured,
        "beta_binomial": forecast.predicted,
        "plug_in": forecast.plug_in,
        "mean_absolute_error": forecast.error,
        "next_generation": forecast.next_unanimous,
    }


def _heldout_json(heldout: Heldout | None) -> dict[str, Any] | None:
    if heldout is None:
        return None
    ends = {
        name: {"step": step, "rollouts": measures.rollouts, **_measures_json(measures)}
        for name, step, measures in (
            ("first", heldout.first_step, heldout.first),
            ("last", heldout.last_step, heldout.last),
        )
    }
    return {
        "splits": heldout.splits,
        "split": heldout.split,
        "evaluations": heldout.evaluations,
        "prompts": heldout.prompts,
        "groups": heldout.total.groups,
        "rollouts": heldout.total.rollouts,
        **ends,
    }
