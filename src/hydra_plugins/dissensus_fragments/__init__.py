"""Found by Hydra wherever Dissensus is installed: `+dissensus=record` needs no search path."""

from __future__ import annotations

from hydra.core.config_search_path import ConfigSearchPath
from hydra.plugins.search_path_plugin import SearchPathPlugin

__all__ = ["DissensusSearchPath"]


class DissensusSearchPath(SearchPathPlugin):  # type: ignore[misc]  # its type is unknown here
    """Adds our fragments of verl's configuration to where Hydra looks."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Called by Hydra before it composes a configuration."""
        search_path.append(provider="dissensus", path="pkg://dissensus.integrations.verl.conf")
