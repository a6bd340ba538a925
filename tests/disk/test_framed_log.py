"""A log of framed records: what is damaged costs the records that it is in, and no other."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from aios_db.disk.framed_log import FramedLog, damaged_bytes

_HEADER, _FRAME = 24, 8
RECORDS = st.lists(st.binary(min_size=1, max_size=40), min_size=1, max_size=6)


def _read(path: Path) -> tuple[FramedLog, list[bytes]]:
    found: list[bytes] = []
    log = FramedLog(path, found.clear, found.append)
    log.catch_up()
    return log, found


@settings(max_examples=30)
@given(RECORDS, st.data())
def test_a_changed_byte_costs_one_record(records: list[bytes], data: st.DataObject) -> None:
    with TemporaryDirectory() as place:
        path = Path(place) / "changes.log"
        log, _ = _read(path)
        with log.writing():
            log.rewrite(*records)
        assert damaged_bytes(path) == []
        content = bytearray(path.read_bytes())
        at = data.draw(st.integers(0, len(content) - 1))
        content[at] ^= data.draw(st.integers(1, 255))
        path.write_bytes(content)

        left, end = list(records), _HEADER
        for number, each in enumerate(records):
            if end <= at < end + _FRAME + len(each):
                del left[number]
            end += _FRAME + len(each)
        if not 8 <= at < _HEADER:  # any generation is one
            ((start, stop),) = damaged_bytes(path)
            assert start <= at < stop
        log, found = _read(path)
        assert found == left
        with log.writing():
            log.append(b"another")
        assert found == _read(path)[1] == [*left, b"another"]


@settings(max_examples=30)
@given(RECORDS, st.integers(1, 60))
def test_a_torn_end_is_cut_off(records: list[bytes], cut: int) -> None:
    with TemporaryDirectory() as place:
        path = Path(place) / "changes.log"
        log, _ = _read(path)
        with log.writing():
            log.rewrite(*records)
        content = path.read_bytes()
        assume(any(content[-cut:]))
        path.write_bytes(
            content[: max(_HEADER, len(content) - cut)] + bytes(12)
        )  # zeros, as ext4 leaves them
        log, found = _read(path)
        assert found == records[: len(found)] and len(found) < len(records)
        assert damaged_bytes(path)
        with log.writing():
            log.append(b"another")
        assert damaged_bytes(path) == []
        assert _read(path)[1] == found
