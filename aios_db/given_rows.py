"""What `remember` is given, in whatever form, as columns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pyarrow as pa

from aios_db.schema.errors import ProgrammingError

_NO_ROWS = (str, bytes, bytearray, memoryview, Mapping)


def rows_of(content: Any, fields: Mapping[str, Any]) -> pa.Table:
    """Return what `remember` is given as columns, as they were given; what they say is not looked at."""
    from aios_db.joint.media import with_media
    from aios_db.store.returned import frame_given_again, given_again, table_given_again
    from aios_db.store.tables import as_mapping, mappings, table_from

    content = {} if content is None else content
    if as_mapping(content) is not None:
        content, fields = ([content], fields) if content else ([fields], {})
    if hasattr(content, "iloc") and hasattr(content, "columns"):  # of pandas
        content = frame_given_again(content)
    elif isinstance(content, pa.Table | pa.RecordBatch) or hasattr(content, "__arrow_c_stream__"):
        content = table_given_again(table_from(content))
    elif isinstance(content, Iterable) and not isinstance(content, _NO_ROWS):
        content = [with_media(given_again(each)) for each in mappings(content)]
    rows, fields = table_from(content), with_media(fields)
    if fields and rows.num_rows:
        constant = table_from([fields] * rows.num_rows)
        for name in fields:
            if name in rows.column_names:
                raise ProgrammingError(f"remember: {name!r} is given both as an argument and as a column")
            rows = rows.append_column(name, constant.column(name))
    return rows
