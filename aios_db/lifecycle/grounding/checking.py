"""Whether a text says what its sources say.

Each clause of the text has to be a shorter form of one clause of the sources: its words, names and values
stand there, names in their order; who owns what owns it there; and both deny, suppose, limit and doubt the
same. What no clause of the sources says so is in doubt, and what is in doubt is refused: other words for the
same as an error. It is a check of what can be told without understanding the text.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date

from aios_db.lifecycle.grounding.clauses import Clause, Manner, clauses, language_of, names_of, subject_of
from aios_db.lifecycle.grounding.vocabulary import DATED
from aios_db.lifecycle.salience import invented_names
from aios_db.schema.amounts import amount


@dataclass(frozen=True)
class Evidence:
    """A text that another rests on, who said it, and when."""

    text: str
    speaker: str | None = None
    said: date | None = None
    title: str | None = None


def ungrounded(text: str, sources: Sequence[Evidence]) -> list[str]:
    """Return what a text says that its sources do not, as reasons without a word of theirs; none is well."""
    said = [_unspoken(each) for each in sources]
    every = "\n".join([text, *said])
    known = names_of(every) | {each.speaker.casefold() for each in sources if each.speaker}
    known = {each for each in known if not (each.endswith("s") and each[:-1] in known)}  # genitives
    manner = Manner(language_of(every), frozenset(known))
    there = list(_read(sources, manner))
    found: list[str] = []
    if made_up := invented_names(text, [_all_of(each) for each in sources]) - DATED:
        found.append(f"{amount(len(made_up), 'name')} that no source has")
    context = frozenset(word for each in there for word in each.words)
    for clause in clauses(text, manner):
        compared = [_faults(clause, each, context) for each in there] or [["nothing that a source says"]]
        least: list[str] = min(compared, key=len)
        found += least
    return list(dict.fromkeys(found))


def _read(sources: Sequence[Evidence], manner: Manner) -> Iterator[Clause]:
    """Yield the clauses of sources; "he" is whom the same speaker spoke of in the one before."""
    subjects: dict[str | None, str] = {}
    for each in sources:
        text = _unspoken(each)
        yield from clauses(text, manner, each.speaker, each.said, subjects.get(each.speaker, ""))
        subjects[each.speaker] = subject_of(text, manner)


def _faults(clause: Clause, source: Clause, context: frozenset[str]) -> list[str]:
    """Return why a clause is no shorter form of one of the sources."""
    return [
        *_of_words(clause, source, context),
        *_of_names(clause, source),
        *_of_direction(clause, source),
        *_of_operators(clause, source),
    ]


def _of_words(clause: Clause, source: Clause, context: frozenset[str]) -> Iterator[str]:
    """Yield words and values that the source does not have; "it" in it may be a word that others have."""
    missing = {*clause.words} - {*source.words}
    if len(missing) > source.pronouns or not missing <= context:
        yield from ("a word that the source does not have" for _ in missing)
    for value in clause.values:
        if not any(value.stands_in(each) for each in source.values):
            yield f"a {value.kind} that the source does not have"
    if clause.manner.language == "chinese" and not _in_order(clause.words, source.words):
        yield "words in another order"
    if clause.manner.words is None and clause.words != source.words:
        yield "other words than the source's, in a language that is not known"


def _of_names(clause: Clause, source: Clause) -> Iterator[str]:
    """Yield what is said of another, is another's, or is done by another."""
    spanish = source.manner.language == "spanish"
    meant = source.names("", "of") | (_implied(source) if spanish else set())
    named = clause.named if not _reports(clause, source) else clause.named[1:]
    if not {name for name, owns in named if not owns} <= meant:
        yield "a name in another's place"
    owners = source.names("owner", "of") | _implied(source)
    owning = owners | (source.names("") if source.pronouns else set())
    if not clause.names("owner") <= owning or not clause.names("of") <= meant | owners:
        yield "something of another's"
    if clause.says_by == source.says_by and not _in_order(named, source.named):
        yield "names in another order"
    there = {*clause.words, *(name for name, _ in clause.named)}
    if source.subject and clause.subject and not clause.is_passive and source.subject not in there:
        yield "another subject"


def _of_direction(clause: Clause, source: Clause) -> Iterator[str]:
    for way, thing in clause.directions - source.directions:
        if way == "from" and thing in source.owning:
            continue
        if any(thing == other for _, other in source.directions):
            yield f"another way than {way} it"
    if source.steps and not clause.steps <= source.steps:
        yield "another step to or from a number"


def _of_operators(clause: Clause, source: Clause) -> Iterator[str]:
    if clause.tense and source.tense and clause.tense != source.tense:
        yield "another tense"
    differing = clause.operators ^ source.operators
    if source.forbids and "not" in clause.operators:
        differing -= {"required"}
    if "not" in differing:
        yield (
            "a denial that no source has"
            if "not" in clause.operators
            else "no denial, where the source denies"
        )
    said = {"said"} if _reports(clause, source) else set()
    yield from (f"another {each}" for each in sorted(differing - {"not"} - said))


def _reports(clause: Clause, source: Clause) -> bool:
    """Tell whether a clause only says that the speaker of the source says it."""
    says = "said" in clause.operators - source.operators
    return says and clause.named[:1] == ((source.by, ""),)


def _implied(source: Clause) -> set[str]:
    """Return who may be meant, or own what is meant, where nobody is named: who speaks."""
    return {source.by} if source.by and not source.named else set()


def _in_order(some: Sequence[object], source: Sequence[object]) -> bool:
    """Tell whether what both have stands in the same order."""
    left = iter(source)
    return all(any(each == other for other in left) for each in some if each in source)


def _unspoken(source: Evidence) -> str:
    text = source.text.removeprefix(f"{source.speaker}:").strip() if source.speaker else source.text
    return f"{source.title}. {text}" if source.title else text


def _all_of(source: Evidence) -> str:
    when = f"{source.said:%Y-%m-%d %B %d %A}" if source.said else ""
    return f"{source.speaker or ''} {when} {source.title or ''} {source.text}"
