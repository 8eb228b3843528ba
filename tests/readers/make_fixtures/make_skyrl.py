"""SkyRL's training-input dump, by its own `TrainingInputBatch.save` and advantage function.

`PYTHONPATH=<SkyRL checkout> python make_skyrl.py OUT` (needs torch).
"""

from __future__ import annotations

import sys
import types
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from scenario import of_step, stub_what_is_absent

stub_what_is_absent()


def main(out: Path) -> None:
    import skyrl
    import torch

    # The package's own __init__ needs Python 3.12; the module that writes does not.
    backends = types.ModuleType("skyrl.backends")
    backends.__path__ = [f"{skyrl.__path__[0]}/backends"]
    sys.modules["skyrl.backends"] = backends
    from skyrl.backends.skyrl_train.training_batch import TrainingInputBatch
    from skyrl.train.dataset.preprocess import (
        compute_prompt_boundaries,
        convert_prompts_responses_to_batch_tensors,
    )

    for step in (1, 2):
        rows = [(group, i) for group in of_step(step) for i in range(4)]
        prompts = [[ord(letter) for letter in group.prompt] for group, _ in rows]
        responses = [[200 + i] * (2 + i) for _, i in rows]
        rewards = [[0.0] * (1 + i) + [group.rewards[i]] for group, i in rows]
        masks = [[0 if i == 3 and all(group.rewards) else 1] * (2 + i) for group, i in rows]
        tensors = convert_prompts_responses_to_batch_tensors(0, prompts, responses, rewards, masks)
        sequences, attention, response_mask, _, loss_mask = tensors[:5]
        scores = torch.tensor([group.rewards for group in of_step(step)])
        centred = scores - scores.mean(1, keepdim=True)
        credit = (centred / (scores.std(1, keepdim=True) + 1e-6)).reshape(-1, 1)
        batch = TrainingInputBatch(
            {
                "sequences": sequences,
                "attention_mask": attention,
                "response_mask": response_mask,
                "loss_mask": loss_mask,
                "rollout_logprobs": None,
                "returns": credit * response_mask,
                "advantages": credit * response_mask,
            }
        )
        uids = [f"{step}-{group.prompt}" for group, _ in rows]
        batch.metadata = {
            "policy_mini_batch_boundaries": [(0, 8)],
            "policy_prompt_boundaries": compute_prompt_boundaries(uids),
            "response_length": 5,
            "avg_response_length": 3.5,
            "pad_size": 0,
            "metrics": {"avg_final_rewards": float(scores.mean())},
        }
        path = out / f"global_step_{step}_training_input.pkl"
        path.parent.mkdir(parents=True, exist_ok=True)
        batch.save(path)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
