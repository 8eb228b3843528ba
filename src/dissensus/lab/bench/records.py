"""What is kept of one training of the benchmark: one JSON file, or one row of a combined file."""

from __future__ import annotations

import gzip
import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from dissensus.errors import InputError
from dissensus.runs.store import commit_bytes

__all__ = [
    "Arm",
    "Evaluations",
    "Purpose",
    "Steps",
    "TrainingRecord",
    "combine_records",
    "read_records",
    "record_path",
    "write_record",
]

SCHEMA = 1
Purpose = Literal["tune", "report"]

_WORD = re.compile(r"[^A-Za-z0-9.=_]+")


class Arm(NamedTuple):
    """What competes: an advantage estimator and an allocator, as they are written.

    Attributes:
        estimator: Weights included, `"weighted(grpo, power(0.5))"`.
        allocator: `"contrast(least=4)"`.
    """

    estimator: str
    allocator: str

    def __str__(self) -> str:
        return f"{self.estimator} × {self.allocator}"

    @property
    def slug(self) -> str:
        """Name of the arm's folder: letters and digits; a short hash where that loses something.

        Example:
            >>> Arm("grpo", "uniform").slug
            'grpo-x-uniform'
            >>> Arm("grpo", "contrast(least=4)").slug
            'grpo-x-contrast-least=4-248ba5'
        """
        plain = f"{self.estimator}-x-{self.allocator}"
        short = _WORD.sub("-", plain).strip("-")
        mark = hashlib.sha256(f"{self.estimator}\n{self.allocator}".encode()).hexdigest()[:6]
        is_exact = short == plain and plain.count("-x-") == 1
        return short if is_exact else f"{short}-{mark}"


@dataclass(frozen=True, kw_only=True)
class Evaluations:
    """What was spent when the held-out prompts were sampled, and what they got; E evaluations.

    Attributes:
        generated: (E,) R, training rollouts generated so far.
        trained: (E,) U, rollouts trained on so far; a stored one counts each time it is used.
        steps: (E,) optimiser steps done.
        tokens: (E,) tokens of the rollouts generated.
        extra: (E,) P, passes besides sampling and training.
        seconds: (E,) wall-clock seconds of training, without the evaluations.
        processor_seconds: (E,) the same of processor time.
        samples: (E,) completions of every held-out prompt.
        correct: (E, H) how many of them were right, for each of H held-out prompts.
    """

    generated: NDArray[np.int64]
    trained: NDArray[np.int64]
    steps: NDArray[np.int64]
    tokens: NDArray[np.int64]
    extra: NDArray[np.int64]
    seconds: NDArray[np.float64]
    processor_seconds: NDArray[np.float64]
    samples: NDArray[np.int64]
    correct: NDArray[np.int64]

    @property
    def rates(self) -> NDArray[np.float64]:
        """(E, H) solve rate of every held-out prompt."""
        return self.correct / self.samples[:, None]

    @property
    def means(self) -> NDArray[np.float64]:
        """(E,) held-out solve rate."""
        return np.asarray(self.rates.mean(axis=1), dtype=np.float64)


@dataclass(frozen=True, kw_only=True)
class Steps:
    """The optimiser steps, T of them. Rollouts of each step, not running sums.

    Attributes:
        generated: (T,) rollouts generated for the step.
        trained: (T,) rollouts that it trained on.
        all_wrong: (T,) generated rollouts in groups without a right one.
        all_correct: (T,) generated rollouts in groups without a wrong one.
        contrast: (T,) sum of the contrast of the groups trained on.
        groups: (T,) groups generated.
    """

    generated: NDArray[np.int64]
    trained: NDArray[np.int64]
    all_wrong: NDArray[np.int64]
    all_correct: NDArray[np.int64]
    contrast: NDArray[np.float64]
    groups: NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class TrainingRecord:
    """One training of one arm.

    Attributes:
        plan: Name of the plan.
        purpose: `"tune"` (its seed is never reported) or `"report"`.
        arm: What was trained.
        learning_rate: After the warm-up.
        seed: Of training prompts, their order and the sampling; the same for all arms.
        budget: R, rollouts that the training may generate.
        evaluations: At the start, and whenever another tenth of the budget was generated.
        steps: What each optimiser step saw.
        settings: Everything that determines the training besides arm, learning rate and seed.
        versions: Of the packages.
    """

    plan: str
    purpose: Purpose
    arm: Arm
    learning_rate: float
    seed: int
    budget: int
    evaluations: Evaluations
    steps: Steps
    settings: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)

    @property
    def final(self) -> float:
        """Held-out solve rate of the last evaluation, at the full budget."""
        return float(self.evaluations.means[-1])

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; `from_json` reads them."""
        return {
            "schema": SCHEMA,
            "plan": self.plan,
            "purpose": self.purpose,
            "arm": self.arm._asdict(),
            "learning_rate": self.learning_rate,
            "seed": self.seed,
            "budget": self.budget,
            "evaluations": _to_lists(self.evaluations),
            "steps": _to_lists(self.steps),
            "settings": dict(self.settings),
            "versions": dict(self.versions),
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any], *, where: str) -> Self:
        """The inverse of `to_json`.

        Args:
            document: A record's JSON.
            where: Where it stands, for the error.

        Raises:
            InputError: It is no record, or its lists do not fit together.
        """
        try:
            if document["schema"] != SCHEMA:
                raise InputError(
                    "another version of the record", where=where, got=document["schema"]
                )
            return cls(
                plan=str(document["plan"]),
                purpose=_purpose(document["purpose"]),
                arm=Arm(str(document["arm"]["estimator"]), str(document["arm"]["allocator"])),
                learning_rate=float(document["learning_rate"]),
                seed=int(document["seed"]),
                budget=int(document["budget"]),
                evaluations=_evaluations(document["evaluations"]),
                steps=Steps(**_columns(Steps, document["steps"])),
                settings=dict(document["settings"]),
                versions=dict(document["versions"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            if isinstance(error, InputError):
                raise
            text = f"{type(error).__name__}: {error}"
            raise InputError("not a record of the benchmark", where=where, got=text) from error


# ---- files -----------------------------------------------------------------------------------


def record_path(folder: Path, arm: Arm, learning_rate: float, seed: int) -> Path:
    """Where the record of one training lies.

    Example:
        >>> record_path(Path("out"), Arm("grpo", "uniform"), 2e-4, 3).as_posix()
        'out/grpo-x-uniform/lr-0.0002-seed-3.json'
    """
    return folder / arm.slug / f"lr-{learning_rate:g}-seed-{seed}.json"


def write_record(folder: Path, record: TrainingRecord) -> Path:
    """Put one record on disk, all of it or nothing.

    Returns:
        Its file.
    """
    path = record_path(folder, record.arm, record.learning_rate, record.seed)
    commit_bytes(path, _dump(record).encode())
    return path


def read_records(source: Path) -> list[TrainingRecord]:
    """All records of a folder, or of a file made by `combine_records`.

    Args:
        source: A folder of the benchmark, a record, or records one per line (.jsonl, .jsonl.gz).

    Raises:
        InputError: There is no such file, or something in it is no record.
    """
    if source.is_dir():
        files = sorted(source.glob("*/lr-*-seed-*.json"))
        return [record for path in files for record in _read_lines(path)]
    return _read_lines(source)


def combine_records(records: Iterable[TrainingRecord], path: Path) -> None:
    """Write records one per line, compressed where the name ends in .gz.

    The same records give the same bytes, whatever their order.
    """
    ordered = sorted(records, key=lambda r: (r.arm, r.purpose, r.learning_rate, r.seed))
    data = "".join(map(_dump, ordered)).encode()
    commit_bytes(path, gzip.compress(data, 9, mtime=0) if path.suffix == ".gz" else data)


def _read_lines(path: Path) -> list[TrainingRecord]:
    try:
        data = path.read_bytes()
        text = (gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data).decode()
    except (OSError, EOFError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise InputError(f"cannot read the records ({reason})", where=str(path)) from error
    rows = [(number, line) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
    return [_parse(line, f"{path}, line {number}") for number, line in rows]


def _parse(line: str, where: str) -> TrainingRecord:
    try:
        document = json.loads(line)
    except ValueError as error:
        raise InputError("not JSON", where=where, got=str(error)) from error
    return TrainingRecord.from_json(document, where=where)


def _dump(record: TrainingRecord) -> str:
    return json.dumps(record.to_json(), separators=(",", ":"), allow_nan=False) + "\n"


# ---- columns ---------------------------------------------------------------------------------


def _to_lists(columns: Evaluations | Steps) -> dict[str, list[Any]]:
    return {each.name: getattr(columns, each.name).tolist() for each in fields(columns)}


def _evaluations(document: Mapping[str, Any]) -> Evaluations:
    columns = _columns(Evaluations, document)
    if columns["correct"].ndim != 2 or not columns["correct"].size:
        raise ValueError("evaluations.correct must be a list per evaluation, all of one length")
    return Evaluations(**columns)


def _columns(kind: type[Evaluations | Steps], document: Mapping[str, Any]) -> dict[str, Any]:
    names = [each.name for each in fields(kind)]
    columns = {name: _column(name, document[name]) for name in names}
    lengths = {name: len(values) for name, values in columns.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"lists of different lengths: {lengths}")
    return columns


def _column(name: str, values: Sequence[Any]) -> NDArray[Any]:
    is_real = name in {"seconds", "processor_seconds", "contrast"}
    column = np.asarray(values, dtype=np.float64)
    if not is_real and not np.array_equal(column, np.round(column)):
        raise ValueError(f"{name} must hold whole numbers")
    return column if is_real else column.astype(np.int64)


def _purpose(value: object) -> Purpose:
    if value == "tune":
        return "tune"
    if value == "report":
        return "report"
    raise ValueError(f"purpose must be tune or report, not {value!r}")
