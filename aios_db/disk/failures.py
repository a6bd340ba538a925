"""What Lance and the operating system report, as the exceptions of this package."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pyarrow as pa

from aios_db.schema.advice import advice
from aios_db.schema.errors import DataError, Error, OperationalError

_REFUSED = "open it with read_only=True or fix the permissions"

DAMAGED = (
    "if one of its files is damaged, bring a backup back with aios restore, or write what can "
    "still be read of the database with aios salvage"
)


@contextmanager
def operational(
    doing: str, otherwise: str = "what was committed before is still there", refused: str = _REFUSED
) -> Iterator[None]:
    """Turn a failure of the disk or of Lance into an `OperationalError` that says what was being done.

    Parameters
    ----------
    doing
        What and where, as in ``"writing memories to /data/agent.aios"``.
    otherwise
        What to do where the failure itself does not say.
    refused
        What to do where writing is not allowed.

    Raises
    ------
    OperationalError
        In place of `OSError`, `RuntimeError` and Arrow's errors; this package's own errors pass.
    DataError
        A text has a lone surrogate, which no table can be asked for.
    """
    try:
        yield
    except Error:
        raise
    except BaseException as error:
        if isinstance(error, UnicodeEncodeError):
            raise DataError(f"{doing} failed: a text is no Unicode: {error.reason}; {otherwise}") from error
        if "External error: KeyboardInterrupt" in str(error):  # it came while Lance read rows of Python's
            raise KeyboardInterrupt from error
        # A panic of Lance, of a file that is not as it should be, is no Exception.
        panicked = type(error).__name__ == "PanicException"
        if not panicked and not isinstance(error, OSError | RuntimeError | ValueError | pa.ArrowException):
            raise
        # Lance wraps the same failed write as OSError, RuntimeError or ValueError, depending on the call.
        cause = str(error).split(", /home/runner/")[0]
        raise OperationalError(f"{doing} failed: {cause}; {advice(error, otherwise, refused)}") from error
