"""What verl loads in every process, by its entry-point group or VERL_USE_EXTERNAL_MODULES."""

from __future__ import annotations

import logging

from dissensus.integrations.verl.estimators import register_all

__all__ = ["register"]

log = logging.getLogger("dissensus.verl")


def register() -> None:
    """Register the rules with verl; says in one line why when that fails.

    verl logs a plug-in that raises at debug level only, where nobody would see it, and a worker
    needs none of this: so nothing is raised.
    """
    try:
        from verl.trainer.ppo.core_algos import register_adv_est

        register_all(register_adv_est)
    except Exception as error:  # noqa: BLE001
        log.warning("dissensus: verl has none of our advantage estimators (%r)", error)


register()
