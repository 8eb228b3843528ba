"""verl's data set, whose rows are those that the allocator draws."""

from __future__ import annotations

from typing import Any

from dissensus.errors import UnsupportedError
from dissensus.integrations.verl.replay_reading import ROW_FIELD
from dissensus.integrations.verl.sampling_plan import Plan, current

__all__ = ["RowsMixin"]

_NAME = "AllocatedRows"


def __getattr__(name: str) -> Any:
    # What `data.custom_cls.name` names; made late, so that verl is not needed to import this.
    if name != _NAME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from verl.utils.dataset.rl_dataset import RLHFDataset

    made = type(_NAME, (RowsMixin, RLHFDataset), {"__module__": __name__})
    return globals().setdefault(_NAME, made)


class RowsMixin:
    """For a subclass of a data set of verl: `class Mine(RowsMixin, TheirDataset)`.

    Without an allocator, and for validation, it is that data set. What the plan remembers goes
    into verl's checkpoints (`data.pt`) by the data loader, which asks a data set for its state.
    """

    _plan: Plan | None = None

    def __init__(self, data_files: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(data_files, *args, **kwargs)  # type: ignore[call-arg]
        plan, config = current(), self.config  # type: ignore[attr-defined]
        # verl makes the training set first, and does not say which is which.
        if plan is None or plan.is_open or _listed(data_files) != _listed(config["train_files"]):
            return
        if config.get("dataloader_num_workers", 8) != 0:
            raise UnsupportedError(
                "the allocator decides in the trainer's process, where rows must be fetched too",
                where="data.dataloader_num_workers",
                got=config.get("dataloader_num_workers", 8),
                hint="set it to 0",
            )
        batch = int(config["train_batch_size"])
        plan.open(
            len(self),  # type: ignore[arg-type]
            batch,
            chunk=lambda: int(config.get("gen_batch_size", None) or batch),
        )
        self._plan = plan

    def __getitem__(self, item: Any) -> Any:
        """A row: the one that the allocator wants, and how many rollouts of it."""
        if self._plan is None:
            return super().__getitem__(item)  # type: ignore[misc]
        order = self._plan.next_row(int(item))
        row = super().__getitem__(order.row)  # type: ignore[misc]
        return {**row, ROW_FIELD: order.row, "__rollout_n__": order.rollouts}

    def state_dict(self) -> dict[str, Any]:
        """What the allocator remembers."""
        return {} if self._plan is None else self._plan.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of `state_dict`.

        Raises:
            RunError: Another strategy or another training set wrote it.
        """
        if self._plan is None:
            return
        if not state:
            self._plan.say(
                "state", "the checkpoint is of a training without allocator; it begins anew"
            )
            return
        self._plan.load_state_dict(state)


def _listed(files: Any) -> list[str]:
    return [str(files)] if isinstance(files, str) else [str(each) for each in files]
