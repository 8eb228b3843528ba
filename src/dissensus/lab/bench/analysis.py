"""From the records of a benchmark to what may be said of it: docs/bench.md fixes how."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from dissensus.core import allocation
from dissensus.core.comparisons import Estimates, bootstrap_cells, compare_cells, tie_letters
from dissensus.errors import InputError
from dissensus.lab.bench.measures import area, rates_at, spent_at
from dissensus.lab.bench.races import Field, rivals, run_races, strategy_of
from dissensus.lab.bench.records import Arm, TrainingRecord
from dissensus.views.bench import (
    Analysis,
    ArmResult,
    Comparison,
    Curve,
    Family,
    Interval,
    Tuning,
)

__all__ = ["BASELINE", "analyse"]

BASELINE = Arm("grpo", "uniform")
TENTHS = np.linspace(0.0, 1.0, 11)
_OWN_SOURCE = "this project"


def analyse(
    records: Sequence[TrainingRecord],
    *,
    source: str = "",
    command: str = "",
    baseline: Arm = BASELINE,
) -> Analysis:
    """Compare the finished arms of a benchmark.

    An arm is finished when it has every seed that is compared; the others are named in `warnings`.
    Compared are the baseline's reported seeds, but for a last one that is still under way.

    Args:
        records: Of one plan, tuning and reported trainings, in any order.
        source: Where they lie.
        command: That made them, for the page; by default one with the source and the plan.
        baseline: Arm that the others are compared with.

    Raises:
        InputError: No reported training of the baseline, or records that cannot be compared.
    """
    _check_alike(records, source)
    warnings: list[str] = []
    tuning = _tunings(records)
    reported = _reported(records, tuning, warnings)
    if baseline not in reported:
        raise InputError(
            f"no reported training of {baseline}, which the others are compared with",
            where=source or "records",
            got=f"{len(records)} records",
            hint="train it first: the same command without --no-run",
        )
    seeds, unfinished = _split_seeds(reported, baseline)
    warnings += [f"Seed {each} is not finished in every arm, and left out." for each in unfinished]
    arms = {
        arm: [found[seed] for seed in seeds]
        for arm, found in sorted(reported.items())
        if set(seeds) <= set(found)
    }
    warnings += [
        f"{arm} is left out: {done} of {len(seeds)} seeds are finished."
        for arm in sorted({record.arm for record in records})
        if (done := len(set(seeds) & set(reported.get(arm, ())))) < len(seeds)
    ]
    warnings += _settings_warnings(arms)
    fields = [
        Field(name, baseline, {arm: arms[arm] for arm in members})
        for name, members in _families(arms, baseline)
    ]
    results = _results(arms)
    ours = [arm for arm in arms if _is_ours(arm) and arm.estimator == baseline.estimator]
    raced = [run_races(field, ours) for field in fields]
    races = [race for each, _ in raced for race in each]
    first = arms[baseline][0]
    return Analysis(
        source=source,
        command=command or f"dissensus bench {source or 'DIR'} --plan {first.plan}",
        plan=first.plan,
        budget=first.budget,
        baseline=str(baseline),
        seeds=seeds,
        tuning_seeds=sorted({record.seed for record in records if record.purpose == "tune"}),
        heldout=first.evaluations.correct.shape[1],
        samples=int(first.evaluations.samples[-1]),
        trainings=len(records),
        arms=results,
        families=[_family(field) for field in fields],
        races=races,
        goals=[goal for _, each in raced for goal in each],
        rivals=rivals(fields[0], ours, races) if fields else [],
        tuning=[tuning[arm] for arm in arms if arm in tuning],
        warnings=warnings + _tuning_warnings(arms, tuning),
        settings=_common([record.settings for found in arms.values() for record in found]),
        versions=_common([record.versions for found in arms.values() for record in found]),
    )


# ---- which records ---------------------------------------------------------------------------


def _check_alike(records: Sequence[TrainingRecord], source: str) -> None:
    facts: dict[str, set[Any]] = {
        "plan": {record.plan for record in records},
        "budget": {record.budget for record in records},
        "number of held-out prompts": {
            record.evaluations.correct.shape[1] for record in records if record.purpose == "report"
        },
    }
    for name, found in facts.items():
        if len(found) > 1:
            raise InputError(
                f"records with more than one {name} cannot be compared",
                where=source or "records",
                got=", ".join(sorted(map(str, found))),
                hint="keep each plan in a folder of its own",
            )


def _reported(
    records: Iterable[TrainingRecord], tuning: dict[Arm, Tuning], warnings: list[str]
) -> dict[Arm, dict[int, TrainingRecord]]:
    """Reported trainings by arm and seed, at one learning rate each."""
    found: dict[Arm, dict[float, dict[int, TrainingRecord]]] = defaultdict(dict)
    for record in records:
        if record.purpose == "report":
            found[record.arm].setdefault(record.learning_rate, {})[record.seed] = record
    kept = {}
    for arm, by_rate in found.items():
        best = tuning[arm].best if arm in tuning else None
        most = max(by_rate, key=lambda rate: (rate == best, len(by_rate[rate]), -rate))
        kept[arm] = by_rate[most]
        if len(by_rate) > 1:
            listed = ", ".join(f"{rate:g}" for rate in sorted(by_rate))
            warnings.append(f"{arm} was reported at learning rates {listed}; {most:g} is used.")
    return {arm: by_seed for arm, by_seed in kept.items() if by_seed}


def _split_seeds(
    reported: Mapping[Arm, Mapping[int, object]], baseline: Arm
) -> tuple[list[int], list[int]]:
    """Seeds to compare, and the last one where it is still under way.

    Trainings go seed after seed. So a last seed that is missing in an arm with all earlier ones is
    not finished yet; without this, every arm that has not had its turn would be left out.

    Example:
        >>> ours, other = Arm("grpo", "contrast"), Arm("grpo", "uniform")
        >>> _split_seeds({other: {0: 1, 1: 1, 2: 1}, ours: {0: 1, 1: 1}}, other)
        ([0, 1], [2])
        >>> _split_seeds({other: {0: 1, 1: 1, 2: 1}, ours: {0: 1}}, other)  # ours failed at 1
        ([0, 1, 2], [])
    """
    *earlier, last = seeds = sorted(reported[baseline])
    in_all = all(last in found for found in reported.values() if set(earlier) <= set(found))
    return (seeds, []) if in_all or not earlier else (earlier, [last])


def _tunings(records: Iterable[TrainingRecord]) -> dict[Arm, Tuning]:
    """Grid and choice of every reported arm; the grid is empty where none of its own was run."""
    tried: dict[Arm, dict[float, list[float]]] = defaultdict(lambda: defaultdict(list))
    used: dict[Arm, list[float]] = defaultdict(list)
    for record in records:
        if record.purpose == "tune":
            tried[record.arm][record.learning_rate].append(record.final)
        else:
            used[record.arm].append(record.learning_rate)
    made = {}
    for arm, rates in used.items():
        grid = [(r, float(np.mean(f)), len(f)) for r, f in sorted(tried[arm].items())]
        draft = Tuning(name=str(arm), chosen=rates[0], grid=grid)
        chosen = draft.best if draft.best in rates else max(set(rates), key=rates.count)
        made[arm] = Tuning(name=str(arm), chosen=float(chosen or rates[0]), grid=grid)
    return made


def _families(arms: Iterable[Arm], baseline: Arm) -> list[tuple[str, list[Arm]]]:
    """Arms that are compared together; the allocators come first, the baseline is in each."""
    others = [arm for arm in arms if arm != baseline]
    members = {
        "allocators": [arm for arm in others if arm.estimator == baseline.estimator],
        "estimators": [arm for arm in others if arm.allocator == baseline.allocator],
    }
    placed = {arm for found in members.values() for arm in found}
    members["combinations"] = [arm for arm in others if arm not in placed]
    return [(name, [baseline, *found]) for name, found in members.items() if found]


def _is_ours(arm: Arm) -> bool:
    try:
        return allocation.describe(strategy_of(arm)).source.startswith(_OWN_SOURCE)
    except InputError:  # a strategy of another version
        return False


# ---- what may be wrong -----------------------------------------------------------------------


def _settings_warnings(arms: dict[Arm, list[TrainingRecord]]) -> list[str]:
    every = [record for found in arms.values() for record in found]
    said = []
    for what, documents in (
        ("settings", [record.settings for record in every]),
        ("versions", [record.versions for record in every]),
    ):
        common = _common(documents)
        differing = sorted({key for each in documents for key in each} - set(common))
        if differing:
            said.append(f"Trainings differ in their {what}: {', '.join(differing)}.")
    return said


def _tuning_warnings(arms: Iterable[Arm], tuning: dict[Arm, Tuning]) -> list[str]:
    known = [tuning[arm] for arm in arms if arm in tuning]
    edge = [each.name for each in known if each.is_at_edge]
    other = [each.name for each in known if each.best not in (None, each.chosen)]
    said = []
    if edge:
        said.append(
            f"The learning rate is at an edge of its grid, so that a wider grid might help: "
            f"{', '.join(edge)}."
        )
    if other:
        said.append(f"Not reported at the rate that was best in tuning: {', '.join(other)}.")
    return said


def _common(documents: Sequence[Any]) -> dict[str, Any]:
    """Entries that all documents have in common."""
    first = documents[0] if documents else {}
    return {
        key: value
        for key, value in first.items()
        if all(key in each and each[key] == value for each in documents)
    }


# ---- results ---------------------------------------------------------------------------------


def _results(arms: dict[Arm, list[TrainingRecord]]) -> list[ArmResult]:
    """Every arm's own numbers, the best final rate first."""
    rates = np.array([[rates_at(r, TENTHS).mean(axis=1) for r in found] for found in arms.values()])
    levels = [compare_cells(rates[:, :, j, None]) for j in range(len(TENTHS))]
    made = [
        _result(arm, found, [_interval(level, i) for level in levels])
        for i, (arm, found) in enumerate(arms.items())
    ]
    return sorted(made, key=lambda each: -each.final)


def _result(arm: Arm, found: list[TrainingRecord], rates: list[Interval]) -> ArmResult:
    generated = np.array([max(1, record.steps.generated.sum()) for record in found])

    def share(values: Iterable[Any]) -> float:
        return float(np.mean(np.array([each.sum() for each in values]) / generated))

    def last(name: str) -> float:
        return float(np.mean([getattr(record.evaluations, name)[-1] for record in found]))

    curve = {
        name: np.mean([spent_at(record, name, TENTHS) for record in found], axis=0).tolist()
        for name in ("generated", "trained", "tokens", "seconds")
    }
    return ArmResult(
        name=str(arm),
        estimator=arm.estimator,
        allocator=arm.allocator,
        is_ours=_is_ours(arm),
        learning_rate=found[0].learning_rate,
        finals=[record.final for record in found],
        curve=Curve(**curve, rate=rates),
        area=float(np.mean([area(record) for record in found])),
        all_wrong=share(record.steps.all_wrong for record in found),
        all_correct=share(record.steps.all_correct for record in found),
        contrast_per_1000=1000.0 * share(record.steps.contrast for record in found),
        trained_frac=share(record.steps.trained for record in found),
        unused_frac=max(0.0, 1.0 - last("generated") / found[0].budget),
        steps=last("steps"),
        tokens=last("tokens"),
        seconds=last("seconds"),
    )


def _family(field: Field) -> Family:
    """Differences from the baseline, and who is told apart from whom."""
    final = np.array([[r.evaluations.rates[-1] for r in found] for found in field.arms.values()])
    areas = np.array([[area(r) for r in found] for found in field.arms.values()])
    names = [str(arm) for arm in field.arms]
    first, second = np.triu_indices(len(names), 1)
    pairs = compare_cells(final[first] - final[second])
    bounds = pairs.bounds(together=len(first))
    differs = np.zeros((len(names), len(names)), dtype=bool)
    differs[first, second] = (bounds.low > 0) | (bounds.high < 0)
    order = np.argsort(-final.mean(axis=(1, 2)), kind="stable")
    ordered = (differs | differs.T)[np.ix_(order, order)]
    letters = {names[i]: found for i, found in zip(order, tie_letters(ordered), strict=True)}
    gaps, others = final[1:] - final[0], len(names) - 1
    finals, in_area = compare_cells(gaps), compare_cells(areas[1:] - areas[0])
    resampled = bootstrap_cells(gaps, np.random.default_rng(0))
    compared = [
        Comparison(
            name=name,
            final=_interval(finals, i, together=others),
            area=_interval(in_area, i, together=others),
            bootstrap=Interval(
                float(finals.mean[i]), float(resampled.low[i]), float(resampled.high[i])
            ),
            letters=letters[name],
        )
        for i, name in enumerate(names[1:])
    ]
    return Family(
        name=field.name,
        baseline=names[0],
        baseline_letters=letters[names[0]],
        comparisons=sorted(compared, key=lambda each: -each.final.mean),
    )


def _interval(found: Estimates, i: int, *, together: int = 1) -> Interval:
    low, high = (float(end[i]) for end in found.bounds(together=together))
    return Interval(float(found.mean[i]), low, high)
