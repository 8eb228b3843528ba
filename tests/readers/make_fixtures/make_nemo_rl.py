"""NeMo-RL's training data log, by its own `Logger.log_batched_dict_as_jsonl`.

`PYTHONPATH=<NeMo-RL checkout> python make_nemo_rl.py OUT` (needs torch, transformers).
"""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

sys.path.insert(0, str(Path(__file__).parent))

from scenario import completion, of_step, stub_what_is_absent

stub_what_is_absent()

# Leave-one-out mean and std of the other three (ddof 1); undivided where that std is 0.
ADVANTAGES = {
    1: [1.0, -0.57735, -0.57735, -0.57735, 0.0, 0.0, 0.0, 0.0],
    2: [1.1547, 1.1547, -1.1547, -1.1547, 0.0, 0.0, 0.0, 0.0],
}


def main(out: Path) -> None:
    from nemo_rl.utils.logger import Logger

    logger = SimpleNamespace(base_log_dir=str(out))
    for step in (1, 2):
        rows = [(group, i) for group in of_step(step) for i in range(4)]
        prompts = [[ord(letter) for letter in group.prompt] for group, _ in rows]
        answers = [[200 + i] * (2 + i) for _, i in rows]
        width = max(len(a) + len(b) for a, b in zip(prompts, answers, strict=True))
        padding = [width - len(a) - len(b) for a, b in zip(prompts, answers, strict=True)]
        log = {
            "content": [[group.prompt, completion(group, i)] for group, i in rows],
            "rewards": [group.rewards[i] for group, i in rows],
            "input_lengths": [width - pad for pad in padding],
            "token_ids": [
                a + b + [0] * pad for a, b, pad in zip(prompts, answers, padding, strict=True)
            ],
            "token_loss_mask": [
                [0] * len(a) + [1] * len(b) + [0] * pad
                for a, b, pad in zip(prompts, answers, padding, strict=True)
            ],
            "sample_loss_mask": [0.0 if i == 3 and group.rewards[3] else 1.0 for group, i in rows],
            "advantages": [[value] * width for value in ADVANTAGES[step]],
            "generation_logprobs": [[0.0] * width] * 8,
            "prev_logprobs": [[0.0] * width] * 8,
        }
        Logger.log_batched_dict_as_jsonl(logger, log, f"train_data_step{step}.jsonl")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
