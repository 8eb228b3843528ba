"""The numbers of a plan as one JSON document; its keys are in docs/plan.md."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dissensus.core.groups import FloatArray
from dissensus.core.population.drift import DriftForecast, ShareForecast
from dissensus.core.population.predictions import FilterCost
from dissensus.core.population.recommendation import Change, SizeCost
from dissensus.core.population.sizes import SizeTable
from dissensus.core.population.skipping import Estimated
from dissensus.views.plan_words import change_text, sizes_text

if TYPE_CHECKING:
    from dissensus.views.plan import Prediction

__all__ = ["prediction_json"]


def prediction_json(found: Prediction, advice: str) -> dict[str, Any]:
    """What a plan adds where it is known which rollouts are correct.

    Args:
        found: The prediction.
        advice: The main point, in words.
    """
    population = found.estimate.population
    return {
        "group_size": found.group_size,
        "recorded_group_size": found.recorded,
        "unanimous_measured": found.measured,
        "all_wrong_measured": found.measured_wrong,
        "all_correct_measured": found.measured_correct,
        "population": {
            "kind": population.kind,
            "mean": population.mean,
            "quantiles": {
                f"{q:g}": float(population.quantile(q)) for q in (0.1, 0.25, 0.5, 0.75, 0.9)
            },
            "clustering": found.estimate.allowed.clustering,
            "candidates": [each._asdict() for each in found.estimate.candidates],
        },
        "by_group_size": _sizes_json(found.sizes),
        "by_difficulty": [each._asdict() for each in found.difficulty],
        "by_estimator": [
            {**each._asdict(), "mass": each.mass.tolist(), "missing": each.missing or None}
            for each in found.rules
        ],
        "filters": [_filter_json(each, found) for each in found.filters],
        "recommendation": _recommendation_json(found, advice),
        "forecast": _forecast_json(found.forecast),
    }


def _sizes_json(sizes: SizeTable) -> list[dict[str, Any]]:
    per_split = 1000.0 / sizes.group_size
    columns: dict[str, FloatArray] = {
        "unanimous": sizes.unanimous,
        "all_wrong": sizes.all_wrong,
        "all_correct": sizes.all_correct,
        "split_per_1000_rollouts": sizes.split_per_1000,
        "contrast_per_1000_rollouts": sizes.contrast_per_1000,
        "signal_to_noise": sizes.signal_to_noise,
    }
    split = (1.0 - sizes.unanimous_range.high, 1.0 - sizes.unanimous_range.low)
    intervals = {
        "identified": sizes.unanimous_range,
        "all_wrong_interval": sizes.all_wrong_range,
        "all_correct_interval": sizes.all_correct_range,
        "split_interval": (split[0] * per_split, split[1] * per_split),
        "contrast_interval": sizes.contrast_range,
        "signal_to_noise_interval": sizes.signal_range,
    }
    return [
        {
            "group_size": int(size),
            **{name: float(values[i]) for name, values in columns.items()},
            **{name: [float(ends[0][i]), float(ends[1][i])] for name, ends in intervals.items()},
        }
        for i, size in enumerate(sizes.group_size)
    ]


def _filter_json(each: FilterCost, found: Prediction) -> dict[str, Any]:
    document = each._asdict()
    if each.name == "keep" or found.tells_refill:
        return document
    return document | {
        "generated_per_kept": None,
        "filled": None,
        "contrast_per_1000_trained": None,
    }


def _recommendation_json(found: Prediction, advice: str) -> dict[str, Any]:
    best = found.recommendation.best
    return {
        "text": advice,
        "group_sizes_text": sizes_text(found),
        "change": "none" if best is None else best.name,
        "group_size": found.group_size,
        "contrast_per_1000_rollouts_now": found.recommendation.now,
        "best": None if best is None else _change_json(best, found),
        "weighed": [_change_json(each, found) for each in found.recommendation.weighed],
    }


def _change_json(change: Change, found: Prediction) -> dict[str, Any]:
    document = {
        "change": change.name,
        "kind": change.kind,
        "group_size": change.group_size,
        "contrast_per_1000_rollouts": change.contrast_per_1000,
        **_estimated_json("contrast_ratio", change.contrast_ratio),
        **_estimated_json("signal_to_noise", change.signal_to_noise),
        "gains_by_both": change.gains,
        "text": change_text(change, found),
    }
    cost = change.cost
    if isinstance(cost, SizeCost):
        return document | {"cost": cost._asdict()}
    return document | {
        **_estimated_json("split_per_1000_rollouts", cost.split_per_1000),
        "cost": {
            **_estimated_json("skipped", cost.skipped),
            **_estimated_json("would_split", cost.would_split),
        },
    }


def _estimated_json(name: str, found: Estimated) -> dict[str, Any]:
    return {name: found.value, f"{name}_interval": [found.low, found.high]}


def _forecast_json(forecast: DriftForecast | None) -> dict[str, Any] | None:
    if forecast is None:
        return None

    def share(each: ShareForecast) -> dict[str, Any]:
        return {"last": each.last, "next": each.expected, "interval": [each.low, each.high]}

    return {
        "stretch": "a quarter of the generations so far",
        "unanimous": share(forecast.unanimous),
        "all_wrong": share(forecast.all_wrong),
        "all_correct": share(forecast.all_correct),
    }
