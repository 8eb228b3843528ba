"""What recording costs a real training step: TRL on the lab's model, pairs in one run.

    python -m benchmarks.recording_cost [--pairs 30] [--json]

Both steps of a pair sample the same prompts with the same random numbers at learning rate 0, so
they do the same work; one of them, in turn the first and the second, runs plain `GRPOTrainer`
methods, the other records 512 rollouts with their texts, measures the groups and logs the metrics.
Four views of the same pairs, as fractions of the plain step:

    own_thread   time inside this package's code on the training thread: what training waits for
    writer_cpu   processor time of the recorder's thread per recorded step, wherever it ran
    extra_cpu    processor time of the whole process, recorded − plain: holds everything, but noisy
    extra_wall   the same by the clock: noisier still on a busy machine
"""

from __future__ import annotations

import argparse
import json
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

from dissensus.lab.model import load_model
from dissensus.lab.quiet import quiet_frameworks
from dissensus.lab.settings import TrainSettings
from dissensus.lab.tasks import exact_match_reward, make_problems, to_dataset
from dissensus.lab.tokenizer import build_tokenizer
from dissensus.lab.training import _trl_arguments

WARM_UP = 2  # pairs


def make_trainer_class() -> type:
    """A trainer that records one step of each pair, and times its own code."""
    from trl import GRPOTrainer

    from dissensus.integrations.trl import DisagreementGRPOTrainer

    class Pairs(DisagreementGRPOTrainer):
        own_s = 0.0

        @property
        def is_recorded(self) -> bool:
            pair, second = divmod(self.state.global_step, 2)
            return (pair % 2 == 0) == bool(second)

        def _calculate_rewards(self, *args):
            if self.is_recorded:
                return super()._calculate_rewards(*args)
            return GRPOTrainer._calculate_rewards(self, *args)

        def _generate_and_score_completions(self, inputs):
            if self.is_recorded:
                return super()._generate_and_score_completions(inputs)
            return GRPOTrainer._generate_and_score_completions(self, inputs)

        def _observe(self, *args, **kwargs):
            return self._timed(super()._observe, *args, **kwargs)

        def _score(self, *args, **kwargs):
            return self._timed(super()._score, *args, **kwargs)

        def _timed(self, call, *args, **kwargs):
            start = time.perf_counter()
            try:
                return call(*args, **kwargs)
            finally:
                self.own_s += time.perf_counter() - start

    return Pairs


def make_clock():
    """A callback that seeds each pair and reads the clocks of each step."""
    import torch
    from transformers import TrainerCallback

    class Clock(TrainerCallback):
        trainer = None
        rows: list[tuple[bool, float, float, float]] = []  # noqa: RUF012 - one clock a process

        def on_step_begin(self, _args, state, _control, **_):
            torch.manual_seed(state.global_step // 2)
            self.kind, self.trainer.own_s = self.trainer.is_recorded, 0.0
            self.wall, self.cpu = time.perf_counter(), time.process_time()

        def on_step_end(self, *_, **__):
            wall, cpu = time.perf_counter() - self.wall, time.process_time() - self.cpu
            self.rows.append((self.kind, wall, cpu, self.trainer.own_s))

    return Clock()


def build_trainer(folder: Path, pairs: int):
    """The lab's training, every step on the same prompts."""
    from trl import GRPOConfig

    settings = TrainSettings(steps=2 * (pairs + WARM_UP), learning_rate=0.0)
    problems = make_problems(
        "train",
        settings.prompts_per_step,
        seed=0,
        families=settings.families,
        levels=settings.levels,
    )
    clock = make_clock()
    arguments = {**_trl_arguments(settings, folder), "shuffle_dataset": False}
    clock.trainer = make_trainer_class()(
        model=load_model(None),
        reward_funcs=exact_match_reward,
        args=GRPOConfig(**arguments),
        train_dataset=to_dataset(problems),
        processing_class=build_tokenizer(),
        callbacks=[clock],
        run_dir=folder / "run",
    )
    return clock.trainer, clock


def writer_cpu_s() -> float:
    """Processor time of the recorder's thread so far."""
    writers = [t for t in threading.enumerate() if t.name.startswith("dissensus-recorder")]
    return sum(time.clock_gettime(time.pthread_getcpuclockid(t.ident)) for t in writers)


def measure(pairs: int) -> dict:
    """Run the pairs; the first ones only warm up."""
    import torch
    from transformers import PrinterCallback

    torch.set_num_threads(1)  # threads that wait for each other would count as processor time
    folder = Path(tempfile.mkdtemp())
    with quiet_frameworks():
        trainer, clock = build_trainer(folder, pairs)
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    trainer.recorder.flush()
    writer_s = writer_cpu_s() / (pairs + WARM_UP)
    trainer.recorder.close()
    rows = clock.rows[2 * WARM_UP :]
    recorded = np.array([row[1:] for row in rows if row[0]])
    plain = np.array([row[1:] for row in rows if not row[0]])
    step_s = float(np.median(plain[:, 0]))
    return {
        "pairs": pairs,
        "rollouts_per_step": 512,
        "plain_step_s": round(step_s, 4),
        "own_thread_ms": round(1e3 * float(np.median(recorded[:, 2])), 3),
        "own_thread_frac": summary(recorded[:, 2] / step_s),
        "writer_cpu_ms": round(1e3 * writer_s, 3),
        "writer_cpu_frac": round(writer_s / step_s, 5),
        "extra_wall_frac": summary(recorded[:, 0] / plain[:, 0] - 1),
        "extra_cpu_frac": summary(recorded[:, 1] / plain[:, 1] - 1),
        "dropped": trainer.recorder.dropped,
    }


def summary(values: np.ndarray) -> dict:
    """Median with a bootstrap interval."""
    rng = np.random.default_rng(0)
    medians = np.median(values[rng.integers(0, len(values), (4000, len(values)))], axis=1)
    low, high = np.quantile(medians, [0.025, 0.975])
    return {
        "median": round(float(np.median(values)), 5),
        "interval_95": [round(float(low), 5), round(float(high), 5)],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=30)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    print(json.dumps(measure(options.pairs), indent=None if options.json else 2))


if __name__ == "__main__":
    main()
