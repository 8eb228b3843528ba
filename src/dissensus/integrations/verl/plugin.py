"""What verl loads in every process, by its entry-point group or VERL_USE_EXTERNAL_MODULES."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

from dissensus.integrations.verl.estimators import register_all

__all__ = ["after_import", "register"]

log = logging.getLogger("dissensus.verl")

_TRAINERS = "verl.trainer.ppo.v1"


def register() -> None:
    """Register the rules with verl, and the trainers as soon as verl has loaded its own.

    Most processes of verl never load the trainers, and they are slow to load, so nothing here
    does. A failure is one line: verl logs a plug-in that raises at debug level only, where nobody
    would see it, and most processes need none of this.
    """
    try:
        from verl.trainer.ppo.core_algos import register_adv_est

        register_all(register_adv_est)
        after_import(_TRAINERS, _register_trainers)
    except Exception as error:  # noqa: BLE001
        log.warning("dissensus: verl has none of our advantage estimators (%r)", error)


def after_import(name: str, action: Callable[[], None]) -> None:
    """Call `action` once when the module of that name has been imported, or now if it has been."""
    if name in sys.modules:
        action()
    elif not any(isinstance(f, _Watch) and f.name == name for f in sys.meta_path):
        sys.meta_path.insert(0, _Watch(name, action))


class _Watch(MetaPathFinder):
    """Finds one module where Python would have, and says when it has been executed."""

    def __init__(self, name: str, action: Callable[[], None]) -> None:
        self.name, self._action = name, action

    def find_spec(
        self, name: str, path: Sequence[str] | None, _target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """None for every other module."""
        if name != self.name:
            return None
        spec = PathFinder.find_spec(name, path)
        if spec is None or spec.loader is None:
            return spec
        loader: Any = spec.loader
        execute = loader.exec_module

        def then_act(module: ModuleType) -> None:
            execute(module)
            if self in sys.meta_path:  # only now: who asks for a spec need not import
                sys.meta_path.remove(self)
                self._action()

        loader.exec_module = then_act
        return spec


def _register_trainers() -> None:
    try:
        from dissensus.integrations.verl.trainers import register_trainers

        register_trainers()
    except Exception as error:  # noqa: BLE001
        log.warning("dissensus: verl has none of our trainers (%r)", error)


register()
