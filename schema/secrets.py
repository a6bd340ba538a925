"""What is not shown of an address, or of a value of the configuration: credentials."""

from __future__ import annotations

import re

MASK = "********"
_SECRET = re.compile(r"(^|_)(token|secret|password|key)$")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_CREDENTIALS = re.compile(r"(?<=://)[^/?#\s]*(?=@)|(?<=\?)[^#\s]+")


def without_credentials(address: str) -> str:
    """Return an address whose user, password and query are masked."""
    return _CREDENTIALS.sub(MASK, address)


def shown(key: str, value: object) -> object:
    """Return the value of a key of the configuration as it may be seen.

    A key itself may have been given where the name of a variable that holds it is asked for.
    """
    if not isinstance(value, str) or not value:
        return value
    if _SECRET.search(key) or (key.endswith("_variable") and not _VARIABLE.fullmatch(value)):
        return MASK
    return without_credentials(value)
