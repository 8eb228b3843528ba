"""prime-rl's traces, by the record serialiser of verifiers that its file monitor calls.

`python make_prime_rl.py OUT` (needs verifiers 0.4 and orjson). The monitor's own write loop (one
`orjson.dumps(episode.to_record())` per line, in `rollouts/step_N/train/{all,effective}`) is
rebuilt, because importing prime-rl needs vllm.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import orjson
import verifiers.v1 as vf
from scenario import GROUPS, completion
from verifiers.v1.configs.agent import WireAgentConfig
from verifiers.v1.graph import MessageNode
from verifiers.v1.task import WireTaskData
from verifiers.v1.trace import AgentInfo, Reward, TraceTask
from verifiers.v1.types import AssistantMessage, UserMessage


def episode(number: int, i: int, *, with_advantages: bool) -> vf.WireEpisode:
    group = GROUPS[number]
    mean = sum(group.rewards) / 4
    task = TraceTask(
        type="Arithmetic",
        data=WireTaskData(idx=number, prompt=group.prompt, answer=group.answer),
        key=f"task-{GROUPS[number].prompt}",
    )
    said = MessageNode(
        parent=0,
        message=AssistantMessage(content=completion(group, i)),
        sampled=True,
        token_ids=[7, 8, 9],
        mask=[False, True, True],
        logprobs=[-0.5, -0.25],
        advantages=[group.rewards[i] - mean] * 2 if with_advantages else None,
    )
    trace = vf.WireTrace(
        task=task,
        agent=AgentInfo(config=WireAgentConfig()),
        nodes=[MessageNode(message=UserMessage(content=group.prompt), token_ids=[1, 2]), said],
        rewards={
            "exact_match": Reward(score=group.rewards[i]),
            "style": Reward(score=0.5, weight=0.0),
        },
        is_completed=True,
        ok=True,
        stop_condition="agent_completed",
    )
    run = vf.TrainRunInfo(
        id="run",
        work=vf.TrainWorkInfo(
            step=group.step, policy=vf.PolicySpan(start=group.step - 1, end=group.step - 1)
        ),
    )
    return vf.WireEpisode(
        task=task,
        group=vf.GroupInfo(id=f"group-{number}"),
        run=run,
        ok=True,
        traces=[trace],
        env=vf.EnvInfo(id="arith"),
    )


def write(path: Path, episodes: list[vf.WireEpisode]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    opts = orjson.OPT_APPEND_NEWLINE | orjson.OPT_SERIALIZE_NUMPY
    path.write_bytes(
        b"".join(orjson.dumps(each.to_record(), default=str, option=opts) for each in episodes)
    )


def main(out: Path) -> None:
    for step in (1, 2):
        numbers = [n for n, group in enumerate(GROUPS) if group.step == step]
        folder = out / "rollouts" / f"step_{step}" / "train"
        # `all` grows in the order of completion, before credit is assigned; `effective` has what
        # was shipped: groups whose advantages are all zero are pruned.
        arrived = [(n, i) for i in range(4) for n in numbers]
        write(
            folder / "all" / "traces.jsonl",
            [episode(*key, with_advantages=False) for key in arrived],
        )
        shipped = [key for key in arrived if len(set(GROUPS[key[0]].rewards)) > 1]
        write(
            folder / "effective" / "traces.jsonl",
            [episode(*key, with_advantages=True) for key in shipped],
        )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
