"""The filters of `aios_db.schema.filters` written out in SQL, where a .sql file has a mark for them.

| mark | stands for |
| --- | --- |
| ``/* filters */`` | parameters with their default: ``session_id := NULL, agent_id := NULL, …`` |
| ``/* given filters */`` | a list of two: a struct of their values as JSON, and its SQL type |
"""

from __future__ import annotations

from aios_db.schema.filters import CONDITIONS, TIMES

# Microseconds; infinity has none, and is refused by its name.
_MOMENT = (
    "list_transform([{0}::TIMESTAMPTZ], lambda given: coalesce(epoch_us(given)::VARCHAR, given::VARCHAR))[1]"
)
_FIELDS = dict.fromkeys(TIMES, _MOMENT)


def written_out(text: str) -> str:
    """Return the text of a .sql file with its marks replaced."""
    parameters = ", ".join(f"{name} := NULL" for name in CONDITIONS)
    fields = ", ".join(
        f"'{name}': {_FIELDS.get(condition.comparison, '{0}').format(name)}"
        for name, condition in CONDITIONS.items()
    )
    given = f"list_transform([{{{fields}}}], lambda given: [given::JSON::VARCHAR, typeof(given)])[1]"
    for mark, replacement in (("filters", parameters), ("given filters", given)):
        text = text.replace(f"/* {mark} */", replacement)
    return text
