"""The command `dissensus`: one file per command, nothing heavy imported before it is needed."""

from __future__ import annotations

__all__ = ["main"]


def main() -> None:
    """Run the command line and leave with its exit code."""
    from dissensus.cli.app import run

    raise SystemExit(run())
