"""Will the next group of this prompt be unanimous? The difficulty posterior on a real run.

The data are the counts of a GRPO run (1,209 prompts, groups of 8, 44 to 57 visits each). Models are
fitted to the prompts at even places of the file; every visit but the first of the others is
forecast from the visits before it. Differences come with a bootstrap over prompts.

    python -m benchmarks.forecast [FILE] [--resamples 2000] [--json]

FILE is `one_shot_rlvr_group_accuracy.json`, by default in the folder DISSENSUS_SHARED_DATA.
Gradient-boosted trees need scikit-learn and are left out without it.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import forecast_references as references
from benchmarks import forecast_tried as tried
from benchmarks.forecast_references import SIZE, log_loss, log_losses, scored, squared_errors
from dissensus.core.difficulty import (
    DEFAULT_MODEL,
    SolveRateModel,
    SolveRatePosterior,
    fit_model,
    neutral_model,
)

LIMITS = {"log_loss": 0.383, "brier": 0.1212}
ALL_DECILES = 2.81  # standard errors: ten deciles at once, 95 %
STILL_FOR_EVER = 1e12


def read_counts(path: Path) -> np.ndarray:
    """(N, T) correct rollouts of every visit in file order, −1 after a prompt's last."""
    visits = list(json.loads(path.read_text()).values())
    counts = np.full((len(visits), max(map(len, visits))), -1)
    for row, accuracies in zip(counts, visits, strict=True):
        row[: len(accuracies)] = np.rint(np.array(accuracies) * SIZE)
    return counts


def fitted(counts: np.ndarray, **settings: Any) -> SolveRateModel:
    """The model as shipped: from a neutral one, which counts for one visit a state."""
    prompt, visit = np.nonzero(counts >= 0)
    start = neutral_model(settings.pop("states", 21))
    return fit_model(prompt, counts[prompt, visit], SIZE, start=start, strength=1.0, **settings)


def forecasts(
    counts: np.ndarray, model: SolveRateModel, *, is_pooled: bool = True
) -> dict[str, np.ndarray]:
    """(N, T) chances by the posterior, fed one visit of every prompt at a time."""
    posterior = SolveRatePosterior(len(counts), model=model)
    out = {name: np.empty(counts.shape) for name in ("unanimous", "all_wrong", "all_correct")}
    for t in range(counts.shape[1]):
        if not is_pooled:
            posterior.drift.log_weights[:] = -STILL_FOR_EVER
            posterior.drift.log_weights[usual_way(model)] = 0.0
        now = posterior.forecast(SIZE)
        for name, table in out.items():
            table[:, t] = getattr(now, name).mean
        seen = np.flatnonzero(counts[:, t] >= 0)
        posterior.update(seen, counts[seen, t], SIZE)
    return out


def usual_way(model: SolveRateModel) -> int:
    return int(np.argmax(SolveRatePosterior(1, model=model).drift.weights))


def ours(fit: np.ndarray, counts: np.ndarray, **settings: Any) -> np.ndarray:
    return forecasts(counts, fitted(fit, **settings))["unanimous"]


def score(counts: np.ndarray, chance: np.ndarray) -> dict[str, float]:
    brier = float(squared_errors(counts, chance)[scored(counts)].mean())
    return {"log_loss": log_loss(counts, chance), "brier": brier}


def paired_difference(
    counts: np.ndarray, chance: np.ndarray, other: np.ndarray, resamples: int
) -> dict[str, list[float]]:
    """First minus second, and its 95 % interval over resampled prompts."""
    ok = scored(counts)
    rng = np.random.default_rng(0)
    drawn = rng.multinomial(len(counts), np.full(len(counts), 1 / len(counts)), size=resamples)
    visits = drawn @ ok.sum(axis=1)
    out = {}
    for name, loss in (("log_loss", log_losses), ("brier", squared_errors)):
        with np.errstate(invalid="ignore"):
            gap = np.where(ok, loss(counts, chance) - loss(counts, other), 0.0).sum(axis=1)
        ends = np.quantile(drawn @ gap / visits, [0.025, 0.975])
        out[name] = [float(gap.sum() / ok.sum()), *map(float, ends)]
    return out


def calibration(counts: np.ndarray, chance: np.ndarray, outcome: np.ndarray) -> list[dict]:
    """By tenth of the forecast: mean forecast, share that came, and their gap in standard errors.

    The error counts a prompt's visits as one observation, since they are not independent; it is
    never below the binomial one, which alone is right where nearly nothing came.
    """
    ok = scored(counts)
    order = np.argsort(chance[ok], kind="stable")
    prompt = np.nonzero(ok)[0][order]
    gap = (outcome[ok] - chance[ok])[order]
    rows = []
    for part in np.array_split(np.arange(len(order)), 10):
        by_prompt = np.bincount(prompt[part], weights=gap[part], minlength=len(counts))
        expected = chance[ok][order][part]
        variance = max(np.square(by_prompt).sum(), (expected * (1.0 - expected)).sum())
        rows.append(
            {
                "forecast": float(expected.mean()),
                "came": float(outcome[ok][order][part].mean()),
                "standard_errors": float(gap[part].sum() / np.sqrt(variance)),
            }
        )
    return rows


def moved_otherwise(counts: np.ndarray) -> dict[str, np.ndarray]:
    """The same run as other policies would have lived it."""
    backwards = np.full(counts.shape, -1)
    for row, new in zip(counts, backwards, strict=True):
        visits = row[row >= 0][::-1]
        new[: len(visits)] = visits
    return {
        "as it was": counts,
        "every fourth visit": counts[:, ::4],
        "every twelfth visit": counts[:, ::12],
        "backwards": backwards,
        "backwards, every fourth": backwards[:, ::4],
    }


def other_policies(fit: np.ndarray, counts: np.ndarray) -> dict[str, dict[str, float]]:
    """Log loss of the shipped model on policies it was not fitted to, and of one fitted to them."""
    of_fit, of_counts = moved_otherwise(fit), moved_otherwise(counts)
    out = {}
    for name, table in of_counts.items():
        chances = {
            "beta(.3, .3), decay .9": references.fading_beta(table, table),
            "shipped, no pooled drift": forecasts(table, DEFAULT_MODEL, is_pooled=False),
            "shipped": forecasts(table, DEFAULT_MODEL),
            "nothing fitted (neutral)": forecasts(table, neutral_model()),
            "fitted to this policy": forecasts(table, fitted(of_fit[name])),
        }
        out[name] = {
            key: log_loss(table, each["unanimous"] if isinstance(each, dict) else each)
            for key, each in chances.items()
        }
    return out


def costs(prompts: int = 10_000_000, visited: int = 1_000_000, batch: int = 1024) -> dict:
    """Median processor time of one update and bytes saved, over a large pool."""
    rng = np.random.default_rng(0)
    posterior = SolveRatePosterior(prompts)
    chosen = rng.choice(prompts, visited, replace=False)
    for part in np.array_split(chosen, 20):
        posterior.update(part, rng.binomial(SIZE, 0.4, len(part)), SIZE, now=0)
    seconds = []
    for step in range(1, 31):
        groups = rng.choice(chosen, batch, replace=False), rng.binomial(SIZE, 0.4, batch)
        began = time.process_time()
        posterior.update(*groups, SIZE, now=step)
        seconds.append(time.process_time() - began)
    saved = sum(np.asarray(each).nbytes for each in posterior.state_dict().values())
    return {
        "prompts": prompts,
        "visited": visited,
        "groups": batch,
        "update_s": float(np.median(seconds)),
        "saved_bytes": saved,
    }


def what_was_tried(fit: np.ndarray, counts: np.ndarray) -> dict[str, dict[str, float]]:
    model = fitted(fit)
    on_fit = forecasts(fit, model)["unanimous"]
    on_counts = forecasts(counts, model)["unanimous"]
    attempts: dict[str, Callable[[], np.ndarray]] = {
        "without the pooled drift": lambda: forecasts(counts, model, is_pooled=False)["unanimous"],
        "11 states": lambda: ours(fit, counts, states=11),
        "31 states": lambda: ours(fit, counts, states=31),
        "beta: fitted prior and decay": lambda: references.fitted_beta(fit, counts),
        "beta: and pooled drift": lambda: references.fitted_beta(fit, counts, drifts=True),
        "beta: seven decays, mixed": lambda: references.beta_experts(fit, counts),
        "stacked by logistic regression": lambda: tried.recalibrated(fit, on_fit, on_counts),
        "chain, neighbours not averaged": lambda: tried.chain(fit, counts),
        "  and two states at a time": lambda: tried.chain(fit, counts, reach=2),
        "  and any state at a time": lambda: tried.chain(fit, counts, reach=np.inf),
        "  and a trembling rate, 60": lambda: tried.chain(fit, counts, concentration=60.0),
        "  and a trembling rate, 300": lambda: tried.chain(fit, counts, concentration=300.0),
        "  and two speeds": lambda: tried.two_speeds(fit, counts),
        "  and two speeds, switching": lambda: tried.two_speeds(fit, counts, switching=0.01),
        "ways to move voted visit by visit": lambda: tried.vote_per_visit(fit, counts, model=model),
    }
    return {name: score(counts, attempt()) for name, attempt in attempts.items()}


def run_benchmark(path: Path, resamples: int) -> dict[str, Any]:
    started = time.perf_counter()
    counts = read_counts(path)
    fit, rest = counts[::2], counts[1::2]
    chances = forecasts(rest, DEFAULT_MODEL)
    names: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
        "plug-in of the last group": references.plug_in,
        "beta(1, 1), no decay": references.flat_beta,
        "beta(.3, .3), decay .9": references.fading_beta,
        "logistic on moving averages": references.logistic,
        "gradient-boosted trees": references.boosted_trees,
    }
    against = {}
    for name, reference in names.items():
        try:
            other = reference(fit, rest)
        except ImportError:
            continue
        difference = paired_difference(rest, chances["unanimous"], other, resamples)
        against[name] = score(rest, other) | {"ours_minus_it": difference}
    outcome = {
        "unanimous": references.is_unanimous(rest),
        "all_wrong": rest == 0,
        "all_correct": rest == SIZE,
    }
    deciles = {name: calibration(rest, chances[name], outcome[name]) for name in outcome}
    result = score(rest, chances["unanimous"])
    worst = max(abs(row["standard_errors"]) for rows in deciles.values() for row in rows)
    return {
        "ours": result,
        "halves_swapped": score(fit, forecasts(fit, fitted(rest))["unanimous"]),
        "against": against,
        "calibration": deciles,
        "worst_decile_standard_errors": worst,
        "tried": what_was_tried(fit, rest),
        "other_policies": other_policies(fit, rest),
        "costs": costs(),
        "visits": int(scored(rest).sum()),
        "seconds": time.perf_counter() - started,
        "limits": LIMITS,
        "met": all(result[name] <= limit for name, limit in LIMITS.items())
        and worst <= ALL_DECILES,
    }


def print_tables(result: dict[str, Any]) -> None:
    row = "{:34} {:>8.4f} {:>8.4f}"
    print(f"{result['visits']} visits{'':22} log loss    Brier   ours minus it, 95 % interval")
    print(row.format("ours", *result["ours"].values()))
    print(row.format("ours, the halves swapped", *result["halves_swapped"].values()))
    for name, each in result["against"].items():
        gap, low, high = each["ours_minus_it"]["log_loss"]
        print(row.format(name, each["log_loss"], each["brier"]), end="")
        print(f"   {gap:+.4f} [{low:+.4f}, {high:+.4f}]")
    print("\ncalibration by tenth of the forecast: forecast, came (gap in standard errors)")
    for name, rows in result["calibration"].items():
        cells = (f"{x['forecast']:.3f} {x['came']:.3f} ({x['standard_errors']:+.1f})" for x in rows)
        print(f"{name:12}", " · ".join(cells))
    print("\ntried")
    for name, each in result["tried"].items():
        print(row.format(name, each["log_loss"], each["brier"]))
    print("\nlog loss on other policies")
    for name, each in result["other_policies"].items():
        print(f"{name:24}", " · ".join(f"{key} {value:.4f}" for key, value in each.items()))
    cost = result["costs"]
    print(
        f"\nupdate of {cost['groups']:,} groups {1e3 * cost['update_s']:.1f} ms, saved state "
        f"{cost['saved_bytes'] / 1e6:.0f} MB: {cost['prompts']:,} prompts, "
        f"{cost['visited']:,} of them visited"
    )
    print("met" if result["met"] else f"NOT met: {result['limits']}, {ALL_DECILES} standard errors")


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    folder = os.environ.get("DISSENSUS_SHARED_DATA", Path(__file__).parents[2] / "shared" / "data")
    default = Path(folder) / "one_shot_rlvr_group_accuracy.json"
    parser.add_argument("file", nargs="?", type=Path, default=default)
    parser.add_argument("--resamples", type=int, default=2000)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args(argv)
    if not arguments.file.is_file():
        print(f"no data at {arguments.file}; name the file", file=sys.stderr)
        return 2
    result = run_benchmark(arguments.file, arguments.resamples)
    if arguments.json:
        print(json.dumps(result))
    else:
        print_tables(result)
    return 0


if __name__ == "__main__":
    sys.exit(main())
