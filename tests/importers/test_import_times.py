from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from email.utils import format_datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import aios_db
from aios_db.cli import main
from aios_db.importers import import_files
from aios_db.times import day_comes_first, parse_time

UTC = timezone.utc
DAY = datetime(2023, 5, 20, tzinfo=UTC)
NIGHT = datetime(2023, 5, 20, 22, 15, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (2023, datetime(2023, 1, 1, tzinfo=UTC)),
        ("2023", datetime(2023, 1, 1, tzinfo=UTC)),
        ("2023-05", datetime(2023, 5, 1, tzinfo=UTC)),
        ("May 2023", datetime(2023, 5, 1, tzinfo=UTC)),
        (45066, DAY),
        ("45066", DAY),
        (45066.5, DAY + timedelta(hours=12)),
        (Decimal("45066.25"), DAY + timedelta(hours=6)),
        (20230520, DAY),
        ("20230520", DAY),
        ("20230520T221500Z", NIGHT),
        ("20230520T221500+0200", NIGHT - timedelta(hours=2)),
        ("20230520221500", NIGHT),
        ("1684620900", NIGHT),
        ("1684620900.5", NIGHT + timedelta(seconds=0.5)),
        (1684620900_000, NIGHT),
        (1684620900_000_000, NIGHT),
        (1684620900_000_000_000, NIGHT),
        (1684620900_123_456_789, NIGHT + timedelta(microseconds=123456)),
        ("2023/05/20 (Sat) 22:15", NIGHT),
        ("2023-05-20 22:15:00 UTC", NIGHT),
        ("2023-05-20 22:15:00Z", NIGHT),
        ("2023-05-20T22:15:00.000000000+00:00", NIGHT),
        ("2023-05-20T22:15:00+02", NIGHT - timedelta(hours=2)),
        ("2023-05-20 22:15 UTC+2", NIGHT - timedelta(hours=2)),
        ("2023-05-20 22:15 GMT-0330", NIGHT + timedelta(hours=3.5)),
        ("2023-05-20 22:15:00 +0200 CEST", NIGHT - timedelta(hours=2)),
        ("2023-05-20T22:15:00+02:00[Europe/Berlin]", NIGHT - timedelta(hours=2)),
        ("2023-05-20T22:15:00Z[UTC]", NIGHT),
        ("2023-05-20 22:15 Europe/Berlin", NIGHT - timedelta(hours=2)),
        ("2023-05-20 22:15:00 EST", NIGHT + timedelta(hours=5)),
        ("Sat, 20 May 2023 22:15:00 +0000", NIGHT),
        ("Sat, 20 May 2023 22:15:00 GMT", NIGHT),
        ("20 May 23 22:15:00 -0700 (PDT)", NIGHT + timedelta(hours=7)),
        ("Sat May 20 22:15:00 2023", NIGHT),
        ("Sat May 20 2023 22:15:00 GMT+0200 (Central European Summer Time)", NIGHT - timedelta(hours=2)),
        ("20 May 2023", DAY),
        ("20-May-2023", DAY),
        ("20th of May 2023", DAY),
        ("May 20th, 2023", DAY),
        ("May 20, 2023 at 10:15 PM", NIGHT),
        ("Saturday, May 20, 2023 10:15:00 PM", NIGHT),
        ("10:15 pm on 20 May, 2023", NIGHT),
        ("22:15:00 20/05/2023", NIGHT),
        ("20.05.2023", DAY),
        ("20.05.23, 22:15", NIGHT),
        ("[20.05.23, 22:15:00]", NIGHT),
        ("05/20/23, 10:15\u202fPM", NIGHT),
        ("5/20/2023", DAY),
        ("20/5/2023", DAY),
        ("\u200e20/05/23, 10:15 p.m.", NIGHT),
        ("2023年5月20日", DAY),
        ("2023/5/20 下午10:15", NIGHT),
        ("2023. 5. 20.", DAY),
    ],
)
def test_times_in_every_spelling(value, expected):
    assert parse_time(value) == expected


@pytest.mark.parametrize(
    "value",
    [
        *("10", 10, 0, "12:30", "soon", "yesterday", "Sat", "2023-13-45", "32/01/2023", "2023-05-20 25:00"),
        *("1_000", "inf", "9" * 5000, "0:72 am on 1 May 2023", "May", "20 May", "3 est", "-0500", b"2023"),
        "x" * 10_000,
    ],
)
def test_what_is_no_time_is_refused(value):
    with pytest.raises(ValueError, match="is not a time") as caught:
        parse_time(value)
    assert len(str(caught.value)) < 120


def test_order_of_day_and_month_follows_what_is_known():
    assert parse_time("03/04/2023") == datetime(2023, 3, 4, tzinfo=UTC)
    assert parse_time("03/04/2023", day_first=True) == datetime(2023, 4, 3, tzinfo=UTC)
    assert parse_time("03.04.2023") == datetime(2023, 4, 3, tzinfo=UTC)
    assert parse_time("03.04.2023", day_first=False) == datetime(2023, 3, 4, tzinfo=UTC)
    assert day_comes_first(b"3/4/23 and 13/4/23") is True
    assert day_comes_first(b"3/4/23 and 4/13/2023") is False
    assert day_comes_first(b"3/4/23") is None


moments = st.datetimes(datetime(1975, 1, 1), datetime(2099, 1, 1)).map(lambda each: each.replace(tzinfo=UTC))
zones = st.integers(-14 * 4, 14 * 4).map(lambda quarters: timezone(timedelta(minutes=15 * quarters)))


@given(moments, zones)
def test_what_programs_write_is_read_back(moment, zone):
    local = moment.astimezone(zone)
    whole = moment.replace(microsecond=0)
    assert parse_time(local.isoformat()) == moment
    assert parse_time(local.isoformat(" ")) == moment
    assert parse_time(format_datetime(local)) == whole
    assert parse_time(f"{moment:%Y-%m-%dT%H:%M:%S.%fZ}") == moment
    assert parse_time(f"{moment:%Y%m%dT%H%M%SZ}") == whole
    assert parse_time(f"{moment:%m/%d/%Y, %I:%M:%S %p}", day_first=False) == whole
    assert parse_time(f"{moment:%d.%m.%Y %H:%M:%S}", day_first=True) == whole
    assert parse_time(f"{moment:%d %B %Y %H:%M:%S UTC}") == whole
    microseconds = (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    assert parse_time(microseconds // 10**6) == whole
    assert parse_time(microseconds) == moment
    assert parse_time(microseconds * 1000) == moment


@given(st.text() | st.floats() | st.integers())
def test_anything_is_a_time_or_refused(value):
    try:
        assert parse_time(value).utcoffset() == timedelta(0)
    except ValueError as error:
        assert "is not a time" in str(error)


@pytest.mark.parametrize(
    "name",
    [
        "date",
        "time",
        "datetime",
        "ts",
        "timestamp",
        "createdAt",
        "created_at",
        "Created At",
        "sent_at",
        "DATE",
    ],
)
@pytest.mark.parametrize("suffix", [".json", ".jsonl", ".csv", "chat"])
def test_every_reader_knows_every_name_of_a_time(write, name, suffix):
    when = "2023/05/20 (Sat) 22:15"
    content = {
        ".json": [{"text": "x", name: when}],
        ".jsonl": json.dumps({"text": "x", name: when}),
        ".csv": f"text,{name}\nx,{when}\n",
        "chat": {"messages": [{"role": "user", "content": "x", name: when}]},
    }[suffix]
    rows, rejected = write("a" + (".json" if suffix == "chat" else suffix), content)
    assert not rejected
    assert rows[0].fields["occurred_at"] == NIGHT
    assert "metadata" not in rows[0].fields


def test_a_day_and_a_clock_in_two_columns_are_one_time(write):
    rows, _ = write("a.csv", "Date,Time,Text\n20/05/2023,22:15,x\n03/04/2023,7:05 am,y\n")
    assert [row.fields["occurred_at"] for row in rows] == [NIGHT, datetime(2023, 4, 3, 7, 5, tzinfo=UTC)]
    assert "metadata" not in rows[0].fields


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("2016-12-31T23:59:60Z", datetime(2017, 1, 1, tzinfo=UTC)),
        ("2017-01-01T05:29:60+05:30", datetime(2017, 1, 1, tzinfo=UTC)),
        ("2023-05-19T24:00:00Z", DAY),
        ("2023-05-19 24:00", DAY),
        ("2024-03-31T02:30:00 Europe/Berlin", datetime(2024, 3, 31, 1, 30, tzinfo=UTC)),
    ],
)
def test_leap_seconds_and_the_end_of_a_day(value, expected):
    assert parse_time(value) == expected


@pytest.mark.parametrize(
    "clock", ["24:00:01", "24:01", "10:60", "10:59:61", "10:58:60", "99:00", "10:00 Europe/Atlantis"]
)
def test_a_clock_that_there_is_not_is_no_time(clock):
    with pytest.raises(ValueError, match="is not a time"):
        parse_time(f"2023-05-20 {clock}")


ZONED = {  # what names no zone, in every kind of reader; Lisbon is an hour ahead of UTC in summer
    "chat.json": '[{"role": "user", "content": "a", "date": "2024-07-01 10:00"}]',
    "rows.jsonl": '{"text": "b", "time": "2024-07-01T10:00"}\n{"text": "b2", "date": 45474.416666666664}\n',
    "table.csv": "text,date,time\nc,2024-07-01,10:00\n",
    "log.txt": "[01/07/2024, 10:00:00] Ann: d\n[01/07/2024, 10:00:00] Bo: e\n",
    "page.md": "---\ndate: 2024-07-01 10:00\n---\nf\n",
}
EXACT = {
    "mail.eml": "From: a@b\nDate: Mon, 01 Jul 2024 09:00:00 +0000\n\ng\n",
    "epoch.jsonl": '{"text": "h", "ts": 1719824400}\n{"text": "i", "ts": "2024-07-01 11:00 +0200"}\n',
}


def test_a_time_without_a_zone_is_in_the_one_that_the_user_names(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for name, content in (ZONED | EXACT).items():
        (folder / name).write_text(content)
    ask = "SELECT count(*), list(DISTINCT occurred_at) FROM memories"
    with aios_db.connect(tmp_path / "a.aios") as con:
        import_files(con, [folder], time_zone="Europe/Lisbon")
        assert con.execute(ask).fetchall() == [(10, [datetime(2024, 7, 1, 9, tzinfo=UTC)])]
        again = import_files(con, [folder], time_zone="Europe/Lisbon")
        assert again.read == again.skipped
        import_files(con, [folder])  # another zone reads the files again
        assert con.execute(ask).fetchall()[0][0] == 10
        late = con.execute("SELECT count(*) FROM memories WHERE hour(occurred_at) = 10").fetchone()
        assert late == (7,)
        with pytest.raises(aios_db.ProgrammingError, match="'Europe/Lisboa'; Europe/Lisbon"):
            import_files(con, [folder], time_zone="Europe/Lisboa")


def test_the_command_line_takes_a_time_zone(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text,date\na,2024-01-01 00:30\n")
    path = tmp_path / "a.csv"
    assert main(["import", str(path), "--time-zone", "Asia/Tokyo", "--db", str(tmp_path / "a.aios")]) == 0
    with aios_db.connect(tmp_path / "a.aios") as con:
        (time,) = con.execute("SELECT occurred_at FROM memories").fetchone()
    assert time == datetime(2023, 12, 31, 15, 30, tzinfo=UTC)
