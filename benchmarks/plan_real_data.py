"""The plan on real data: Big-Math from 8 of its 64 rollouts, a training run's next stretch, speed.

Big-Math  each of 20 draws keeps 8 of a problem's 64 logged rollouts (hypergeometric). The truth at
          G = 16 and 32 is the chance that so many of all 64 agree, which no draw has seen.
drift     quarters of the first v visits of a GRPO run (1,209 prompts, groups of 8) forecast the
          stretch after them, for every second v; persistence says the last quarter's share.
skipping  four visits of that run predict what leaving out prompts whose last group was unanimous
          gives at the next visit, for every second visit.
speed     `dissensus plan` on that run's 64,000 groups, and on 10,000,000 groups of a made-up log.

    python -m benchmarks.plan_real_data [--data DIR] [--large] [--json]
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from dissensus import advantages, laws
from dissensus.core.population.counts import Counts
from dissensus.core.population.drift import forecast_shares
from dissensus.core.population.estimate import fit_population
from dissensus.core.population.sizes import predict_sizes, signature_on
from dissensus.core.population.skipping import skip_rows
from dissensus.lab.paper.data import big_math

DRAWS, DRAWN = 20, 8
SNR_SIZES = [4, 16, 32]
ERROR_LIMIT, HELD_LIMIT = 0.005, 18
SECONDS_LIMIT, LARGE_SECONDS_LIMIT, LARGE_GIB_LIMIT = 10.0, 60.0, 2.0
RUN = "one_shot_rlvr_group_accuracy.json"


def plan_big_math() -> dict:
    """Median error at G = 16, and how often the interval at 32 holds the truth."""
    data = big_math()
    share = data.problems / data.problems.sum()
    sizes = np.array([16, 32])
    truth = [float(share @ laws.unbiased_unanimous_rate(data.correct_of_64, 64, G)) for G in sizes]
    snr_truth = _true_signal_to_noise(data.correct_of_64, share)
    drawn = []
    for seed in range(DRAWS):
        rng = np.random.default_rng(seed)
        groups = np.zeros(DRAWN + 1)
        for k, problems in zip(data.correct_of_64, data.problems, strict=True):
            kept = rng.hypergeometric(k, 64 - k, DRAWN, size=problems)
            groups += np.bincount(kept, minlength=DRAWN + 1)
        found = fit_population(Counts.from_groups(range(DRAWN + 1), DRAWN, weights=groups))
        ends = found.allowed.range_of(laws.unanimous_rate(found.population.rates, sizes[:, None]))
        snr = predict_sizes(
            found.population, found.allowed, SNR_SIZES, advantages.get("grpo"), group_size=DRAWN
        )
        naive = laws.unanimous_rate(np.arange(DRAWN + 1) / DRAWN, sizes[:, None])
        drawn.append(
            {
                "said": found.population.unanimous_rate(sizes).tolist(),
                "low": ends.low.tolist(),
                "high": ends.high.tolist(),
                "signal_to_noise": snr.signal_to_noise.tolist(),
                "signal_ends": [snr.signal_range.low.tolist(), snr.signal_range.high.tolist()],
                "plug_in": (naive @ groups / groups.sum()).tolist(),
            }
        )
    errors = [abs(each["said"][0] - truth[0]) for each in drawn]
    held = [sum(each["low"][i] <= truth[i] <= each["high"][i] for each in drawn) for i in range(2)]
    return {
        "truth": truth,
        "draws": drawn,
        "median_error_at_16": float(np.median(errors)),
        "largest_error_at_16": max(errors),
        "median_error_of_plug_in_at_16": float(
            np.median([abs(each["plug_in"][0] - truth[0]) for each in drawn])
        ),
        "held_at_16": held[0],
        "held_at_32": held[1],
        "signal_to_noise": {
            "sizes": SNR_SIZES,
            "truth": snr_truth,
            "said": np.median([each["signal_to_noise"] for each in drawn], axis=0).tolist(),
            "ends": np.median([each["signal_ends"] for each in drawn], axis=0).tolist(),
            "held": [
                sum(
                    each["signal_ends"][0][i] <= value <= each["signal_ends"][1][i]
                    for each in drawn
                )
                for i, value in enumerate(snr_truth)
            ],
        },
        "median_interval_at_32": [
            float(np.median([each[end][1] for each in drawn])) for end in ("low", "high")
        ],
        "met": float(np.median(errors)) <= ERROR_LIMIT and held[1] >= HELD_LIMIT,
    }


def _true_signal_to_noise(correct: np.ndarray, share: np.ndarray) -> list[float]:
    """GRPO's E[σ]/sqrt(P(split)) over that of groups of 8, drawn without replacement from 64."""
    grpo, found = advantages.get("grpo"), []
    for size in (*SNR_SIZES, DRAWN):
        signature = advantages.signature(grpo, size)
        std = share @ laws.unbiased_expected_contrast(signature, correct, 64)
        split = 1 - share @ laws.unbiased_unanimous_rate(correct, 64, size)
        found.append(float(std / np.sqrt(split)))
    return [each / found[-1] for each in found[:-1]]


def forecast_run(path: Path) -> dict:
    """Errors of the forecast and of persistence by cause, one and two quarters ahead."""
    visits = list(json.loads(path.read_text()).values())
    common = 52
    table = np.zeros((common, 3))
    for accuracies in visits:
        for visit, accuracy in enumerate(accuracies[:common]):
            table[visit] += (accuracy == 0, accuracy == 1, 1)
    rows = []
    for ahead in (1, 2):
        for end in range(12, common, 2):
            length = end // 4
            start = end + (ahead - 1) * length
            if start + length > common:
                continue
            quarters = np.array([part.sum(axis=0) for part in np.array_split(table[:end], 4)])
            wrong, right, groups = table[start : start + length].sum(axis=0)
            found = forecast_shares(*quarters.T, ahead=ahead)
            measured = ((wrong + right) / groups, wrong / groups, right / groups)
            rows.append(
                {
                    "visits": end,
                    "ahead": ahead,
                    "measured": measured,
                    "said": [each.expected for each in found],
                    "last": [each.last for each in found],
                    "held": [
                        each.low <= value <= each.high
                        for each, value in zip(found, measured, strict=True)
                    ],
                }
            )
    error, kept = (
        np.abs([np.subtract(row[name], row["measured"]) for row in rows])
        for name in ("said", "last")
    )
    return {
        "splits": rows,
        "mean_error": error.mean(axis=0).tolist(),
        "mean_error_of_persistence": kept.mean(axis=0).tolist(),
        "better": (error < kept).mean(axis=0).tolist(),
        "held": float(np.mean([row["held"] for row in rows])),
        "met": bool((error.mean(axis=0) < kept.mean(axis=0)).all()),
    }


def skip_on_run(path: Path) -> dict:
    """Predicted beside measured next visits, by what puts prompts on the list.

    Measured shares have noise of their own: that of the few hundred groups they are counted in.
    """
    grpo, visits = advantages.get("grpo"), list(json.loads(path.read_text()).values())
    common, fitted = 44, 4
    correct = np.rint(8 * np.array([each[:common] for each in visits])).astype(int)
    listed = {"all-wrong": lambda k: k == 0, "all-correct": lambda k: k == 8}
    listed["unanimous"] = lambda k: k % 8 == 0
    rows = []
    for end in range(fitted, common, 2):
        past, last, later = correct[:, end - fitted : end], correct[:, end - 1], correct[:, end]
        prompts = np.repeat(np.arange(len(past)), fitted)
        found = fit_population(Counts.from_groups(past.ravel(), 8, prompts=prompts))
        signature = signature_on(grpo, 8, found.population)
        now = 125 * found.population.expected_contrast(signature)
        std = np.sqrt(later * (8 - later)) / 8
        for row in skip_rows(found.population, found.allowed, signature):
            skip = listed[row.name](last)
            price = later[skip] % 8 > 0
            noise = 1.96 * float(np.sqrt(price.mean() * (1 - price.mean()) / len(price)))
            rows.append(
                {
                    "visits": end,
                    "name": row.name,
                    "said": [
                        row.skipped.value, row.would_split.value, now * row.contrast_ratio.value,
                        row.split_per_1000.value, row.contrast_ratio.value,
                    ],
                    "measured": [
                        float(skip.mean()), float(price.mean()), float(125 * std[~skip].mean()),
                        float(125 * (later[~skip] % 8 > 0).mean()),
                        float(std[~skip].mean() / std.mean()),
                    ],
                    "held": row.would_split.low <= price.mean() <= row.would_split.high,
                    "held_with_noise": row.would_split.low - noise
                    <= price.mean()
                    <= row.would_split.high + noise,
                }
            )  # fmt: skip
    by_name = {}
    for name in listed:
        mine = [row for row in rows if row["name"] == name]
        said, measured = (np.array([row[key] for row in mine]) for key in ("said", "measured"))
        by_name[name] = {
            "splits": len(mine),
            "said": said.mean(axis=0).tolist(),
            "measured": measured.mean(axis=0).tolist(),
            "mean_error": np.abs(said - measured).mean(axis=0).tolist(),
            "held": float(np.mean([row["held"] for row in mine])),
            "held_with_noise": float(np.mean([row["held_with_noise"] for row in mine])),
        }
    return {"rows": rows, "by_name": by_name}


def time_plan(path: Path) -> dict:
    """Seconds by the clock and of the processor, and peak memory, of one call of the command."""
    code = "from dissensus.cli import main; main()"
    command = [sys.executable, "-c", code, "plan", str(path), "--json"]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=dict(os.environ))
    seconds = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    return {
        "seconds": seconds,
        "processor_seconds": used,
        "peak_gib": after.ru_maxrss / 2**20,
    }


def write_large_log(path: Path) -> None:
    """10,000,000 groups of 8 of a million prompts, ten visits each."""
    import duckdb

    duckdb.sql(
        f"""COPY (
            SELECT i // 50000 AS step, 'prompt-' || (i % 1000000) AS prompt_id, 8 AS size,
                CASE hash(i) % 10 WHEN 0 THEN 0 WHEN 1 THEN 0 WHEN 2 THEN 8
                    ELSE hash(i + 1) % 9 END AS correct_count
            FROM range(10000000) AS t(i)) TO '{path}' (FORMAT parquet)"""  # noqa: S608
    )


def run_benchmark(data: Path, *, large: bool) -> dict:
    result: dict = {"big_math": plan_big_math()}
    run = data / RUN
    if run.is_file():
        result["drift"] = forecast_run(run)
        result["skipping"] = skip_on_run(run)
        result["speed"] = {"limit_s": SECONDS_LIMIT, **time_plan(run)}
    else:
        print(f"no {RUN} in {data}: drift and speed are skipped", file=sys.stderr)
    if large:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "large.parquet"
            write_large_log(path)
            limits = {"limit_s": LARGE_SECONDS_LIMIT, "limit_gib": LARGE_GIB_LIMIT}
            result["large"] = limits | time_plan(path)
    return result


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    default = Path(__file__).resolve().parents[2] / "shared" / "data"
    parser.add_argument(
        "--data", type=Path, default=Path(os.environ.get("DISSENSUS_SHARED_DATA", default))
    )
    parser.add_argument("--large", action="store_true", help="10,000,000 groups as well")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args(argv)
    result = run_benchmark(arguments.data, large=arguments.large)
    if arguments.json:
        print(json.dumps(result))
        return 0
    found = result["big_math"]
    low, high = found["median_interval_at_32"]
    print(
        f"Big-Math, G = 16: truth {found['truth'][0]:.1%}, median error "
        f"{found['median_error_at_16']:.2%}, largest {found['largest_error_at_16']:.2%}, "
        f"plug-in at k/8 {found['median_error_of_plug_in_at_16']:.1%}\n"
        f"G = 32: truth {found['truth'][1]:.1%}, intervals about {low:.1%} to {high:.1%}, "
        f"{found['held_at_32']} of {DRAWS} hold it"
    )
    for i, size in enumerate(SNR_SIZES):
        snr = found["signal_to_noise"]
        print(
            f"signal to noise of {size} over {DRAWN}: truth ×{snr['truth'][i]:.4f}, said "
            f"×{snr['said'][i]:.4f}, intervals about {snr['ends'][0][i]:.4f} to "
            f"{snr['ends'][1][i]:.4f}, {snr['held'][i]} of {DRAWS} hold it"
        )
    if "drift" in result:
        drift = result["drift"]
        for i, name in enumerate(("unanimous", "all-wrong", "all-correct")):
            print(
                f"{name:12} forecast off by {drift['mean_error'][i]:.2%}, persistence by "
                f"{drift['mean_error_of_persistence'][i]:.2%}; better in {drift['better'][i]:.0%} "
                f"of {len(drift['splits'])} splits"
            )
        print(f"intervals hold {drift['held']:.0%}")
    for name, row in result.get("skipping", {"by_name": {}})["by_name"].items():
        said, measured = row["said"], row["measured"]
        print(
            f"skip {name:11} {said[0]:.1%} skipped (measured {measured[0]:.1%}), of them would "
            f"split {said[1]:.1%} ({measured[1]:.1%}, error {row['mean_error'][1]:.1%}, held "
            f"{row['held']:.0%}, {row['held_with_noise']:.0%} with its noise), contrast "
            f"{said[2]:.1f} ({measured[2]:.1f}), ×{said[4]:.2f} (×{measured[4]:.2f}), split groups "
            f"{said[3]:.1f} ({measured[3]:.1f})"
        )
    for name in ("speed", "large"):
        if name in result:
            row = result[name]
            print(
                f"{name}: {row['seconds']:.1f} s by the clock, {row['processor_seconds']:.1f} s of "
                f"the processor, {row['peak_gib']:.2f} GiB (limit {row['limit_s']:.0f} s)"
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
