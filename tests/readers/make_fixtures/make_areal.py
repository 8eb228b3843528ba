"""AReaL's rollout dump, by its own `WorkflowExecutor._dump_trajectory` on a stand-in executor.

`python make_areal.py OUT` (needs areal, torch).
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from types import SimpleNamespace

sys.path.insert(0, str(Path(__file__).parent))

from scenario import GROUPS, completion, stub_what_is_absent

stub_what_is_absent()


class Words:
    """A tokenizer whose vocabulary is what it has seen."""

    def __init__(self) -> None:
        self.words: list[str] = []

    def encode(self, text: str) -> list[int]:
        self.words += [word for word in text.split() if word not in self.words]
        return [self.words.index(word) for word in text.split()]

    def decode(self, ids: list[int], *, skip_special_tokens: bool) -> str:
        return " ".join(self.words[i] for i in ids)


def main(out: Path) -> None:
    import torch
    from areal.infra.workflow_executor import WorkflowExecutor

    words = Words()
    for task, group in enumerate(GROUPS):
        executor = SimpleNamespace(
            _get_dump_dir=lambda _eval: str(out),
            _get_tokenizer=lambda: words,
            inference_engine=SimpleNamespace(get_version=lambda step=group.step: step - 1),
            logger=SimpleNamespace(warning=print),
        )
        prompt = words.encode(group.prompt)
        rows = [prompt + words.encode(completion(group, i)) for i in range(4)]
        trajectory = {
            "input_ids": torch.tensor(rows),
            "rewards": torch.tensor(group.rewards),
            "loss_mask": torch.tensor(
                [[0] * len(prompt) + [1] * (len(row) - len(prompt)) for row in rows]
            ),
            "attention_mask": torch.ones(4, len(rows[0]), dtype=torch.long),
            "versions": torch.full((4, len(rows[0])), group.step - 1),
        }
        dump = WorkflowExecutor.__dict__[
            next(n for n in WorkflowExecutor.__dict__ if "dump_traj" in n)
        ]
        print(asyncio.run(dump(executor, trajectory, task, False)))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
