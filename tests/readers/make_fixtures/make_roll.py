"""ROLL's rollout dump, by its own `write_to_json_process` and column table.

`PYTHONPATH=<ROLL checkout> python make_roll.py OUT`; OUT must be absolute, as in ROLL.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from scenario import completion, of_step, stub_what_is_absent

stub_what_is_absent()


def main(out: Path) -> None:
    import numpy as np
    from roll.pipeline.rlvr.utils import COLUMMNS_CONFIG, write_to_json_process

    for step in (1, 2):
        rows = [(group, i) for group in of_step(step) for i in range(4)]
        data = {
            "id": np.array([f"arithmetic-{group.prompt}" for group, _ in rows], dtype=object),
            "source": np.array(["lab"] * 8, dtype=object),
            "difficulty": np.array([0.5] * 8, dtype=object),
            "prompt": np.array([group.prompt for group, _ in rows], dtype=object),
            "ground_truth": np.array([group.answer for group, _ in rows], dtype=object),
            "tag": np.array(["math"] * 8, dtype=object),
            "domain": np.array(["math_rule"] * 8, dtype=object),
            "responses": [completion(*row) for row in rows],
            "scores": [group.rewards[i] for group, i in rows],
            "sampling_params": [json.dumps({"num_return_sequences": 4})] * 8,
            "global_step": [step] * 8,
        }
        write_to_json_process(str(out.absolute()), data, COLUMMNS_CONFIG)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
