"""ms-swift's completions.jsonl, by its own JsonlWriter on tables built as its trainers build them.

`python make_ms_swift.py OUT` (needs ms-swift, torch, accelerate).
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from scenario import completion, of_step, stub_what_is_absent

stub_what_is_absent()

# (reward - mean) / (std with ddof 1 + 1e-4)
ADVANTAGES = {
    1: [1.4997, -0.4999, -0.4999, -0.4999] + [0.0] * 4,
    2: [0.86588, 0.86588, -0.86588, -0.86588] + [0.0] * 4,
}


def main(out: Path) -> None:
    from swift.utils.io_utils import JsonlWriter

    for name, key in (("hf", "step"), ("megatron", "gen_step")):
        path = out / name / "completions.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        writer = JsonlWriter(str(path))
        for step in (1, 2):
            rows = [(group, i) for group in of_step(step) for i in range(4)]
            table = {
                key: [str(step) if key == "step" else step - 1] * 8,
                "prompt": [f"user\n{group.prompt}\nassistant\n" for group, _ in rows],
                "completion": [completion(*row) for row in rows],
                "Accuracy": [group.rewards[i] for group, i in rows],
                "Format": [float("nan") if i == 3 else 0.0 for _, i in rows],
                "advantages": ADVANTAGES[step],
            }
            if key == "step":
                table |= {"solution": [group.answer for group, _ in rows]}
            writer.append(table)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
