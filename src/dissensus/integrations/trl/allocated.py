"""From the rollouts of an allocator's step to the batch that TRL trains on."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dissensus.core.advantages.tokens import sum_over_tokens
from dissensus.core.allocation import Selection
from dissensus.core.disagreement import summarise_groups
from dissensus.core.groups import BoolArray, FloatArray, IntArray
from dissensus.integrations.trl.estimating import Estimate
from dissensus.integrations.trl.held import Source
from dissensus.integrations.trl.located import Located
from dissensus.integrations.trl.merging import LogTables, join_outputs, share_rows
from dissensus.integrations.trl.sampling import Sampling, join_samplings, make_groups
from dissensus.integrations.trl.settings import Settings

__all__ = ["Allocated", "join_generated", "join_selected", "recorded", "used"]


class Allocated(NamedTuple):
    """One step of an allocator.

    Attributes:
        output: This process's generation batch of what is trained on.
        batch: The numbers of all processes; group ids are positions in `selection.prompts`, and
            one past their end for padding.
        is_padding: (N,) rows that make the processes even; their rewards are NaN.
        place: (N,) place of each row in `generated`; −1: padding, or a rollout of an earlier step.
        generated: All rollouts of this step by prompt, padding left out.
        selection: What the allocator said.
        draws: How often it drew.
        n_missing: Selected rollouts that do not fit the batch, or are not there any more.
    """

    output: dict[str, Any]
    batch: Sampling
    is_padding: BoolArray
    place: IntArray
    generated: Sampling
    selection: Selection
    draws: int
    n_missing: int

    @property
    def n_generated(self) -> int:
        """Rollouts of this step."""
        return len(self.generated.rewards)

    @property
    def is_logged(self) -> BoolArray:
        """(N,) rows that stand in TRL's completions table: those of this step."""
        return self.place >= 0

    def numbers(self, is_kept: BoolArray) -> dict[str, float]:
        """What the step's metrics say beyond disagreement.

        Args:
            is_kept: (N,) rows of the batch that the loss takes.
        """
        sizes = np.bincount(self.batch.groups.index[is_kept], minlength=1)
        sizes = sizes[sizes > 0]
        return {
            "draws": self.draws,
            "prompts_trained": len(sizes),
            "group_size_mean": float(sizes.mean()) if len(sizes) else 0.0,
            "rollouts_trained": int(sizes.sum()),
            "rollouts_reused": int(np.count_nonzero(is_kept & ~self.is_logged)),
        }


def join_generated(
    trainer: Any, sources: list[Source], fresh: Located, settings: Settings
) -> Sampling:
    """All rollouts of a step, grouped by prompt."""
    fresh = fresh.by_rank()
    return join_samplings(
        [sampling for _, sampling in sources],
        fresh.picks,
        group_ids=fresh.prompt,
        local=fresh.of_rank(trainer.accelerator.process_index),
        settings=settings,
    )


def join_selected(
    trainer: Any,
    sources: list[Source],
    known: Located,
    selection: Selection,
    *,
    tables: LogTables,
    settings: Settings,
    n_fresh: int,
    capacity: int,
) -> dict[str, Any]:
    """The batch of the selected rollouts. Collective.

    Args:
        trainer: The GRPO trainer.
        sources: The rounds of this step, then what was kept of earlier ones.
        known: Their rollouts; the first `n_fresh` are of this step.
        selection: What is trained on.
        tables: TRL's completions tables of the rounds.
        settings: For groups.
        n_fresh: Rollouts of this step.
        capacity: Rows that the batch may hold, on all processes together.

    Returns:
        The fields of `Allocated` that follow from it.
    """
    fits = _fits(selection.groups, capacity)
    at = known.find(selection.rollouts[fits])
    slots = selection.groups[fits][at >= 0]
    at = at[at >= 0]
    n_missing = len(selection.rollouts) - len(at)
    # Padding is a group of its own, behind the others.
    at, slots, owner = _even(at, slots, known.rank, trainer, fill=len(selection.prompts))
    is_padding = at < 0
    picks = known.picks[at]
    # A process repeats its first row; it has one, though it may have been told to nobody.
    first = owner * (len(sources[0][1].rewards) // trainer.accelerator.num_processes)
    picks[is_padding] = np.stack([np.zeros_like(first), first], axis=1)[is_padding]
    local = slice(*np.searchsorted(owner, trainer.accelerator.process_index + np.arange(2)))
    batch = join_samplings(
        [sampling for _, sampling in sources],
        picks,
        group_ids=slots,
        local=slice(0, 0),  # no texts: what is trained on is not what is recorded
        settings=settings,
    )
    batch = _unscored(replace(batch, local=local), is_padding, slots, settings)
    is_new = ~is_padding & (at < n_fresh)
    place_by_rank = np.argsort(np.argsort(known.rank[:n_fresh], kind="stable"))
    place = np.full(len(at), -1)
    place[is_new] = place_by_rank[at[is_new]]
    tables.restore([(s, row) for s, row in picks[is_new].tolist()])
    rank = np.where(is_padding, owner, known.rank[at])
    return {
        "output": _join_output(trainer, sources, picks, rank, owner),
        "batch": batch,
        "is_padding": is_padding,
        "place": place,
        "n_missing": n_missing,
    }


def used(step: Allocated, batch: Estimate, generated: Estimate) -> Estimate:
    """What the optimiser receives; the summary counts every prompt once, without its weight.

    A baseline of the selection is the mean over all rollouts of the prompt, so those of its
    rollouts that are trained on keep the advantages they have among all of them. Then every
    advantage is multiplied with the weight of its prompt.

    Args:
        step: An allocator's step.
        batch: Advantages in the groups that are trained on.
        generated: Advantages in the groups of all rollouts.
    """
    groups = step.batch.groups
    position = groups.ids.astype(np.int64)  # the padding's is one past the end
    baselines = np.append(step.selection.baselines, np.nan)[position]
    weights = np.append(step.selection.weights, 0.0)[position]
    from_all = groups.expand(~np.isnan(baselines)) & (step.place >= 0)
    factor = groups.expand(weights)
    values, tokens = batch.values.copy(), batch.tokens
    values[from_all] = generated.values[step.place[from_all]]
    if tokens is not None and generated.tokens is not None:
        tokens = tokens.copy()
        tokens[np.repeat(from_all, step.batch.lengths)] = _tokens_of(
            generated.tokens, step.generated.lengths, step.place[from_all]
        )
    summary = summarise_groups(groups, values)
    values = values * factor
    if tokens is not None:
        tokens = tokens * np.repeat(factor, step.batch.lengths)
        offsets = np.cumsum([0, *step.batch.lengths])
        is_moving = sum_over_tokens(tokens != 0, offsets) > 0
    else:
        is_moving = values != 0
    is_silent = groups.sum_by_group(is_moving) == 0
    return Estimate(values, tokens, is_silent, summary._replace(is_silent=is_silent))


def recorded(step: Allocated, final: Estimate, generated: Estimate) -> Estimate:
    """What the run says of all rollouts of the step: of those trained on, what they were given."""
    values = generated.values.copy()
    is_new = step.place >= 0
    values[step.place[is_new]] = final.values[is_new]
    mine, theirs = generated.summary, final.summary
    prompts = step.selection.prompts
    trained = step.batch.groups.ids.astype(np.int64)
    inside = np.flatnonzero(trained < len(prompts))
    slot, is_here = _positions(step.generated.groups.ids, prompts[trained[inside]])
    updated = {}
    for name in ("is_silent", "contrast", "push"):
        column = getattr(mine, name).copy()
        column[slot[is_here]] = getattr(theirs, name)[inside[is_here]]
        updated[name] = column
    return generated._replace(values=values, summary=mine._replace(**updated))


def _fits(groups: IntArray, capacity: int) -> BoolArray:
    """The first `capacity` rollouts, group after group."""
    fits = np.zeros(len(groups), dtype=np.bool_)
    fits[np.argsort(groups, kind="stable")[:capacity]] = True
    return fits


def _even(
    at: IntArray, slots: IntArray, rank: IntArray, trainer: Any, *, fill: int
) -> tuple[IntArray, IntArray, IntArray]:
    """As many rows for each process, and no more than its share: −1 where it only fills up.

    A rule that keeps the first or the last rollouts of a group keeps those of the same processes
    again and again, whose memory is made for an equal share. So they give rows to the others.

    Returns:
        Rows, groups and processes of the batch, process after process.
    """
    world = trainer.accelerator.num_processes
    multiple = trainer.args.steps_per_generation
    share = max(1, -(-len(at) // (world * multiple))) * multiple
    owner = rank[at]
    for each in range(world):
        owner[np.flatnonzero(owner == each)[share:]] = -1
    room = share - np.bincount(owner[owner >= 0], minlength=world)
    free = np.repeat(np.arange(world), room)
    moves = np.flatnonzero(owner < 0)
    owner[moves] = free[: len(moves)]
    n_missing = len(free) - len(moves)
    at = np.concatenate([at, np.full(n_missing, -1)])
    slots = np.concatenate([slots, np.full(n_missing, fill)])
    owner = np.concatenate([owner, free[len(moves) :]])
    order = np.argsort(owner, kind="stable")
    return at[order], slots[order], owner[order]


def _join_output(
    trainer: Any, sources: list[Source], picks: IntArray, rank: IntArray, owner: IntArray
) -> dict[str, Any]:
    """This process's batch: what it has, and what others give it. Collective.

    Args:
        trainer: The GRPO trainer.
        sources: Generation batches of this process.
        picks: (N, 2) source and row of what is trained on.
        rank: (N,) process that has it.
        owner: (N,) process that trains on it.
    """
    me = trainer.accelerator.process_index
    outputs = [output for output, _ in sources]
    starts = np.array([sampling.local.start for _, sampling in sources])
    own = np.stack([picks[:, 0], picks[:, 1] - starts[picks[:, 0]]], axis=1)
    is_moved = rank != owner
    if is_moved.any():
        gifts = share_rows(trainer, outputs, own[is_moved & (rank == me)].tolist())
        for giver in np.unique(rank[is_moved & (owner == me)]):
            of_giver = np.flatnonzero(is_moved & (rank == giver))
            own[of_giver] = np.stack(
                [np.full_like(of_giver, len(outputs)), np.arange(len(of_giver))], axis=1
            )
            outputs.append(gifts[giver])
    return join_outputs(trainer, outputs, [(s, row) for s, row in own[owner == me].tolist()])


def _unscored(
    batch: Sampling, is_padding: BoolArray, slots: IntArray, settings: Settings
) -> Sampling:
    if not is_padding.any():
        return batch
    rewards = np.where(is_padding, np.nan, batch.rewards)
    by_function = {
        name: np.where(is_padding, np.nan, values)
        for name, values in batch.rewards_by_function.items()
    }
    groups = make_groups(rewards, by_function, slots, settings)
    return replace(batch, rewards=rewards, rewards_by_function=by_function, groups=groups)


def _tokens_of(tokens: FloatArray, lengths: IntArray, rows: IntArray) -> FloatArray:
    """The tokens of some rollouts, one after the other."""
    starts = np.cumsum(lengths) - lengths
    wanted = lengths[rows]
    inside = np.arange(wanted.sum()) - np.repeat(np.cumsum(wanted) - wanted, wanted)
    return np.asarray(tokens[np.repeat(starts[rows], wanted) + inside])


def _positions(ids: NDArray[Any], wanted: NDArray[Any]) -> tuple[IntArray, BoolArray]:
    """Place of each wanted id, and whether it is there."""
    if not len(ids):
        return np.zeros(len(wanted), dtype=np.int64), np.zeros(len(wanted), dtype=np.bool_)
    order = np.argsort(ids)
    slot = order[np.minimum(np.searchsorted(ids, wanted, sorter=order), len(ids) - 1)]
    return slot, np.asarray(ids[slot] == wanted)
