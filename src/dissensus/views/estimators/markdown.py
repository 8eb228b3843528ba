"""The pages of the documentation about estimators, made from what each rule says of itself.

    python -m dissensus.views.estimators.markdown docs

rewrites the folder `estimators` there: one page a rule and a weight, and an index.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path

import numpy as np

from dissensus.core import advantages
from dissensus.core.advantages import Weight
from dissensus.core.advantages.weights import WEIGHTS
from dissensus.views.estimators.detail import TENTHS, Detail, detail
from dissensus.views.estimators.facts import EVIDENCE, Entry, entries, example_of
from dissensus.views.format import UNKNOWN, fraction, number

__all__ = ["COMMAND", "pages", "write_pages"]

COMMAND = "python -m dissensus.views.estimators.markdown docs"
_SIZE = 8
_MADE = f"\n*Made from the source by `{COMMAND}`; do not edit it.*\n"

_INDEX = f"""# Estimators

What `advantages.get(NAME)`, the trainer's `estimator=` and `dissensus estimators NAME` know. Each
page holds the equation, what unanimous groups get, the signature in groups of {_SIZE}, what follows
from it, and where the formula was read. How to read them: [theory.md](../theory.md); how weights
compose: [weights.md](../weights.md).
{_MADE}"""


def pages() -> dict[str, str]:
    """Every page by file name."""
    found = entries()
    out = {"README.md": _index(found)}
    for entry in found:
        out[f"{entry.name}.md"] = _weight_page(entry) if entry.is_weight else _rule_page(entry)
    return out


def write_pages(folder: Path) -> None:
    """Rewrite the folder `estimators`, and remove pages of rules that are gone."""
    target = folder / "estimators"
    target.mkdir(parents=True, exist_ok=True)
    made = pages()
    for path in target.glob("*.md"):
        if path.name not in made:
            path.unlink()
    for name, text in made.items():
        (target / name).write_text(text, encoding="utf-8")


def _index(found: list[Entry]) -> str:
    parts = [_INDEX]
    for kind, members in groupby(found, key=lambda entry: entry.kind):
        rows = [
            [
                f"[{entry.name}]({entry.name}.md)",
                "" if entry.is_weight else entry.title,
                _code(entry.described.short),
                entry.silent,
                "−mean/std in others"
                if entry.shifts_with_batch
                else "yes"
                if "B ≠ 0" in entry.push
                else "",
                entry.evidence,
            ]
            for entry in members
        ]
        header = ["name", "title", "equation", "silent", "push", "evidence"]
        parts += [f"## {kind}\n", *_table(header, rows), ""]
    return "\n".join(parts).rstrip() + "\n"


def _rule_page(entry: Entry) -> str:
    shown = detail(advantages.get(entry.name), _SIZE)
    facts = {
        "silent": shown.silent.replace(f"k = {_SIZE}", "k = G") if shown.implied else entry.silent,
        "push": shown.push,
        "climbs, large groups": _climbs(entry),
        "takes": "; ".join(entry.properties),
        "needs": ", ".join(entry.needs) or "rewards only",
        "evidence": EVIDENCE[entry.evidence],
        "source": _linked(entry.source),
    }
    return _page(entry, facts, [*_signature(shown), *_implied(shown)])


def _weight_page(entry: Entry) -> str:
    facts = {
        "silences": entry.silent,
        "climbs, large groups": f"{entry.objective}, up to a factor",
        "needs": ", ".join(entry.needs) or "rewards only",
        "source": _linked(entry.source),
    }
    return _page(entry, facts, list(_on_grpo(example_of(WEIGHTS[entry.name]))))


def _page(entry: Entry, facts: dict[str, str], sections: list[str]) -> str:
    described = entry.described
    parts = [
        f"# {entry.name if entry.is_weight else entry.title}\n",
        f"{described.summary}\n",
        "\n".join(["```", *described.equation, "```", ""]),
        *(f"{_linked(text)}\n" for text in described.text),
        f"Written `{entry.written}`.\n",
        *_table(["", ""], [[name, value] for name, value in facts.items()]),
        "",
        *sections,
        _MADE,
    ]
    return "\n".join(parts)


def _climbs(entry: Entry) -> str:
    return entry.climbs or "no closed form is known"


def _signature(shown: Detail) -> Iterator[str]:
    yield f"## Signature in groups of {_SIZE}\n"
    if shown.signature is None:
        yield f"None: {shown.absent}.\n"
        return
    if shown.context_note:
        yield f"{shown.context_note}\n"
    signature = shown.signature
    columns = (signature.positive, signature.negative, signature.contrast, signature.push)
    rows = [[str(k), *(_value(float(column[k])) for column in columns)] for k in range(_SIZE + 1)]
    yield from _table(["k", "A₊", "A₋", "contrast W", "push B"], rows)
    yield ""


def _implied(shown: Detail) -> Iterator[str]:
    found = shown.implied
    if found is None:
        return
    kind = "in closed form" if shown.limit_is_exact else "extrapolated"
    yield "## What follows\n"
    yield (
        f"For prompts of solve rate p in groups of {_SIZE}; f′ is the slope that large groups "
        f"climb, {kind}. The share is that of the gradient in a tenth of the axis around p, were "
        "prompts spread evenly.\n"
    )
    header = ["p", "E[W]", "E[B]", "F′", "f′", "silent", "share"]
    shares = found.mass_by_bin()
    curves = (found.contrast, found.push, found.slope, shown.limit)
    rows = [
        [
            f"{found.p[at]:.2f}",
            *(_value(float(curve[at])) for curve in curves),
            fraction(float(found.silent_rate[at]), digits=1),
            fraction(float(share), digits=1),
        ]
        for at, share in zip(TENTHS, shares, strict=True)
    ]
    yield from _table(header, rows)


def _on_grpo(weight: Weight) -> Iterator[str]:
    """W of each k on GRPO in the neutral reference batch, and what becomes of W."""
    before, after = (
        advantages.signature(rule, _SIZE, context=advantages.neutral_context(rule)).contrast
        for rule in (advantages.get("grpo"), advantages.weighted("grpo", weight))
    )
    yield f"## On GRPO in groups of {_SIZE}\n"
    yield (
        "w has mean one over the rollouts it acts on ([weights.md](../weights.md)), here those of "
        "one group of each k = 0 … G, all of them but the silent ones. Memory is empty, and the "
        "step is 0.\n"
    )
    with np.errstate(invalid="ignore"):
        factor = after / before
    rows = [
        [str(k), *(_value(float(each[k])) for each in (factor, before, after))]
        for k in range(_SIZE + 1)
    ]
    yield from _table(["k", "w", "W of GRPO", "W weighted"], rows)


def _table(header: list[str], rows: Iterable[list[str]]) -> list[str]:
    lines = [header, ["---"] * len(header), *rows]
    return ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines]


def _linked(text: str) -> str:
    return re.sub(r"arXiv:(\d{4}\.\d{4,5})", r"[arXiv:\1](https://arxiv.org/abs/\1)", text)


def _code(text: str) -> str:
    return f"`` {text} ``" if "`" in text else f"`{text}`"


def _value(value: float) -> str:
    if not np.isfinite(value):
        return UNKNOWN
    return "0" if abs(value) < 5e-5 else number(value, significant=4)


if __name__ == "__main__":
    write_pages(Path(sys.argv[1]))
