"""Read every example configuration below a folder of repositories, and count what stays unknown.

    python benchmarks/audit_corpus.py FOLDER [--repository NAME …] [--unknown] [--only PART]

Each folder inside FOLDER is one repository. Per framework it prints the files that were looked at,
the configurations found, crashes, and how many of the keys that decide the estimator are written
down, left at the framework's documented default, or unknown. Every configuration is also resolved
to its answer, and the unknown fields of the answers are counted.
"""

from __future__ import annotations

import argparse
import collections
import time
from pathlib import Path

from dissensus.audit.configs import Scan, scan_configs
from dissensus.audit.resolve import resolve
from dissensus.audit.settings import Settings

TRL_KEYS = ("scale_rewards", "loss_type", "num_generations", "beta", "multi_objective_aggregation")
DECIDING_KEYS = {
    "trl": TRL_KEYS,
    "unsloth": TRL_KEYS,
    "verl": (
        "algorithm.adv_estimator",
        "algorithm.norm_adv_by_std_in_grpo",
        "algorithm.filter_groups.enable",
        "actor_rollout_ref.actor.loss_agg_mode",
        "actor_rollout_ref.rollout.n",
    ),
    "skyrl": (
        "trainer.algorithm.advantage_estimator",
        "trainer.algorithm.grpo_norm_by_std",
        "trainer.algorithm.advantage_batch_normalize",
        "trainer.algorithm.zero_variance_filter",
        "trainer.algorithm.dynamic_sampling.type",
        "trainer.algorithm.loss_reduction",
        "generator.n_samples_per_prompt",
    ),
    "openrlhf": (
        "algo.advantage.estimator",
        "algo.advantage.no_std_norm",
        "algo.dynamic_filtering_enable",
        "algo.dynamic_filtering_range",
        "rollout.n_samples_per_prompt",
    ),
    "nemo_rl": (
        "grpo.adv_estimator.name",
        "grpo.adv_estimator.normalize_rewards",
        "grpo.adv_estimator.use_leave_one_out_baseline",
        "grpo.use_dynamic_sampling",
        "grpo.num_generations_per_prompt",
        "loss_fn.token_level_loss",
    ),
    "slime": (
        "advantage_estimator",
        "disable_grpo_std_normalization",
        "disable_rewards_normalization",
        "normalize_advantages",
        "dynamic_sampling_filter_path",
        "calculate_per_token_loss",
        "n_samples_per_prompt",
    ),
    "ms_swift": (
        "advantage_estimator",
        "scale_rewards",
        "dynamic_sample",
        "loss_type",
        "num_generations",
    ),
    "open_instruct": (
        "advantage_normalization_type",
        "filter_zero_std_samples",
        "active_sampling",
        "loss_denominator",
        "num_samples_per_prompt_rollout",
    ),
    "prime_rl": (
        "orchestrator.algo.type",
        "orchestrator.train.filter_zero_advantages",
        "orchestrator.group_size",
    ),
    "areal": (
        "actor.reward_norm.mean_level",
        "actor.reward_norm.std_level",
        "actor.reward_norm.mean_leave1out",
        "actor.adv_norm.mean_level",
        "actor.adv_norm.std_level",
        "gconfig.n_samples",
    ),
    "tinker": ("remove_constant_reward_groups", "loss_fn"),
    "roll": (
        "adv_estimator",
        "norm_mean_type",
        "norm_std_type",
        "whiten_advantages",
        "loss_agg_mode",
        "num_return_sequences_in_group",
    ),
}


class Count:
    """What was found for one framework."""

    def __init__(self) -> None:
        self.targets: set[str] = set()
        self.settings = self.crashes = 0
        self.written = self.default = self.unknown = 0
        self.answers = self.answer_fields = self.answer_unknown = 0
        self.names: collections.Counter[str] = collections.Counter()

    def add_keys(self, settings: Settings) -> None:
        """Sort the deciding keys of one configuration by how they are known."""
        self.settings += 1
        self.targets.add(settings.target)
        for key in DECIDING_KEYS[settings.framework]:
            found = settings.find(key)
            if found is None:
                self.default += 1
            elif found.is_known:
                self.written += 1
            else:
                self.unknown += 1
                self.names[f"{key} <- {', '.join(found.missing)[:90]} ({settings.target})"] += 1

    def resolved_percent(self) -> float:
        """Return the share of deciding keys that are known, in percent."""
        total = self.written + self.default + self.unknown
        return 100.0 * (1 - self.unknown / total) if total else 100.0


def add_answer(count: Count, settings: Settings) -> None:
    try:
        answer = resolve(settings).to_json()
    except Exception as error:  # noqa: BLE001 - counted and shown: it is what is measured
        count.crashes += 1
        print(f"  resolve failed on {settings.target}: {type(error).__name__}: {error}"[:200])
        return
    fields = ("numerator", "denominator", "ddof", "eps")
    count.answers += 1
    count.answer_fields += len(fields)
    unknown = [str(name) for name in answer["unknown"]]
    count.answer_unknown += sum(
        any(name.startswith(f"estimator.{field}") for name in unknown) for field in fields
    )


def crashes(scan: Scan) -> list[str]:
    return [str(problem) for problem in scan.problems if "not be understood" in problem.text]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--repository", action="append", help="only these folders of FOLDER")
    parser.add_argument("--only", default="", help="only configurations with this in their path")
    parser.add_argument("--unknown", action="store_true", help="list what stays unknown")
    given = parser.parse_args()
    counts: dict[str, Count] = collections.defaultdict(Count)
    files = problems = 0
    for folder in sorted(path for path in given.folder.iterdir() if path.is_dir()):
        if given.repository and folder.name not in given.repository:
            continue
        start = time.perf_counter()
        scan = scan_configs(folder)
        seconds = time.perf_counter() - start
        failed = crashes(scan)
        files, problems = files + scan.files, problems + len(scan.problems)
        print(
            f"{folder.name:18} {scan.files:6} files {len(scan.settings):5} configurations "
            f"{len(failed):3} crashes {len(scan.problems):3} problems {seconds:6.1f} s"
        )
        for line in failed:
            print("  ", line)
        for settings in scan.settings:
            if given.only in settings.target:
                counts[settings.framework].add_keys(settings)
                add_answer(counts[settings.framework], settings)
    report(counts, show_unknown=given.unknown)
    print(f"{files} files, {problems} problems")


def report(counts: dict[str, Count], *, show_unknown: bool) -> None:
    print(
        f"\n{'framework':14} {'files':>6} {'configs':>8} {'crashes':>8} {'written':>8} "
        f"{'default':>8} {'unknown':>8} {'resolved':>9} {'answers':>8} {'fields unknown':>15}"
    )
    total = Count()
    for name, count in sorted(counts.items()):
        line(name, count)
        for field in (
            "settings",
            "crashes",
            "written",
            "default",
            "unknown",
            "answers",
            "answer_fields",
            "answer_unknown",
        ):
            setattr(total, field, getattr(total, field) + getattr(count, field))
        total.targets |= count.targets
    line("all", total)
    if show_unknown:
        for name, count in sorted(counts.items()):
            for text, times in count.names.most_common(40):
                print(f"  {name}: {times} × {text}")


def line(name: str, count: Count) -> None:
    share = f"{count.answer_unknown}/{count.answer_fields}" if count.answers else "-"
    print(
        f"{name:14} {len(count.targets):6} {count.settings:8} {count.crashes:8} "
        f"{count.written:8} {count.default:8} {count.unknown:8} "
        f"{count.resolved_percent():8.2f}% {count.answers:8} {share:>15}"
    )


if __name__ == "__main__":
    main()
