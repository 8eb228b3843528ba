"""Which runs lie under a folder. A run has an id that is looked up, never joined into a path.

An id is made of the run's name and a hash of where it lies, so that it can stand in a URL and stays
the same while other runs come and go.
"""

from __future__ import annotations

import hashlib
import os
import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from dissensus.errors import RunError

__all__ = ["Found", "Runs"]

_DEPTH = 5
_MOST_FOLDERS = 20_000
_KEPT_S = 1.0
_KEPT_TIMES = 20.0
_UNFIT = re.compile(r"[^A-Za-z0-9._-]+")


class Found(NamedTuple):
    """A run that was found.

    Attributes:
        id: What the page calls it.
        name: Where it lies under the root; untrusted text, a folder can have any name.
        path: The folder.
    """

    id: str
    name: str
    path: Path

    @property
    def made(self) -> tuple[int, int]:
        """Tells it from another run that was put in its place."""
        file = (self.path / "run.json").stat()
        return file.st_ino, file.st_mtime_ns


class Runs:
    """The runs under a folder; the folder itself may be one.

    Symbolic links are not followed, hidden folders are passed over, and a run is not searched for
    other runs. What was found is kept for a second, or longer where the search takes long.

    Args:
        root: The folder.

    Raises:
        RunError: There is no such folder.
    """

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()
        if not self.root.is_dir():
            what = "a folder of runs is needed, not a file" if root.exists() else "no such folder"
            raise RunError(what, where=str(root), hint="dissensus dashboard runs")
        self._lock = threading.Lock()
        self._found: dict[str, Found] = {}
        self._good_until_s = float("-inf")

    def all(self) -> list[Found]:
        """Every run, by name."""
        return list(self._read().values())

    def get(self, run_id: str) -> Found | None:
        """The run of that id, or None."""
        return self._read().get(run_id)

    def newest(self) -> Found | None:
        """The run that was begun last, or None where there is no run."""
        found = self.all()
        return max(found, key=lambda each: each.made[1]) if found else None

    def _read(self) -> dict[str, Found]:
        with self._lock:
            began = time.monotonic()
            if began > self._good_until_s:
                found = sorted(map(self._describe, _run_folders(self.root)), key=lambda f: f.name)
                self._found = {each.id: each for each in found}
                ended = time.monotonic()
                self._good_until_s = ended + max(_KEPT_S, _KEPT_TIMES * (ended - began))
            return self._found

    def _describe(self, path: Path) -> Found:
        name = self.root.name if path == self.root else path.relative_to(self.root).as_posix()
        digest = hashlib.sha256(os.fsencode(name)).hexdigest()[:8]
        readable = _UNFIT.sub("-", name)[-48:].strip("-.")
        return Found(f"{readable}-{digest}" if readable else digest, name, path)


def _run_folders(root: Path) -> Iterator[Path]:
    """Folders that hold run.json, breadth first, so that a limit cuts what is deepest."""
    level, seen = [root], 0
    for _ in range(_DEPTH + 1):
        deeper: list[Path] = []
        for folder in level:
            seen += 1
            if seen > _MOST_FOLDERS:
                return
            if (folder / "run.json").is_file():
                yield folder
            else:
                deeper += _subfolders(folder)
        level = deeper


def _subfolders(folder: Path) -> list[Path]:
    try:
        with os.scandir(folder) as entries:
            return sorted(
                Path(entry.path)
                for entry in entries
                if not entry.name.startswith(".") and entry.is_dir(follow_symlinks=False)
            )
    except OSError:
        return []  # one folder that may not be read hides no other
