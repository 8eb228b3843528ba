"""Recording in verl's legacy trainer: VERL_USE_EXTERNAL_MODULES=dissensus.integrations.verl.legacy.

That trainer has no registry, no hook and no callback that sees a batch and the metrics, so there is
no public way: with this module loaded, the launch script builds a subclass of it.
"""

from __future__ import annotations

import logging

from dissensus.integrations.verl.plugin import after_import

__all__ = ["VERSIONS", "install"]

log = logging.getLogger("dissensus.verl")

VERSIONS = ("0.8", "0.9")
"""Minor versions of verl whose legacy trainer was read; another one is left as it is."""

_LAUNCHER = "verl.trainer.main_ppo_v0"


def install() -> None:
    """Put the recording subclass where verl's launch script looks for its trainer."""
    after_import(_LAUNCHER, _replace)


def _replace() -> None:
    import sys
    from importlib.metadata import version

    found = version("verl")
    if ".".join(found.split(".")[:2]) not in VERSIONS:
        log.warning(
            "dissensus: verl %s has a legacy trainer we do not know; nothing is recorded", found
        )
        return
    try:
        from dissensus.integrations.verl import legacy_trainer

        recording = legacy_trainer.RecordingRayPPOTrainer
        vars(sys.modules[_LAUNCHER])["RayPPOTrainer"] = recording
    except Exception as error:  # noqa: BLE001 - nothing may stop training
        log.warning("dissensus: verl's legacy trainer cannot be recorded (%r)", error)


install()
