"""What is text: letters of Unicode, and no half of one."""

from __future__ import annotations


def is_unicode(text: str) -> bool:
    """Tell whether a text has no lone surrogates, as bytes that were read by a wrong encoding leave them."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
