"""verl's rollout dumps, by its own `_write_generations` of both trainers.

`PYTHONPATH=<verl and its light dependencies> python make_verl.py OUT`
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from scenario import GROUPS, completion, of_step, stub_what_is_absent

stub_what_is_absent("ray", "dpctl", "habana_frameworks", "google", "requests", "colorful")

UUIDS = {group: f"3f1c9a2e-0000-4000-8000-{i:012d}" for i, group in enumerate(GROUPS)}


def main(out: Path) -> None:
    from verl.trainer.ppo.ray_trainer import RayPPOTrainer
    from verl.trainer.ppo.v1.trainer_base import PPOTrainer

    for step in (1, 2):
        rows = [(group, i) for group in of_step(step) for i in range(4)]
        texts = {
            "inputs": [f"user\n{group.prompt}\nassistant\n" for group, _ in rows],
            "outputs": [completion(*row) for row in rows],
            "gts": [group.answer for group, _ in rows],
            "scores": [group.rewards[i] for group, i in rows],
        }
        PPOTrainer._write_generations(
            **texts,
            reward_extra_infos_dict={"uid": [f"{UUIDS[group]}_{i}_0" for group, i in rows]},
            dump_path=str(out / "v1"),
            global_steps=step,
        )
        # The legacy trainer balances sequence lengths over workers before it writes.
        order = [0, 4, 1, 5, 6, 2, 3, 7]
        legacy = {name: [values[i] for i in order] for name, values in texts.items()}
        RayPPOTrainer._write_generations(
            **legacy,
            reward_extra_infos_dict={
                "acc": [score > 0 for score in legacy["scores"]],
                "request_id": [f"{i:032x}" for i in order],
            },
            dump_path=str(out / "legacy"),
            global_steps=step,
        )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
