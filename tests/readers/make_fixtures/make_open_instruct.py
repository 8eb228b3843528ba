"""open-instruct's rollout traces, by its own `_save_rollouts`.

`PYTHONPATH=<open-instruct checkout> python make_open_instruct.py OUT` (needs torch).
"""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

sys.path.insert(0, str(Path(__file__).parent))

from scenario import of_step, stub_what_is_absent

stub_what_is_absent()


def main(out: Path) -> None:
    import numpy as np
    from open_instruct.rl_utils import _save_rollouts

    for step in (1, 2):
        rows = [(group, i) for group in of_step(step) for i in range(4)]
        means = [sum(group.rewards) / 4 for group, _ in rows]
        scores = [group.rewards[i] for group, i in rows]
        batch = SimpleNamespace(
            queries=[[ord(letter) for letter in group.prompt] for group, _ in rows],
            scores=scores,
            datasets=["arithmetic"] * 8,
            ground_truths=[[int(group.answer)] for group, _ in rows],
        )
        result = SimpleNamespace(
            responses=[[5] * (3 + i) for _, i in rows],
            finish_reasons=["length" if i == 3 else "stop" for _, i in rows],
            request_info=None,
            logprobs=[[-0.5] * (3 + i) for _, i in rows],
        )
        _save_rollouts(
            str(out), "run", step, batch, result, np.array(scores) - np.array(means), 4, shard_idx=0
        )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
