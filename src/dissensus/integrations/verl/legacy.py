"""Recording in verl's legacy trainer: VERL_USE_EXTERNAL_MODULES=dissensus.integrations.verl.legacy.

That trainer has no registry, no hook and no callback that sees a batch and the metrics, so there is
no public way: with this module loaded, the launch script builds a subclass of it.
"""

from __future__ import annotations

import logging

from dissensus.integrations.verl.plugin import after_import

__all__ = ["VERSIONS", "install"]

log = logging.getLogger("dissensus.verl")

VERSIONS = ("0.9.1",)
"""Versions of verl whose legacy trainer the tests run; another one is left as it is."""

_LAUNCHER = "verl.trainer.main_ppo_v0"


def install() -> None:
    """Put the recording subclass where verl's launch script looks for its trainer."""
    after_import(_LAUNCHER, _replace)


def _replace() -> None:
    import sys
    from importlib.metadata import version

    found = version("verl")
    if found not in VERSIONS:
        log.warning(
            "dissensus: the legacy trainer of verl %s is not known (%s is); nothing is recorded",
            found,
            ", ".join(VERSIONS),
        )
        return
    try:
        from dissensus.integrations.verl import legacy_trainer

        recording = legacy_trainer.RecordingRayPPOTrainer
        vars(sys.modules[_LAUNCHER])["RayPPOTrainer"] = recording
    except Exception as error:  # noqa: BLE001 - nothing may stop training
        log.warning("dissensus: verl's legacy trainer cannot be recorded (%r)", error)


install()
