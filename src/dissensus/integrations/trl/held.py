"""Rollouts of earlier steps that an allocator may still train on."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dissensus.integrations.trl.located import Located
from dissensus.integrations.trl.merging import join_outputs
from dissensus.integrations.trl.sampling import Rows, Sampling, join_samplings, make_groups
from dissensus.integrations.trl.settings import Settings

__all__ = ["Held", "Source", "load_held", "save_held"]

Source = tuple[dict[str, Any], Sampling]
"""This process's generation batch, and what it says of all processes."""

_ARRAYS = ("rewards", "lengths", "truncated", "framework", "log_likelihoods")


class Held(NamedTuple):
    """What is kept, and where.

    Attributes:
        source: None where nothing is kept.
        located: Its rollouts; `source` counts from 0.
    """

    source: Source | None
    located: Located

    @classmethod
    def nothing(cls) -> Held:
        """No rollout."""
        none = np.empty(0, dtype=np.int64)
        return cls(None, Located(none, none, none, none, none))

    @classmethod
    def of(cls, trainer: Any, sources: list[Source], located: Located, settings: Settings) -> Held:
        """Keep some rollouts of these sources. Collective."""
        if not len(located):
            return cls.nothing()
        located = located.by_rank()
        local = located.of_rank(trainer.accelerator.process_index)
        starts = [sampling.local.start for _, sampling in sources]
        picks = [(s, row - starts[s]) for s, row in located.picks[local].tolist()]
        # A process that keeps none of its rows keeps one, so that its tensors have a shape.
        output = join_outputs(trainer, [output for output, _ in sources], picks or [(0, 0)])
        sampling = join_samplings(
            [sampling for _, sampling in sources],
            located.picks,
            group_ids=located.number,
            local=local,
            settings=settings,
        )
        here = replace(located, source=np.zeros_like(located.row), row=np.arange(len(located)))
        return cls((output, sampling), here)


def save_held(held: Held, path: Path) -> None:
    """Write this process's rows, and what is known of all. Texts are not kept."""
    from safetensors.torch import save_file

    if held.source is None:
        path.unlink(missing_ok=True)
        return
    import torch

    output, sampling = held.source
    arrays = {name: getattr(sampling, name) for name in _ARRAYS}
    arrays |= {f"reward.{name}": each for name, each in sampling.rewards_by_function.items()}
    located = held.located
    arrays |= {f"at.{name}": getattr(located, name) for name in ("number", "row", "rank")}
    tensors = {f"output.{name}": each.contiguous() for name, each in output.items()}
    tensors |= {
        name: torch.from_numpy(np.ascontiguousarray(each))
        for name, each in arrays.items()
        if each is not None
    }
    texts = {
        "prompts": located.prompt.tolist(),
        "prompt_ids": sampling.prompt_ids,
        "local": [sampling.local.start, sampling.local.stop],
    }
    save_file(tensors, str(path), metadata={"held": json.dumps(texts)})


def load_held(path: Path, device: Any, settings: Settings) -> Held:
    """What `save_held` wrote; nothing where there is no file."""
    from safetensors import safe_open

    if not path.is_file():
        return Held.nothing()
    with safe_open(str(path), framework="pt") as file:
        texts = json.loads(file.metadata()["held"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    output = {
        name.removeprefix("output."): each.to(device)
        for name, each in tensors.items()
        if name.startswith("output.")
    }
    arrays: dict[str, Any] = {
        name: each.numpy() for name, each in tensors.items() if "output." not in name
    }
    by_function = {
        name.removeprefix("reward."): each
        for name, each in arrays.items()
        if name.startswith("reward.")
    }
    number = arrays["at.number"]
    groups = make_groups(arrays["rewards"], by_function, number, settings)
    sampling = Sampling(
        rows=Rows([], [], [], [], None),
        local=slice(*texts["local"]),
        group_size=0,
        prompt_ids=texts["prompt_ids"],
        rewards_by_function=by_function,
        groups=groups,
        is_correct_declared=settings.correct is not None,
        rewards=arrays["rewards"],
        lengths=arrays["lengths"],
        truncated=arrays["truncated"],
        framework=arrays["framework"],
        log_likelihoods=arrays.get("log_likelihoods"),
    )
    located = Located(
        number=number,
        source=np.zeros_like(number),
        row=arrays["at.row"],
        rank=arrays["at.rank"],
        prompt=np.array(texts["prompts"]),
    )
    return Held((output, sampling), located)
