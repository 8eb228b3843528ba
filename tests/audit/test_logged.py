"""Advantages written by known rules are traced back to them; damaged groups are named."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dissensus.audit.logged import audit_log, read_log
from dissensus.errors import InputError

FAST = settings(max_examples=10)


def centred(table):
    return table - table.mean(axis=1, keepdims=True)


def grpo(ddof=1, eps=1e-4):
    return lambda r: centred(r) / (r.std(axis=1, ddof=ddof, keepdims=True) + r.dtype.type(eps))


def log(rule, *, seed=0, steps=24, prompts=12, size=8, dtype=np.float64, first=0, small=0.02):
    """Columns of a log whose advantages `rule` makes from each step's (P, G) rewards."""
    rng = np.random.default_rng(seed)
    out = {k: [] for k in ("step", "generation", "group_id", "prompt_id", "reward", "advantage")}
    for step in range(first, first + steps):
        solved = rng.random((prompts, size)) < rng.beta(0.6, 0.6, size=(prompts, 1))
        rewards = solved.astype(dtype)
        if step % 2:
            rewards[: prompts // 2] += (small * rng.random((prompts // 2, size))).astype(dtype)
        advantages = np.asarray(rule(rewards), dtype=np.float64)
        out["step"] += [step] * rewards.size
        out["generation"] += [step] * rewards.size
        out["group_id"] += np.repeat([f"s{step}-g{i}" for i in range(prompts)], size).tolist()
        names = [f"p{(step * prompts + i) % 50}" for i in range(prompts)]
        out["prompt_id"] += np.repeat(names, size).tolist()
        out["reward"] += rewards.astype(np.float64).ravel().tolist()
        out["advantage"] += advantages.ravel().tolist()
    return out


def joined(*logs):
    return {key: [value for part in logs for value in part[key]] for key in logs[0]}


def codes(answer):
    return {finding.code for finding in answer.findings}


@FAST
@given(
    ddof=st.sampled_from([0, 1]),
    power=st.floats(-6, -2),
    dtype=st.sampled_from([np.float64, np.float32]),
    size=st.integers(3, 12),
    seed=st.integers(0, 1000),
)
def test_the_true_ddof_and_eps_are_found(ddof, power, dtype, size, seed):
    eps = float(dtype(10.0**power))
    answer = audit_log([log(grpo(ddof, eps), dtype=dtype, size=size, seed=seed)])
    facts = answer.estimator
    assert (facts.numerator, facts.denominator, facts.ddof) == ("mean", "group_std", ddof)
    low, high = facts.eps
    assert low <= eps <= high
    assert answer.extra["closest"]["explained"] == 1.0
    other = answer.extra["runner_up"]
    assert other is None or other["explained"] < 0.9


RULES = {
    "mean none": (centred, "mean", "none", None),
    "rloo": (lambda r: centred(r) * r.shape[1] / (r.shape[1] - 1), "leave_one_out", "none", None),
    "batch": (lambda r: centred(r) / (r.std(ddof=1) + 1e-4), "mean", "batch_std", 1),
    "batch centred": (
        lambda r: centred(r) / (centred(r).std(ddof=1) + 1e-4),
        "mean",
        "batch_centred_std",
        1,
    ),
    "raw": (lambda r: r, "none", "none", None),
    "whitened": (
        lambda r: (r - r.mean()) / (r.std(ddof=0) + 1e-8),
        "none",
        "batch_std",
        0,
    ),
}


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_other_rules_are_found_and_grpo_is_rejected(name, dtype):
    rule, numerator, denominator, ddof = RULES[name]
    answer = audit_log([log(rule, dtype=dtype)])
    facts = answer.estimator
    assert (facts.numerator, facts.denominator, facts.ddof) == (numerator, denominator, ddof)
    assert answer.extra["closest"]["error"] < 1e-5


def test_rounded_numbers_widen_the_interval():
    columns = log(grpo(1, 1e-4))
    for name in ("reward", "advantage"):
        columns[name] = [round(value, 4) for value in columns[name]]
    answer = audit_log([columns])
    assert answer.extra["precision"] == "written with 4 decimals"
    low, high = answer.estimator.eps
    assert low <= 1e-4 <= high
    assert answer.estimator.name == "grpo(ddof=1)"  # more than the numbers allow is not said


def bfloat16(values):
    bits = values.astype(np.float32).view(np.uint32)
    nearest = (bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000
    return nearest.astype(np.uint32).view(np.float32).astype(np.float64)


ROUNDED = {
    "bfloat16": bfloat16,
    "3 decimals": lambda values: np.round(values, 3),
    "3 digits": lambda values: np.array([float(f"{v:.3g}") for v in values.flat]).reshape(
        values.shape
    ),
}


@pytest.mark.parametrize("rounding", ROUNDED.values(), ids=ROUNDED)
@pytest.mark.parametrize("ddof", [0, 1])
def test_a_ddof_that_rounding_hides_is_unknown(rounding, ddof):
    # sqrt(N / (N − 1)) of a batch of 8,000 is 1.00006: less than the last digit.
    columns = log(
        lambda r: rounding(centred(r) / (r.std(ddof=ddof) + 1e-6)), prompts=1000, steps=2, small=0
    )
    answer = audit_log([columns])
    facts = answer.estimator
    assert (facts.numerator, facts.denominator, facts.ddof) == ("mean", "batch_std", None)
    assert facts.name is None
    assert "ddof: 1 and 0 explain the advantages alike" in answer.unknown
    assert any("ddof 0" in formula for formula in answer.extra["indistinguishable"])
    assert answer.extra["rule"] is None
    assert "EST104" not in codes(answer)
    assert facts.eps[0] <= 1e-6 <= facts.eps[1]


@pytest.mark.parametrize("rounding", ROUNDED.values(), ids=ROUNDED)
def test_rounding_does_not_hide_a_ddof_of_small_groups(rounding):
    # sqrt(8 / 7) is 1.07, and bfloat16 keeps one part in 256.
    for ddof in (0, 1):
        facts = audit_log([log(lambda r, d=ddof: rounding(grpo(d)(r)), small=0)]).estimator
        assert (facts.numerator, facts.denominator, facts.ddof) == ("mean", "group_std", ddof)
        assert facts.eps[0] <= 1e-4 <= facts.eps[1]


@pytest.mark.parametrize(
    "rule",
    [
        lambda r: np.sign(centred(r)),
        lambda r: np.random.default_rng(1).normal(size=r.shape),
        lambda r: centred(r) ** 3,
    ],
    ids=["sign", "noise", "cube"],
)
def test_an_unknown_rule_stays_unknown(rule):
    answer = audit_log([log(rule)])
    assert answer.estimator.numerator is None
    assert "LOG611" in codes(answer)
    assert any(text.startswith("estimator") for text in answer.unknown)


@pytest.mark.parametrize("chunk", [500, 65_536])
def test_cutting_into_batches_changes_nothing(monkeypatch, chunk):
    from dissensus.audit import logged_rows

    table = pa.table(log(grpo()))
    whole = audit_log([table]).to_json()
    monkeypatch.setattr(logged_rows, "_CHUNK_ROWS", chunk)
    assert audit_log([table]).to_json() == whole
    assert audit_log(table.to_batches(max_chunksize=37)).to_json() == whole


def test_long_logs_are_read_in_chunks(monkeypatch):
    from dissensus.audit import logged_rows

    monkeypatch.setattr(logged_rows, "_CHUNK_ROWS", 500)
    facts = read_log([log(grpo(1, 1e-6), steps=40)])
    assert len(facts.search.winners) == 1
    assert facts.search.winners[0].first_step == 0
    assert facts.search.winners[0].last_step == 39
    assert facts.counts.rows == 40 * 96
    assert facts.best.eps[0] <= 1e-6 <= facts.best.eps[1]


def test_normalised_in_blocks_smaller_than_the_group():
    answer = audit_log([log(lambda r: grpo()(r.reshape(-1, 4)).reshape(r.shape))])
    finding = next(f for f in answer.findings if f.code == "EST112")
    assert "blocks of 4 consecutive rows" in finding.evidence
    assert answer.extra["other_grouping"] == "blocks of 4 consecutive rows"
    assert "EST112" not in codes(audit_log([log(grpo())]))


def test_normalised_across_prompts():
    answer = audit_log([log(lambda r: grpo()(r.reshape(-1, 16)).reshape(r.shape))])
    finding = next(f for f in answer.findings if f.code == "EST112")
    assert "blocks of 16 consecutive rows" in finding.evidence


def test_a_sampling_that_carries_several_group_ids():
    columns = log(grpo())
    columns["group_id"] = [f"{g}-{i // 4}" for i, g in enumerate(columns["group_id"])]
    answer = audit_log([columns])
    assert codes(answer) & {"LOG603", "EST112"}


def test_groups_that_mix_prompts():
    columns = log(grpo())
    assert "LOG602" not in codes(audit_log([columns]))
    columns["prompt_id"][3] = "another"
    finding = next(f for f in audit_log([columns]).findings if f.code == "LOG602")
    assert finding.where.endswith("step 0, group s0-g0")


def test_clipped_advantages():
    answer = audit_log([log(lambda r: np.clip(grpo()(r), -1.5, 1.5))])
    assert "LOG613" in codes(answer)
    assert "LOG613" not in codes(audit_log([log(lambda r: np.clip(grpo()(r), -9, 9))]))


def test_silent_groups_with_an_advantage():
    assert not codes(audit_log([log(grpo())]))
    white = audit_log([log(lambda r: (r - r.mean()) / (r.std(ddof=1) + 1e-8))])
    assert "SIL205" in codes(white)

    def noisy(r):
        return grpo()(r) + 0.05 * (np.ptp(r, axis=1, keepdims=True) == 0)

    assert "LOG610" in codes(audit_log([log(noisy)]))


def test_a_rule_that_changes_within_the_log():
    columns = joined(log(grpo()), log(centred, first=24, seed=1))
    answer = audit_log([columns])
    finding = next(f for f in answer.findings if f.code == "LOG614")
    assert finding.where == "log: step 24"
    assert answer.estimator.denominator is None
    assert [regime["steps"] for regime in answer.extra["regimes"]] == [[0, 23], [24, 47]]


def test_an_eps_that_changes_within_the_log():
    columns = joined(log(grpo(1, 1e-4)), log(grpo(1, 1e-2), first=24, seed=1))
    assert "LOG614" in codes(audit_log([columns]))


def test_rows_logged_twice_and_advantages_computed_twice():
    once = log(grpo())
    assert "LOG605" in codes(audit_log([joined(once, once)]))
    twice = dict(once, advantage=[2 * a for a in once["advantage"]])
    assert "LOG615" in codes(audit_log([joined(once, twice)]))
    numbered = dict(once, row=[i % 96 for i in range(len(once["step"]))])
    assert "LOG605" not in codes(audit_log([numbered]))
    numbered["row"][5] = 4
    assert "LOG605" in codes(audit_log([numbered]))


def test_nan_and_missing_values():
    columns = log(grpo())
    columns["advantage"][2] = float("nan")
    columns["advantage"][9] = None
    columns["reward"][20] = None
    facts = read_log([columns])
    assert facts.counts.bad == 1
    assert facts.counts.unscored == 1
    assert facts.counts.with_advantage == facts.counts.rows - 1
    answer = audit_log([columns])
    assert "LOG609" in codes(answer)
    assert answer.estimator.denominator == "group_std"
    assert "LOG617" in codes(answer)  # the group that lost a reward no longer follows the rule


def test_sizes_that_vary_and_single_rollouts():
    columns = log(grpo())
    extra = {
        "step": [99] * 3,
        "generation": [99] * 3,
        "group_id": ["x", "y", "y"],
        "prompt_id": ["x", "y", "y"],
        "reward": [1.0, 1.0, 0.0],
        "advantage": [1.0, 0.7069, -0.7069],
    }
    answer = audit_log([joined(columns, extra)])
    assert {"LOG604", "LOG608"} <= codes(answer)
    assert answer.extra["counts"]["sizes"] == [1, 8]


def test_split_groups_without_advantage():
    def masked(r):
        out = grpo()(r)
        out[0] = 0.0
        return out

    answer = audit_log([log(masked)])
    assert "LOG616" in codes(answer)
    assert answer.estimator.denominator == "group_std"


def test_evaluation_rows_are_left_out():
    columns = log(grpo())
    columns["split"] = ["train"] * len(columns["step"])
    noise = log(lambda r: r * 7, first=50, steps=4)
    noise["split"] = ["eval"] * len(noise["step"])
    assert read_log([joined(columns, noise)]).counts.rows == len(columns["step"])


def test_a_log_without_advantages_or_columns():
    columns = log(grpo())
    columns["advantage"] = pa.nulls(len(columns["step"]), pa.float64())
    answer = audit_log([columns])
    assert "LOG620" in codes(answer)
    assert "estimator: the log has no advantages" in answer.unknown
    with pytest.raises(InputError, match="columns group_id, advantage"):
        audit_log([{"step": [0], "reward": [1.0]}])
    assert audit_log([]).estimator.numerator is None


def test_memory_does_not_grow_with_the_log(monkeypatch):
    import tracemalloc

    from dissensus.audit import logged_rows

    monkeypatch.setattr(logged_rows, "_CHUNK_ROWS", 2000)
    table = pa.table(log(grpo(), steps=20, prompts=24))

    def copies(count):
        for number in range(count):
            steps = pa.array(np.array(table["step"]) + 20 * number)
            shifted = table.set_column(0, "step", steps).set_column(1, "generation", steps)
            names = pa.array([f"{number}-{g}" for g in table["group_id"].to_pylist()])
            yield shifted.set_column(2, "group_id", names)

    def peak(count):
        tracemalloc.start()
        facts = read_log(copies(count))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert facts.counts.rows == count * 3840
        assert facts.counts.generations == count * 20
        return peak

    assert peak(12) < 1.2 * peak(3)


def test_a_log_of_rewards_says_nothing_about_what_silent_groups_got():
    rewards, nothing = [1.0, 1.0, 0.0, 1.0], [None] * 4
    log = {"step": [0] * 4, "group_id": [0, 0, 1, 1], "reward": rewards, "advantage": nothing}
    answer = audit_log([log])
    assert answer.silent is None
    assert answer.silent_cost == "50.0% of the groups are unanimous"
    assert set(answer.unknown) == {
        "estimator: the log has no advantages",
        "silent: the log has no advantages",
    }


@pytest.mark.parametrize("missing", [np.nan, np.inf])
def test_a_missing_reward_is_not_rounding_noise(missing):
    table = log(grpo())
    first = next(
        i
        for i in range(0, len(table["reward"]), 8)
        if table["reward"][i : i + 8].count(1.0) == 1 and table["reward"][i : i + 8].count(0.0) == 7
    )
    table["reward"][first + table["reward"][first : first + 8].index(1.0)] = missing
    assert not {"LOG601", "LOG610", "SIL205"} & codes(audit_log([table]))


def test_a_log_without_advantages_says_what_that_costs():
    table = log(grpo())
    table["advantage"] = pa.nulls(len(table["step"]), pa.float64())
    (finding,) = (f for f in audit_log([table]).findings if f.code == "LOG620")
    assert "rule" in finding.consequence
    assert "group id" not in finding.fix


def test_one_rule_for_all_chunks_is_no_change_although_another_ties_for_some(monkeypatch):
    from dissensus.audit import logged_rows

    monkeypatch.setattr(logged_rows, "_CHUNK_ROWS", 500)

    def rule(r):
        return centred(r) / (r.std() + 1e-4)

    # Where every group has 4 of 8 right, the std of each group is that of the batch.
    half = np.tile([1.0, 0.0], 48)
    first = log(rule, small=0)
    for start in range(0, len(first["reward"]), 96):
        first["reward"][start : start + 96] = half.tolist()
        first["advantage"][start : start + 96] = rule(half.reshape(-1, 8)).ravel().tolist()
    answer = audit_log([joined(first, log(rule, first=24, seed=1))])
    assert "LOG614" not in codes(answer)
    assert answer.estimator.denominator == "batch_std"
    assert answer.extra["regimes"] == []


def test_group_ids_that_every_step_uses_again_are_no_repeats():
    columns = log(grpo(), small=0)
    columns["group_id"] = [i // 8 % 12 for i in range(len(columns["step"]))]
    assert not {"LOG605", "LOG615"} & codes(audit_log([columns]))
    # The same where each step is whitened with its own std, so that equal rewards differ in A.
    columns["advantage"] = [
        a * (1 + s) for a, s in zip(columns["advantage"], columns["step"], strict=True)
    ]
    assert not {"LOG605", "LOG615"} & codes(audit_log([columns]))


def test_one_repeated_row_hides_no_group_that_was_computed_twice():
    once = log(grpo())
    once["row"] = [i % 96 for i in range(len(once["step"]))]
    twice = dict(once, advantage=[2 * a for a in once["advantage"]])
    twice["row"] = [5 if i == 4 else row for i, row in enumerate(once["row"])]
    assert {"LOG605", "LOG615"} <= codes(audit_log([joined(once, twice)]))


def test_rows_without_a_step_are_read():
    columns = log(grpo(), steps=4)
    columns["step"][0:8] = [None] * 8
    columns["generation"][0:8] = [None] * 8
    facts = read_log([columns])
    assert facts.counts.rows == 4 * 96
    assert facts.counts.groups == 4 * 12
    assert facts.best.candidate.denominator == "group_std"


def test_one_long_id_does_not_make_all_of_them_long():
    import tracemalloc

    columns = log(grpo(), steps=40)
    columns["group_id"][:8] = ["x" * 100_000] * 8
    table = pa.table(columns)
    tracemalloc.start()
    facts = read_log([table])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert facts.counts.groups == 480
    assert peak < 20e6


def test_small_batches_of_a_long_generation_are_not_joined_again_and_again(monkeypatch):
    from dissensus.audit import logged_rows

    monkeypatch.setattr(logged_rows, "_CHUNK_ROWS", 64)
    joins = []
    concat = pa.concat_tables

    def counted(tables, **options):
        joins.append(sum(table.num_rows for table in tables))
        return concat(tables, **options)

    table = pa.table(log(grpo(), steps=1, prompts=512))
    monkeypatch.setattr(logged_rows.pa, "concat_tables", counted)
    assert read_log(table.to_batches(max_chunksize=16)).counts.rows == 4096
    assert sum(joins) < 4 * 4096


def rows_of(columns, order):
    return {name: [values[i] for i in order] for name, values in columns.items()}


def test_rows_in_any_order_are_put_together():
    columns = log(grpo())
    order = np.random.default_rng(0).permutation(len(columns["step"]))
    answer = audit_log([rows_of(columns, order)])
    assert not codes(answer)
    assert (answer.estimator.denominator, answer.estimator.ddof) == ("group_std", 1)
    assert answer.extra["counts"]["sizes"] == [8, 8]


def test_a_long_log_with_its_groups_in_pieces_is_refused(monkeypatch):
    from dissensus.audit import logged_rows

    monkeypatch.setattr(logged_rows, "_CHUNK_ROWS", 500)
    columns = log(grpo())
    order = np.random.default_rng(0).permutation(len(columns["step"]))
    with pytest.raises(InputError, match=r"lie far apart.*sort the log by step"):
        audit_log([rows_of(columns, order)])


def test_step_numbers_that_begin_anew_in_every_epoch_are_no_disorder():
    parts = [log(grpo(), steps=3, seed=seed, small=0) for seed in range(5)]
    for number, part in enumerate(parts):
        part["group_id"] = [f"{number}-{name}" for name in part["group_id"]]
    facts = read_log([joined(*parts)])
    assert facts.counts.generations == 15
    assert facts.best.candidate.denominator == "group_std"


@pytest.mark.parametrize(
    ("name", "value"), [("step", 0.5), ("reward", "good"), ("group_id", [1]), ("length", "long")]
)
def test_a_column_of_another_type_is_one_line(name, value):
    columns = log(grpo(), steps=1)
    columns[name] = [value] * len(columns["step"])
    with pytest.raises(InputError, match=f"the column {name} does not hold") as raised:
        audit_log([columns])
    assert "\n" not in str(raised.value)


def test_few_float32_numbers_do_not_make_eps_certain():
    # Groups of 2 have one advantage only, and float32 keeps 7 digits of it.
    columns = log(grpo(1, 1e-6), size=2, small=0, dtype=np.float32)
    facts = audit_log([columns]).estimator
    assert (facts.numerator, facts.denominator, facts.ddof) == ("mean", "group_std", 1)
    assert facts.eps[0] <= 1e-6 <= facts.eps[1]


def test_another_grouping_is_not_found_in_advantages_that_contradict_it():
    answer = audit_log([log(lambda r: np.sign(centred(r)), size=4, small=0)])
    assert not {"EST112", "LOG603"} & codes(answer)
    assert "LOG611" in codes(answer)


def test_what_a_silent_stretch_looks_like_does_not_blunt_the_rest(monkeypatch):
    # Advantages 0 fit numbers without any decimal; a rule of the other chunks that is 0.03 off
    # the group mean must not pass as rounding.
    monkeypatch.setattr("dissensus.audit.logged_rows._CHUNK_ROWS", 256)

    def own(table):
        return centred(table) + 0.03 * np.sin(7 * table)

    silent = log(lambda table: 0 * table)
    silent["reward"] = np.zeros(len(silent["step"]))
    rng = np.random.default_rng(1)
    real = log(centred, first=24)
    table = rng.random((len(real["step"]) // 8, 8))
    real |= {"reward": table.ravel(), "advantage": own(table).ravel()}
    found = audit_log([silent, real])
    assert found.extra["rule"] is None
    assert "estimator: no known rule explains the advantages" in found.unknown


@pytest.mark.parametrize("odd", [np.nan, np.inf, 1e300])
@pytest.mark.parametrize("name", ["row", "length"])
def test_odd_positions_and_lengths_are_none(name, odd):
    columns = log(centred)
    columns[name] = np.full(len(columns["step"]), odd)
    answer = audit_log([columns])
    assert answer.extra["rule"] == "r − group mean"
    assert answer.extra["counts"]["repeated_rows"] == 0


def test_rewards_at_the_end_of_the_range_are_no_exception():
    columns = log(centred)
    columns |= {name: 1e308 * np.asarray(columns[name]) for name in ("reward", "advantage")}
    assert audit_log([columns]).extra["counts"]["rows"] == len(columns["step"])
