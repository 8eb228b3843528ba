"""tinker-cookbook's rollout summaries, by its own serialiser and run store.

`python make_tinker.py OUT` (needs tinker-cookbook, tinker, torch).
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from scenario import of_step, stub_what_is_absent

stub_what_is_absent()


def main(out: Path) -> None:
    from tinker import ModelInput
    from tinker_cookbook.completers import TokensWithLogprobs
    from tinker_cookbook.rl.rollout_logging import (
        RolloutSummaryGroup,
        rollout_summaries_jsonl_path,
        serialize_rollout_summaries_from_groups,
    )
    from tinker_cookbook.rl.types import Trajectory, TrajectoryGroup, Transition

    for step in (1, 2):
        groups = []
        for group in of_step(step):
            trajectories = [
                Trajectory(
                    transitions=[
                        Transition(
                            ob=ModelInput.from_ints([1, 2, 3, 4]),
                            ac=TokensWithLogprobs(tokens=[5] * (2 + i), maybe_logprobs=None),
                            reward=0.0,
                            episode_done=True,
                            metrics={"format": 1.0},
                        )
                    ],
                    final_ob=ModelInput.from_ints([1, 2, 3, 4, 5, 5]),
                )
                for i in range(4)
            ]
            found = TrajectoryGroup(
                trajectories, list(group.rewards), [{"correct": reward} for reward in group.rewards]
            )
            groups.append(RolloutSummaryGroup(found, ["arithmetic"], step - 1))
        records = serialize_rollout_summaries_from_groups(
            split="train", iteration=step - 1, groups_P=groups
        )
        path = rollout_summaries_jsonl_path(out / f"iteration_{step - 1:06d}", "train")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps(record) + "\n" for record in records))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
