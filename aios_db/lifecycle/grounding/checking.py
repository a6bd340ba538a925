"""Whether a text says what its sources say.

Each clause of the text is laid beside the clauses of the sources that say most like it, by the words that
both have. What it names and counts has to stand there, and rather there than beside something else; names
stand in their order and own what they own there; where the sources deny, it denies. Words are compared by
their beginnings, so that other words for the same are no fault. It is a check of what can be told without
understanding the text.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date

from aios_db.lifecycle.grounding.clauses import Clause, Value, clauses, days_around, names_of
from aios_db.lifecycle.grounding.vocabulary import BY, DATED
from aios_db.lifecycle.salience import invented_names

_VALUE, _NAME = 2, 2  # what a common value or name is worth, where a common word is 1
_LEAST = 2  # of likeness, for a clause to be laid beside another
_PAIR = 2


@dataclass(frozen=True)
class Evidence:
    """A text that another rests on, who said it, and when."""

    text: str
    speaker: str | None = None
    said: date | None = None
    title: str | None = None


def ungrounded(text: str, sources: Sequence[Evidence]) -> list[str]:
    """Return what a text says that its sources do not, as reasons without a word of theirs; none is well."""
    known = names_of("\n".join(f"{_unspoken(each)}\n{each.title or ''}" for each in sources))
    spoken = {word for each in sources for word in names_of(f". {text}") if word in each.text.casefold()}
    known |= spoken | {each.speaker.casefold() for each in sources if each.speaker}
    there = [
        clause for each in sources for clause in clauses(_unspoken(each), known, each.speaker, each.said)
    ]
    days = {each.said for each in sources if each.said}
    found: list[str] = []
    if made_up := invented_names(text, [_all_of(each) for each in sources]) - DATED:
        found.append(f"{len(made_up)} names that no source has")
    for clause in clauses(text, known):
        found += _faults(clause, there, days)
    return list(dict.fromkeys(found))


def _faults(clause: Clause, there: Sequence[Clause], days: set[date]) -> Iterable[str]:
    for value in clause.values:
        holding = [each for each in there if any(value.stands_in(other) for other in each.values)]
        if not holding:
            if not (value.kind in ("date", "weekday") and _is_of(value, days)):
                yield f"a {value.kind} that no source has"
        elif _belongs_elsewhere(clause, value, holding, there):
            yield f"a {value.kind} of something else"
    for name in dict.fromkeys(clause.names):
        if _is_anothers(clause, name, there):
            yield "a name in another's place"
    for owner, thing in clause.owned:
        owners = {name for each in there for name, other in each.owned if other == thing}
        if owner and owners and not owners & {owner, ""}:
            yield "something of another's"
    if _is_turned(clause, there):
        yield "two names in each other's place"
    beside = _beside(clause, there)
    if (
        beside
        and not clause.hedges
        and not any(each.hedges or each.denies == clause.denies for each in beside)
    ):
        yield "a denial that no source has" if clause.denies else "no denial, where the source denies"


def _belongs_elsewhere(
    clause: Clause, value: Value, holding: Sequence[Clause], there: Sequence[Clause]
) -> bool:
    """Tell whether the clause is about nothing of what has the value, or rather about another of its kind."""
    about = replace(clause, values=clause.values - {value})
    own = max(_likeness(about, each) for each in holding)
    if not own and len(clause.words) + len(clause.names) >= _LEAST:
        return True
    rivals = [
        each
        for each in there
        if each not in holding
        and any(
            other.kind == value.kind and not any(mine.stands_in(other) for mine in clause.values)
            for other in each.values
        )
    ]
    return max((_likeness(about, each) for each in rivals), default=0) > own


def _is_anothers(clause: Clause, name: str, there: Sequence[Clause]) -> bool:
    """Tell whether what the clause says of a name is said of another name, which it does not have."""

    def alike(each: Clause) -> int:
        return len(clause.words & each.words) + _VALUE * _common(clause, each)

    own = max((alike(each) for each in there if name in each.meant or name in each.by), default=0)
    rivals = [each for each in there if name not in each.meant and each.meant - set(clause.names)]
    return max((alike(each) for each in rivals), default=0) > own


def _is_turned(clause: Clause, there: Sequence[Clause]) -> bool:
    """Tell whether two names stand the other way round than in every clause that says the same of both."""
    pair = tuple(dict.fromkeys(clause.names))[:2]
    if len(pair) < _PAIR:
        return False
    same = [
        each
        for each in there
        if set(pair) <= set(each.names) and (clause.words & each.words or _common(clause, each))
        if not clause.turns - each.turns and not (each.turns - clause.turns) & BY
    ]
    return bool(same) and all(
        each.names.index(pair[0]) > each.names.index(pair[1]) and clause.receives == each.receives
        for each in same
    )


def _beside(clause: Clause, there: Sequence[Clause]) -> list[Clause]:
    """Return the clauses that say most like one; none where nothing does."""
    scores = [_likeness(clause, each) if clause.words & each.words else 0 for each in there]
    most = max(scores, default=0)
    return (
        [each for each, score in zip(there, scores, strict=True) if score == most] if most >= _LEAST else []
    )


def _likeness(one: Clause, other: Clause) -> int:
    return len(one.words & other.words) + _NAME * len(one.meant & other.meant) + _VALUE * _common(one, other)


def _common(one: Clause, other: Clause) -> int:
    return sum(any(value.stands_in(each) for each in other.values) for value in one.values)


def _is_of(value: Value, days: set[date]) -> bool:
    """Tell whether a date or a day of the week is that on which a source was said, or one beside it."""
    for day in (each for said in days for each in days_around(said, -1, 1)):
        form = (day.weekday(),) if value.kind == "weekday" else (day.year, day.month, day.day)
        if value.stands_in(Value(value.kind, form)):
            return True
    return False


def _unspoken(source: Evidence) -> str:
    text = source.text.removeprefix(f"{source.speaker}:").strip() if source.speaker else source.text
    return f"{source.title}. {text}" if source.title else text


def _all_of(source: Evidence) -> str:
    when = f"{source.said:%Y-%m-%d %B %d %A}" if source.said else ""
    return f"{source.speaker or ''} {when} {source.title or ''} {source.text}"
