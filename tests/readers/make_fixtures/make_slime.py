"""slime's debug rollout data, by its own `save_debug_rollout_data` from its own `Sample`.

`PYTHONPATH=<slime checkout> python make_slime.py OUT` (needs torch).
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from scenario import GROUPS, completion, stub_what_is_absent

stub_what_is_absent()


def main(out: Path) -> None:
    from slime.observability.rollout_data_utils import save_debug_rollout_data
    from slime.utils.types import Sample

    for step in (1, 2):
        samples = []
        for number, group in enumerate(GROUPS):
            for i in range(4):
                if group.step != step:
                    continue
                sample = Sample(
                    group_index=number,
                    index=number * 4 + i,
                    prompt=group.prompt,
                    tokens=[1, 2, 3, 4, 5, 6],
                    response=completion(group, i),
                    response_length=3,
                    label=group.answer,
                    reward=group.rewards[i],
                    loss_mask=[1, 1, 1],
                )
                sample.status = Sample.Status.TRUNCATED if i == 3 else Sample.Status.COMPLETED
                samples.append(sample)
        template = str(out / "{rollout_id}.pt")
        save_debug_rollout_data(template, samples, rollout_id=step - 1, evaluation=False)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
