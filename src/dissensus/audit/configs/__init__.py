"""Read training configurations: scripts, command lines, YAML and TOML, without running any.

Example:
    >>> import pathlib, tempfile
    >>> folder = pathlib.Path(tempfile.mkdtemp())
    >>> _ = (folder / "run.sh").write_text(
    ...     "python -m verl.trainer.main_ppo algorithm.adv_estimator=${EST:-grpo} "
    ...     "actor_rollout_ref.rollout.n=$N"
    ... )
    >>> (settings,) = read_settings(folder)
    >>> settings.framework, settings.find("algorithm.adv_estimator").value
    ('verl', 'grpo')
    >>> settings.find("actor_rollout_ref.rollout.n").missing
    ('N',)
"""

from __future__ import annotations

from dissensus.audit.configs.folder import CONFIG_ENDINGS, Scan, scan_configs

__all__ = ["CONFIG_ENDINGS", "Scan", "read_settings", "scan_configs"]

from pathlib import Path

from dissensus.audit.settings import Settings


def read_settings(path: str | Path) -> list[Settings]:
    """Return every training configuration in a file or below a folder; never raises.

    A file that is no training configuration gives nothing. `scan_configs` also says what could
    not be read.
    """
    return scan_configs(path).settings
