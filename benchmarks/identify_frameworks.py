"""Identify the real advantage functions of whatever frameworks can be imported here, as a table.

    python benchmarks/identify_frameworks.py            # all that can be imported
    python benchmarks/identify_frameworks.py verl trl   # these only

Each framework is imported in its own process, as their requirements exclude each other; put what
is installed elsewhere on PYTHONPATH. A framework that cannot be imported is one line with the
reason.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import types
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

Entry = tuple[str, Callable[..., Any]]


def verl() -> Iterator[Entry]:
    core = importlib.import_module("verl.trainer.ppo.core_algos")
    yield from core.ADV_ESTIMATOR_REGISTRY.items()
    grpo = core.ADV_ESTIMATOR_REGISTRY["grpo"]
    yield "grpo, no std", partial(grpo, norm_adv_by_std_in_grpo=False)


def trl() -> Iterator[Entry]:
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "integrations"))
    tiny = importlib.import_module("tiny")
    library = importlib.import_module("trl")
    folder = tempfile.mkdtemp(prefix="dissensus-identify-")
    for scale in ("group", "batch", "none"):
        settings = {"scale_rewards": scale}
        yield (
            f"GRPOTrainer scale_rewards={scale}",
            tiny.build(library.GRPOTrainer, folder, args=settings),
        )
    gdpo = {"multi_objective_aggregation": "normalize_then_sum"}
    yield "GRPOTrainer normalize_then_sum", tiny.build(library.GRPOTrainer, folder, args=gdpo)


def ms_swift() -> Iterator[Entry]:
    module = importlib.import_module("swift.rl_core.advantage")
    for estimator in ("grpo", "rloo", "reinforce_plus_plus"):
        for scale in ("group", "batch", "none"):
            settings = {"advantage_estimator": estimator, "scale_rewards": scale}
            yield f"{estimator}, {scale}", partial(module.compute_advantages, **settings)
    yield "grpo, gdpo", partial(module.compute_advantages, scale_rewards="gdpo")
    yield "dynamic grpo", module.compute_advantages_dynamic


def roll() -> Iterator[Entry]:
    norm = importlib.import_module("roll.utils.functionals").reward_norm
    for mean, std in (
        ("group", "group"),
        ("group", "batch"),
        ("group", None),
        ("batch", "batch"),
    ):
        yield f"mean {mean}, std {std}", partial(norm, norm_mean_type=mean, norm_std_type=std)


def areal() -> Iterator[Entry]:
    data = importlib.import_module("areal.utils.data")
    config = importlib.import_module("areal.api.cli_args").NormConfig
    for mean, std, alone in (
        ("group", "group", False),
        ("group", "group", True),
        ("group", "batch", False),
        ("batch", "batch", False),
        ("group", None, False),
        ("group", None, True),
    ):
        settings = {"mean_level": mean, "std_level": std, "mean_leave1out": alone, "group_size": 8}
        name = f"{mean}/{std}{', leave one out' if alone else ''}"
        yield name, data.Normalization(config(**settings))


def tinker_cookbook() -> Iterator[Entry]:
    module = importlib.import_module("tinker_cookbook.rl.data_processing")
    yield "compute_advantages", module.compute_advantages


def nemo_rl() -> Iterator[Entry]:
    module = importlib.import_module("nemo_rl.algorithms.advantage_estimator")
    for normalise in (True, False):
        for alone in (True, False):
            settings = types.SimpleNamespace(
                normalize_rewards=normalise, use_leave_one_out_baseline=alone
            )
            name = f"grpo normalize={normalise} leave_one_out={alone}"
            yield name, module.GRPOAdvantageEstimator(settings, None).compute_advantage


def skyrl() -> Iterator[Entry]:
    # The package's own __init__ wants Python 3.12; the one file that is needed does not.
    spec = importlib.util.find_spec("skyrl")
    if spec is None or spec.submodule_search_locations is None:
        raise ImportError("no module named 'skyrl'")
    backends = types.ModuleType("skyrl.backends")
    backends.__path__ = [str(Path(next(iter(spec.submodule_search_locations))) / "backends")]
    sys.modules["skyrl.backends"] = backends
    module = importlib.import_module("skyrl.backends.skyrl_train.utils.ppo_utils")
    for name in ("grpo", "rloo", "reinforce_plus_plus", "gae", "maxrl"):
        found = next((f for f in dir(module) if f.startswith(f"compute_{name}")), None)
        if found is not None:
            yield name, getattr(module, found)


FRAMEWORKS = {
    f.__name__: f for f in (verl, trl, ms_swift, roll, areal, tinker_cookbook, nemo_rl, skyrl)
}


def identify_all(framework: str) -> list[dict[str, Any]]:
    """Rows of the table for one framework; runs in a process of its own."""
    from dissensus.audit.blackbox import identify
    from dissensus.integrations.advantage_functions import ADAPTERS

    rows = []
    for name, function in FRAMEWORKS[framework]():
        found = identify(function, adapters=ADAPTERS)
        behaviour = found.behaviour
        rows.append(
            {
                "name": name,
                "rule": found.formula or "none that is known",
                "eps": found.eps,
                "error": found.error,
                "one": None if behaviour is None else behaviour.single[:60],
                "beside": None if behaviour is None else behaviour.silent_beside,
                "noise": None
                if behaviour is None
                else max((a for _, a in behaviour.noise.values()), default=None),
                "failures": list(found.failures),
            }
        )
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("frameworks", nargs="*", default=list(FRAMEWORKS))
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        warnings.simplefilter("ignore")
        rows = identify_all(arguments.worker)
        print("\n" + json.dumps({"rows": rows}))
        return 0
    print(
        "| framework | function | identified as | eps | error | silent beside split | noise | one |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for framework in arguments.frameworks:
        _print(framework)
    return 0


def _print(framework: str) -> None:
    command = [sys.executable, "-W", "ignore", __file__, "--worker", framework]
    with tempfile.TemporaryDirectory() as folder:  # some frameworks write logs where they start
        done = subprocess.run(
            command, capture_output=True, text=True, cwd=folder, env=os.environ, check=False
        )
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["?"])[-1]
        print(f"| {framework} | not run: {reason[:120]} | | | | | | |", flush=True)
        return
    for row in json.loads(done.stdout.strip().splitlines()[-1])["rows"]:
        eps = "" if row["eps"] is None else f"{row['eps'][0]:.5g} – {row['eps'][1]:.5g}"
        error = "" if row["error"] is None else f"{row['error']:.1e}"
        noise = "" if row["noise"] is None else f"{row['noise']:.2g}"
        beside = "" if row["beside"] is None else f"{row['beside']:.2g}"
        print(
            f"| {framework} | {row['name']} | {row['rule']} | {eps} | {error} | {beside} | {noise} "
            f"| {row['one']} |",
            flush=True,
        )


if __name__ == "__main__":
    sys.exit(main())
