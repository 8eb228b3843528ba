"""From the settings of a configuration to the answer: a pure function of settings and facts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from importlib import metadata
from typing import Any, NamedTuple

from dissensus.audit.answer import Answer, EstimatorFacts
from dissensus.audit.facts import FIELDS, FrameworkFacts, Row, load_facts, version_key
from dissensus.audit.facts.conditions import Truth, Value, evaluate, normalise, same
from dissensus.audit.findings import Finding, entry
from dissensus.audit.numbers import fill
from dissensus.audit.settings import Settings

__all__ = ["Version", "detect_version", "resolve"]

_NAMES = {
    "numerator": "estimator.numerator",
    "denominator": "estimator.denominator",
    "ddof": "estimator.ddof",
    "eps": "estimator.eps",
    "estimator": "estimator.name",
}


class Version(NamedTuple):
    """A version, and how it is known: `configuration`, `installed` or `facts`."""

    version: str
    source: str


def resolve(settings: Settings, *, installed: Mapping[str, str] | None = None) -> Answer:
    """Say what a configured pipeline does with disagreement.

    A field whose deciding key is not known is None, and `unknown` says which variable or file
    decides it. A one-rollout group or a silent group is described by `silent` and the findings.

    Args:
        settings: One configuration.
        installed: Versions by distribution name; None asks this Python installation.

    Raises:
        InputError: There are no facts about the framework.

    Example:
        >>> answer = resolve(Settings("trl", "python", "train.py", "GRPOTrainer"), installed={})
        >>> answer.estimator.denominator, answer.estimator.eps, answer.silent
        ('group_std', 0.0001, 'keep')
    """
    facts = load_facts(settings.framework)
    version = detect_version(settings, facts, installed)
    return _Resolution(settings, facts, version).answer()


def detect_version(
    settings: Settings, facts: FrameworkFacts, installed: Mapping[str, str] | None = None
) -> Version:
    """Which version the answer is about: the configuration's, the installed one, or the facts'."""
    if settings.version:
        return Version(settings.version, "configuration")
    found = _installed(facts.distribution) if installed is None else installed.get(facts.name)
    return Version(found, "installed") if found else Version(facts.version, "facts")


def _installed(distribution: str) -> str | None:
    try:
        return metadata.version(distribution) if distribution else None
    except metadata.PackageNotFoundError:
        return None


@dataclass
class _Field:
    """A field of the answer while rows are applied to it; only texts of the facts hold `{…}`."""

    value: Any = None
    is_template: bool = True
    where: str = ""
    missing: dict[str, None] = field(default_factory=dict)


class _Resolution:
    def __init__(self, settings: Settings, facts: FrameworkFacts, version: Version) -> None:
        self.settings, self.facts, self.version = settings, facts, version
        self.spellings: dict[str, list[str]] = {}
        for row in facts.rows_of("alias", version.version):
            self.spellings.setdefault(row.body["of"], []).append(row.body["key"])
        self.fields = {name: _Field() for name in FIELDS}
        self.defaults: dict[str, Value] = {}
        self._apply_defaults()
        self._apply_facts()

    def look_up(self, key: str) -> Value:
        """Value of a key, or of an `@` word: what is launched, a section, a resolved field."""
        if not key.startswith("@"):
            return self._setting(key)
        word, _, argument = key[1:].partition(":")
        if word == "has":
            return self._has_section(argument)
        if word == "any":
            return self._any(argument)
        if word in ("share", "items"):
            prefix, _, ending = argument.partition(":")
            return self._share(prefix, ending) if word == "share" else self._items(prefix, ending)
        if word in self.fields:
            state = self.fields[word]
            return Value(state.value, state.where, missing=tuple(state.missing))
        return Value(self._words[word])

    @cached_property
    def _words(self) -> Mapping[str, str]:
        return {
            "entry": self.settings.entry.rpartition(".")[2],
            "module": self.settings.entry,
            "target": self.settings.target,
            "version": self.version.version,
            "framework": self.facts.name,
        }

    def _setting(self, key: str) -> Value:
        hidden = Value(None)
        for name in (key, *self.spellings.get(key, ())):
            found = self.settings.find(name)
            if found is None:
                continue
            if found.is_known:
                # A section replaced as a whole by one value: everything inside is null.
                value = normalise(found.value) if found.key == name else None
                return Value(value, found.where, given=True)
            if found.key in self.settings.values:
                return Value(None, found.where, given=True, missing=found.missing)
            hidden = Value(None, found.where, missing=found.missing)
        return hidden if hidden.missing else self.defaults.get(key, hidden)

    def _has_section(self, prefix: str) -> Value:
        spellings = (prefix, prefix.removeprefix("orchestrator."))
        is_there = any(self.settings.has_section(name) for name in spellings)
        missing = () if is_there or prefix in self.settings.values else self.settings.missing
        return Value(None if missing else is_there, missing=missing)

    def _any(self, ending: str) -> Value:
        """The setting whose key ends so, whatever section it is in; unknown where they differ."""
        found = [s for key, s in self.settings.values.items() if key.endswith("." + ending)]
        if not found:
            return Value(None, missing=self.settings.missing)
        first, *others = found
        missing = first.missing
        if any(not same(first.value, other.value) for other in others):
            missing = tuple(f"{s.key}={_printable(str(s.value))}" for s in found)
        return Value(normalise(first.value), first.where, True, missing)

    def _share(self, prefix: str, ending: str) -> Value:
        """How many sections of a list set a key: all of them, some, or none."""
        rest = [s.key.removeprefix(prefix + ".") for s in self.settings.under(prefix)]
        items = {key.partition(".")[0] for key in rest}
        having = {key.partition(".")[0] for key in rest if _is_at(key.partition(".")[2], ending)}
        if not items and self.settings.missing:
            return Value(None, missing=self.settings.missing)
        return Value("all" if items and having == items else "some" if having else "none")

    def _items(self, prefix: str, ending: str) -> Value:
        """Values of a key in the sections of a list, each once; None where none sets it."""
        found = [
            setting
            for setting in self.settings.under(prefix)
            if setting.key.removeprefix(prefix + ".").partition(".")[2] == ending
        ]
        values = dict.fromkeys(str(setting.value) for setting in found)
        missing = tuple(name for setting in found for name in setting.missing)
        where = found[0].where if found else ""
        return Value(normalise(", ".join(values)) or None, where, bool(found), missing)

    def _apply_defaults(self) -> None:
        for row in self.facts.rows_of("default", self.version.version):
            truth = evaluate(row.when, self.look_up)
            for key, value in row.body["values"].items():
                if truth.holds:
                    self.defaults[key] = self._value(value)._replace(where="", given=False)
                elif truth.is_open:
                    self.defaults[key] = Value(None, missing=truth.missing)

    def _apply_facts(self) -> None:
        for row in self.facts.rows_of("fact", self.version.version):
            truth = evaluate(row.when, self.look_up)
            decided = next(filter(None, (self.look_up(key).where for key in row.when)), "")
            for name, value in row.body["set"].items():
                found = self._value(value)
                if name in ("ddof", "eps") and isinstance(found.value, str):
                    found = Value(None, missing=(f"{value} = {_printable(found.value)!r}",))
                is_template = not _refers(value)
                found = found._replace(where=found.where or decided)
                self._set(self.fields[name], found, truth, is_template=is_template)

    def _set(self, state: _Field, value: Value, truth: Truth, *, is_template: bool) -> None:
        if truth.holds:
            state.value, state.missing = value.value, dict.fromkeys(value.missing)
            state.where, state.is_template = value.where, is_template
        elif truth.is_open and (state.value != value.value or state.missing or value.missing):
            state.value = None
            state.missing.update(dict.fromkeys((*truth.missing, *value.missing)))

    def _value(self, value: Any) -> Value:
        if isinstance(value, str) and value.startswith("$"):
            return self.look_up(value[1:])
        if isinstance(value, str) and value.startswith("?"):
            return self._registered(value[1:])
        return Value(normalise(value))

    def _registered(self, key: str) -> Value:
        """A rule that no row knows: its name is there, but code decides what it does."""
        found = self.look_up(key)
        named = f"{key}={self._fill('{' + key + '}')} (not a rule of the framework itself)"
        return Value(None, missing=found.missing or (named,))

    def answer(self) -> Answer:
        facts, state = self.facts, self.fields
        return Answer(
            target=self.settings.target,
            kind="config",
            framework=facts.name,
            version=self.version.version,
            version_source=self.version.source,
            estimator=EstimatorFacts(
                self._text("estimator"),
                state["numerator"].value,
                state["denominator"].value,
                state["ddof"].value,
                state["eps"].value,
            ),
            silent=state["silent"].value,
            silent_cost=self._text("silent_cost"),
            refill=self._text("refill"),
            loss_aggregation=self._text("loss_aggregation"),
            sampling=self._text("sampling"),
            metrics=self._metrics(),
            unknown=tuple(self._unknown()),
            findings=tuple(self._findings()),
            extra={
                "entry": self.settings.entry,
                "group_size": state["group_size"].value,
                "kl_coefficient": state["kl_coefficient"].value,
                "whitening": self._text("whitening"),
                "silence_test": self._text("silence_test"),
                "may_be_overridden_by": list(self.settings.launch),
            },
        )

    def _text(self, name: str) -> str | None:
        state = self.fields[name]
        if state.value is None:
            return None
        return self._fill(str(state.value)) if state.is_template else _printable(str(state.value))

    def _metrics(self) -> dict[str, str]:
        found: dict[str, str] = {}
        for row in self.facts.rows_of("metric", self.version.version):
            if evaluate(row.when, self.look_up).holds:
                found[row.body["name"]] = self._fill(row.body["meaning"])
        return found

    def _unknown(self) -> Iterator[str]:
        for name, state in self.fields.items():
            if state.missing:
                yield f"{_NAMES.get(name, name)}: decided by {', '.join(state.missing)}"

    def _findings(self) -> Iterator[Finding]:
        seen: dict[str, list[str]] = {}
        for row in self.facts.rows_of("trap", self.version.version):
            code = row.body["code"]
            # A framework's own row says more than the cross-check that is common to all.
            if row.is_common and code in seen:
                continue
            truth = evaluate(row.when, self.look_up)
            finding = self._finding(row) if truth.holds else self._if_large(row, truth)
            if finding is None:
                continue
            if finding.evidence not in seen.setdefault(code, []):
                seen[code].append(finding.evidence)
                yield finding
        yield from self._about_version()

    def _if_large(self, row: Row, truth: Truth) -> Finding | None:
        """Say what holds for groups of some size and more, where only their size is unknown."""
        size = row.when.get("@group_size")
        if not truth.is_open or not isinstance(size, dict) or set(size) != {"ge"}:
            return None
        rest = {key: test for key, test in row.when.items() if key != "@group_size"}
        if not evaluate(rest, self.look_up).holds:
            return None
        finding = self._finding(row)
        names = ", ".join(self.fields["group_size"].missing)
        shown = f"{finding.evidence}; for groups of {size['ge']} and more (decided by {names})"
        return replace(finding, evidence=shown)

    def _about_version(self) -> Iterator[Finding]:
        if version_key(self.version.version)[:2] > version_key(self.facts.version)[:2]:
            yield Finding.of(
                "CFG905",
                where=self.settings.place,
                evidence=f"{self.facts.title} {self.version.version} ({self.version.source}); "
                f"the facts are from {self.facts.version}",
            )

    def _finding(self, row: Row) -> Finding:
        code = row.body["code"]
        return Finding.of(
            code,
            where=self._where(row),
            evidence=self._fill(row.body["evidence"]),
            consequence=self._fill(row.body.get("consequence", entry(code).consequence)),
            fix=self._fill(self._fix(row)),
            severity=row.body.get("severity"),
        )

    def _fix(self, row: Row) -> str:
        """The key to change; a cross-check has one for each framework."""
        fix = row.body["fix"]
        if isinstance(fix, dict):
            return str(fix.get(self.facts.name) or fix["any"])
        return str(fix)

    def _where(self, row: Row) -> str:
        """Place of the row's key, else of the first key of its condition that is set."""
        keys = [row.body["key"]] if "key" in row.body else []
        for key in (*keys, *row.when):
            if where := self.look_up(key).where:
                return where
        return self.settings.place

    def _fill(self, template: str) -> str:
        group_size = self.fields["group_size"].value
        size = group_size if isinstance(group_size, int) else None
        return fill(template, _Texts(self), size)


class _Texts(Mapping[str, Any]):
    """What a text may name: any key (with its default), `@field`, and `version`."""

    def __init__(self, resolution: _Resolution) -> None:
        self.resolution = resolution

    def __getitem__(self, key: str) -> Any:
        found = self.resolution.look_up(key)
        if found.missing:
            return f"<{', '.join(found.missing)}>"
        if found.value is None:
            return "null"
        if isinstance(found.value, bool):
            return str(found.value).lower()
        if key.startswith("@") and key[1:] in self.resolution.fields:
            return self.resolution._text(key[1:])  # noqa: SLF001 — one object, in two parts
        return _printable(str(found.value))

    def __iter__(self) -> Iterator[str]:
        return iter(self.resolution.settings.values)

    def __len__(self) -> int:
        return len(self.resolution.settings.values)

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str)


def _refers(value: Any) -> bool:
    """Return whether a value of the facts stands for one of the configuration."""
    return isinstance(value, str) and value.startswith(("$", "?"))


def _is_at(key: str, section: str) -> bool:
    return key == section or key.startswith(section + ".")


def _printable(text: str, limit: int = 160) -> str:
    """What a configuration holds, safe for a terminal and of bounded length."""
    clean = "".join(c if c.isprintable() else "?" for c in text)
    return clean if len(clean) <= limit else clean[: limit - 1] + "…"
