"""The memory of rules with history, in the folders of verl's checkpoints."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from dissensus.errors import RunError
from dissensus.integrations.guard import Guard
from dissensus.integrations.verl.estimators import configured_rule, load_memory, memory
from dissensus.runs import store

__all__ = ["STATE_FILE", "Saving", "load"]

STATE_FILE = "dissensus_state.json"


class Saving:
    """verl's callback of `trainer.checkpoint_callback_class`, and our file beside its checkpoint.

    Args:
        callback: What verl made of the configuration; called as before.
        guard: Around our file.
    """

    def __init__(self, callback: Any, guard: Guard) -> None:
        self._callback, self._guard = callback, guard

    def on_save(self, *, checkpoint_dir: str, **given: Any) -> None:
        """After verl has written a checkpoint."""
        state = memory()
        if state:
            with self._guard(f"save {STATE_FILE}"):
                store.commit_bytes(Path(checkpoint_dir) / STATE_FILE, json.dumps(state).encode())
        self._callback.on_save(checkpoint_dir=checkpoint_dir, **given)


def load(config: Any, step: int, guard: Guard) -> None:
    """Give the rules of this process what the checkpoint holds that verl has loaded.

    Args:
        config: verl's configuration.
        step: verl's `global_steps` before training; 0: nothing was loaded.
        guard: Where to say that a rule with memory finds none.

    Raises:
        RunError: The file cannot be read.
    """
    load_memory({})  # an earlier training of this process may have left some
    if not step:
        return
    path = _folder(config.trainer, step) / STATE_FILE
    if path.is_file():
        _load(path)
        return
    rule = configured_rule(config.algorithm)
    if rule is not None and "state" in rule.needs:
        guard.say("memory", f"there is no {path}; {rule!r} begins without memory")


def _folder(trainer: Any, step: int) -> Path:
    if trainer.resume_mode == "resume_path":
        return Path(trainer.resume_from_path)
    return Path(trainer.default_local_dir) / f"global_step_{step}"


def _load(path: Path) -> None:
    try:
        load_memory(json.loads(path.read_bytes()))
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise RunError(
            f"the memory of the advantage rule cannot be read: {error!r}",
            where=str(path),
            hint="remove the file to begin without memory",
        ) from error
