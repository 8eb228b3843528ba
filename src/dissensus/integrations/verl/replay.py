"""verl's replay buffers: groups that agree are replaced with a cap, or an allocator decides.

`trainer.v1.sampler.custom_sampler.{path,name}` names `replay_buffer`, which verl calls as it would
the class. Of verl's buffers these methods are used or overridden: `sample` (public),
`_dapo_filtered_keys`, `_evict_terminal_groups`, `_clear_groups`,
`_sync_metadata_from_transfer_queue`, `_wait_for_next_poll`.
"""

from __future__ import annotations

from typing import Any

from dissensus.errors import UnsupportedError
from dissensus.integrations.verl.replay_allocated import Allocated
from dissensus.integrations.verl.replay_replacing import Tolerant, TolerantAsync
from dissensus.integrations.verl.sampling_options import SamplingOptions
from dissensus.integrations.verl.sampling_plan import Plan, current
from dissensus.integrations.verl.sampling_table import require_allowed

__all__ = ["replay_buffer"]


def replay_buffer(**from_verl: Any) -> Any:
    """The buffer that `sampler_kwargs` and the trainer's mode ask for.

    Raises:
        InputError: A key or value of `sampler_kwargs` that cannot be used.
        UnsupportedError: The strategy, or the mode, cannot be had in verl.
    """
    options = SamplingOptions.of(from_verl["sampler_kwargs"])
    mode = from_verl["trainer_mode"]
    if options.allocator is None:
        if mode == "sync":
            return _on_verl(Tolerant, "ReplayBuffer")(options, **from_verl)
        return _on_verl(TolerantAsync, "ReplayBufferAsync")(options, **from_verl)
    if mode != "sync":
        raise UnsupportedError(
            "an allocator draws again when the last draw has come back, and this trainer fetches "
            "the next batch before that",
            where="trainer.v1.trainer_mode",
            got=mode,
            hint="use sync, or leave sampler_kwargs.allocator out to replace unanimous groups only",
        )
    if int((from_verl.get("trainer_config") or {}).get("parameter_sync_step", 1)) != 1:
        raise UnsupportedError(
            "an allocator's step is one update of the weights",
            where="trainer.v1.sync.parameter_sync_step",
            hint="set it to 1",
        )
    require_allowed(options)
    plan = Plan(options)
    current(plan)
    return _on_verl(Allocated, "ReplayBuffer")(plan, **from_verl)


def _on_verl(ours: type, base: str) -> Any:
    from verl.trainer.ppo.v1 import replay_buffer as verls

    return type(ours.__name__ + base, (ours, getattr(verls, base)), {})
