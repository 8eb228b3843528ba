"""What a run has spent, in the four currencies that are never mixed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

from dissensus.core.allocation.asks import Draw, Selection
from dissensus.errors import InputError

__all__ = ["BudgetLedger"]


@dataclass
class BudgetLedger:
    """Rollouts generated, rollouts trained on, extra passes, and seconds.

    A comparison of allocation strategies fixes `generated`: pilots and discarded rollouts count.

    Attributes:
        limit: Rollouts that may be generated in all; None: no limit.
        generated: R, rollouts generated.
        trained: U, rollouts trained on; a stored one counts each time it is used.
        extra: P, passes besides sampling and training (embeddings, value model, anchors).
        seconds: Wall-clock, as the caller measured it.
        steps: Selections made.

    Example:
        >>> ledger = BudgetLedger(limit=10)
        >>> ledger.spend(generated=8, seconds=1.5)
        >>> ledger.left, ledger.generated
        (2, 8)
    """

    limit: int | None = None
    generated: int = 0
    trained: int = 0
    extra: int = 0
    seconds: float = 0.0
    steps: int = 0

    @property
    def left(self) -> int | None:
        """Rollouts that may still be generated; None where there is no limit."""
        return None if self.limit is None else self.limit - self.generated

    def draw(self, draw: Draw) -> None:
        """Count the rollouts of a draw as generated."""
        self.spend(generated=draw.total)

    def select(self, selection: Selection, *, left_out: int = 0) -> None:
        """Count a step and the rollouts it trains on.

        Args:
            selection: Of the step.
            left_out: Those of them that the trainer could not take.
        """
        self.trained += len(selection.rollouts) - left_out
        self.steps += 1

    def spend(self, *, generated: int = 0, extra: int = 0, seconds: float = 0.0) -> None:
        """Count what was spent.

        Raises:
            InputError: A negative amount, or more rollouts than the limit allows.
        """
        if min(generated, extra, seconds) < 0:
            raise InputError("cannot spend less than nothing", got=(generated, extra, seconds))
        if self.left is not None and generated > self.left:
            raise InputError(
                "more rollouts than the budget holds",
                where="BudgetLedger",
                got=(generated, self.left),
            )
        self.generated += generated
        self.extra += extra
        self.seconds += seconds

    def state_dict(self) -> dict[str, int | float | None]:
        """Plain numbers by name."""
        return asdict(self)

    @classmethod
    def from_state_dict(cls, state: Mapping[str, int | float | None]) -> BudgetLedger:
        """The inverse of `state_dict`."""
        return cls(**state)  # type: ignore[arg-type]
