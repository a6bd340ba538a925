"""The consolidator as a process: set off by the clock, under pressure, one at a time."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from lifecycle_helpers import turns

import aios_db
from aios_db.config import load_config
from aios_db.config.variables import as_environment
from aios_db.lifecycle.consolidator import Consolidator, lease
from aios_db.lifecycle.schedule import Schedule, next_time
from aios_db.schema.config import ConsolidationConfig

Open = Callable[..., aios_db.Connection]
SOON = {"schedule": "* * * * * *", "min_age_s": 0, "check_interval_s": 0.1}
_LONGEST_S = 90.0


def log_of(con: aios_db.Connection) -> list[tuple[str, str]]:
    """Return the consolidations that have ended."""
    return con.execute("SELECT trigger, state FROM consolidation_log WHERE state <> 'begun'").fetchall()


def wait_for(condition: Callable[[], Any]) -> Any:
    end = time.monotonic() + _LONGEST_S
    while not (found := condition()):
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.1)
    return found


@contextmanager
def running(store: Any) -> Iterator[None]:
    stop = threading.Event()
    thread = threading.Thread(target=Consolidator(store).run, args=[stop])
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def test_the_clock_sets_it_off_in_a_process_of_its_own(open_database: Open) -> None:
    with open_database({"consolidation": SOON}) as con:
        con.remember(turns())
        with con.consolidator(background=True) as process:
            wait_for(lambda: log_of(con))
            assert process.running
        assert not process.running
        assert log_of(con) == [("schedule", "committed")]
        assert con.execute("SELECT count(*) FROM memories WHERE tier = 'archived'").fetchall() == [(15,)]


def test_a_run_that_was_missed_is_made_up_from_the_shell(open_database: Open, tmp_path: Path) -> None:
    with open_database({"consolidation": {**SOON, "schedule": "0 3 * * *"}}) as con:
        con.remember(turns())
        environment = {**os.environ, **as_environment(con.store.config)}
    (tmp_path / "agent.aios" / "consolidator.json").write_text(
        json.dumps({"scheduled_at": time.time() - 90_000})
    )
    command = [
        sys.executable,
        "-m",
        "aios_db.cli",
        "--db",
        str(tmp_path / "agent.aios"),
        "consolidator",
        "run",
    ]
    process = subprocess.Popen(command, env=environment)
    try:
        with open_database(read_only=True) as con:
            wait_for(lambda: log_of(con))
            assert log_of(con) == [("schedule", "committed")]
        process.send_signal(signal.SIGTERM)
        assert process.wait(_LONGEST_S) == 0
    finally:
        process.kill()
    state = json.loads((tmp_path / "agent.aios" / "consolidator.json").read_text())
    assert state["pid"] == process.pid and state["scheduled_at"] > time.time() - 3_600


@pytest.mark.parametrize("never", ["never", "Never", ""])
def test_a_schedule_can_be_never(open_database: Open, never: str) -> None:
    with open_database({"consolidation": {"schedule": "never"}}) as con:
        schedule = Schedule(con.store, replace(con.store.config.consolidation, schedule=never))
        assert schedule.due(time.time() + 10 * 86_400.0) is None


def test_rows_in_the_short_tier_are_pressure(open_database: Open) -> None:
    config = {**SOON, "schedule": "never", "pressure_rows": 15}
    with open_database({"consolidation": config}) as con:
        con.remember(turns()[:14])
        with running(con.store):
            time.sleep(0.5)
            assert log_of(con) == []
            con.remember(turns()[14:])
            wait_for(lambda: log_of(con))
        assert log_of(con) == [("pressure", "committed")]


def test_bytes_on_the_disk_are_pressure_and_set_it_off_once(open_database: Open) -> None:
    config = {**SOON, "schedule": "never", "pressure_bytes": 1}
    with open_database({"consolidation": config}) as con:
        con.remember(turns()[:10])
        schedule = Schedule(con.store, con.store.config.consolidation)
        assert schedule.due(time.time()) == "pressure"
        with running(con.store):
            wait_for(lambda: log_of(con))
        assert log_of(con) == [("pressure", "committed")]
        con.store.flush()
        schedule.done("pressure", time.time())
        assert schedule.due(time.time()) is None
        con.remember(turns()[10:])
        assert schedule.due(time.time()) == "pressure"


def test_one_at_a_time_and_none_after_a_kill(open_database: Open, tmp_path: Path) -> None:
    path = tmp_path / "agent.aios"
    with open_database({"consolidation": SOON}) as con:
        con.remember(turns())
        with lease(path), pytest.raises(aios_db.OperationalError, match="another consolidator is running"):
            Consolidator(con.store).once()
        held = (
            "import sys, time\nfrom pathlib import Path\nfrom aios_db.lifecycle.consolidator import lease\n"
        )
        code = held + "with lease(Path(sys.argv[1])):\n    print('held', flush=True)\n    time.sleep(600)\n"
        holder = subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE)
        assert holder.stdout is not None and holder.stdout.readline() == b"held\n"
        with pytest.raises(aios_db.OperationalError, match="another consolidator"), lease(path):
            pass
        holder.kill()
        holder.wait()
        [report] = Consolidator(con.store).once()
        assert report.state == "committed"


def test_what_fails_is_logged_and_tried_again(
    open_database: Open, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with open_database({"consolidation": SOON}) as con:
        con.remember(turns())
        inside, calls = con.store.consolidate, []

        def fails_once(*given: Any, **how: Any) -> Any:
            calls.append(1)
            if len(calls) == 1:
                raise aios_db.OperationalError("the disk is full")
            return inside(*given, **how)

        monkeypatch.setattr(con.store, "consolidate", fails_once)
        with running(con.store):
            wait_for(lambda: log_of(con))
        assert "consolidation failed: the disk is full" in caplog.text


def test_a_connection_of_a_user_starts_none(open_database: Open) -> None:
    with open_database(user_id="ada") as con:
        con.remember("something")
        with pytest.raises(aios_db.NotSupportedError, match="a consolidator is for the whole database"):
            con.consolidator()


def test_a_clock_that_was_set_back_puts_no_run_off(open_database: Open) -> None:
    with open_database({"consolidation": {"schedule": "0 3 * * *"}}) as con:
        schedule, day, now = Schedule(con.store, con.store.config.consolidation), 86_400.0, time.time()
        schedule.done("schedule", now + 365 * day)
        again = Schedule(con.store, con.store.config.consolidation)
        for each in (schedule, again):
            assert each.due(now) is None
            assert each.due(now + 2 * day) == "schedule"


def test_cron_expressions_are_read_in_local_time() -> None:
    start = time.mktime((2024, 5, 1, 12, 0, 0, 0, 0, -1))
    assert next_time("0 3 * * *", start) == time.mktime((2024, 5, 2, 3, 0, 0, 0, 0, -1))
    assert next_time("*/5 * * * *", start) == start + 300
    with pytest.raises(aios_db.ConfigError, match="'every night', no cron expression"):
        next_time("every night", start)


def test_the_environment_says_what_the_configuration_does(open_database: Open, tmp_path: Path) -> None:
    values = {"consolidation": SOON, "trust": {"sources": {"web:*": 0.2, "a, b=c": 1.0}}, "strict": True}
    with open_database(values) as con:
        said = as_environment(con.store.config)
        assert load_config(env=said) == con.store.config
    assert ConsolidationConfig().schedule == "0 3 * * *"


def test_from_the_shell(open_database: Open, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from aios_db.cli import main

    with open_database() as con:
        con.remember(turns())
        models = con.store.config.engine.models_dir
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIOS_ENGINE__MODELS_DIR", models)
        patch.setattr("aios_db.lifecycle.consolidator.be_polite", lambda: None)  # in this process
        database = ["--db", str(tmp_path / "agent.aios")]

        def aios(*command: str) -> Any:
            assert main([*database, "consolidator", *command, "--json"]) == 0
            return json.loads(capsys.readouterr().out)

        [planned] = aios("report")
        assert (planned["state"], planned["clusters"], planned["consolidation_id"]) == ("planned", 3, None)
        [done] = aios("once")
        assert (done["state"], done["memories"]) == ("committed", 15)
        assert aios("undo", done["consolidation_id"])["updated"] == 15
        assert main([*database, "consolidator", "once"]) == 0
        assert "committed" in capsys.readouterr().out


def test_it_compresses_and_evicts_as_configured(open_database: Open) -> None:
    values = {"consolidation": {"evict": True}, "eviction": {"grace_s": 0.0}}
    with open_database(values) as con:
        con.remember(turns())
        con.remember("Nobody wants this.", expires_at="2001-01-01")
        Consolidator(con.store).once()
        assert con.execute("SELECT count(*) FROM memories WHERE text LIKE 'Nobody%'").fetchall() == [(0,)]
        assert con.execute("SELECT count(*) FROM memories WHERE text_code IS NOT NULL").fetchall() == [(15,)]


def test_it_forgets_nothing_by_itself(open_database: Open) -> None:
    with open_database({"eviction": {"grace_s": 0.0}, "consolidation": {"compress": False}}) as con:
        con.remember(turns())
        con.remember("Nobody wants this.", expires_at="2001-01-01")
        Consolidator(con.store).once()
        assert con.execute("SELECT count(*) FROM memories WHERE text LIKE 'Nobody%'").fetchall() == [(1,)]
        assert con.execute("SELECT count(*) FROM memories WHERE text_code IS NOT NULL").fetchall() == [(0,)]


@pytest.mark.skipif(not hasattr(time, "tzset"), reason="the zone is set by the environment")
@pytest.mark.parametrize("day", ["2025-03-29", "2025-10-25"])
def test_every_night_at_three_is_three_when_the_clocks_change(
    monkeypatch: pytest.MonkeyPatch, day: str
) -> None:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    try:
        after = datetime.fromisoformat(f"{day} 03:00")
        times = [after.timestamp()]
        for _ in range(3):
            times.append(next_time("0 3 * * *", times[-1]))
        local = [datetime.fromtimestamp(each) for each in times]
    finally:
        monkeypatch.undo()
        time.tzset()
    assert local == [after + timedelta(days=nights) for nights in range(4)]


@pytest.mark.skipif(not hasattr(time, "tzset"), reason="the zone is set by the environment")
@pytest.mark.parametrize(
    ("zone", "start", "clocks"),
    [  # the last quarter of an hour, UTC, before the clocks go back, and by how much they do
        ("America/New_York", "2025-11-02T05:45+00:00", ["01:00", "01:15", "01:30", "01:45", "02:00"]),
        ("Europe/Berlin", "2025-10-26T00:45+00:00", ["02:00", "02:15", "02:30", "02:45", "03:00"]),
        ("Australia/Lord_Howe", "2025-04-05T14:45+00:00", ["01:30", "01:45", "02:00", "02:15", "02:30"]),
    ],
)
def test_what_is_due_every_hour_is_due_in_an_hour_that_comes_twice(
    monkeypatch: pytest.MonkeyPatch, zone: str, start: str, clocks: list[str]
) -> None:
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        times = [datetime.fromisoformat(start).timestamp()]
        for _ in clocks:
            times.append(next_time("*/15 * * * *", times[-1]))
        hourly = next_time("@hourly", times[0] - 1)
        nightly = next_time(f"{clocks[1][3:]} {clocks[1][:2]} * * *", times[0])
    finally:
        local = [f"{datetime.fromtimestamp(each):%H:%M}" for each in times[1:]]
        monkeypatch.undo()
        time.tzset()
    assert local == clocks
    assert [later - one for one, later in pairwise(times)] == [900.0] * len(clocks)
    assert times[0] < hourly <= times[0] + 3600
    assert nightly - times[0] > 22 * 3600  # it ran when the clocks showed that time first


@pytest.mark.skipif(not hasattr(time, "tzset"), reason="the zone is set by the environment")
@pytest.mark.parametrize("zone", ["America/New_York", "Europe/Berlin"])
def test_an_hourly_schedule_runs_once_an_hour_whatever_the_clocks_do(
    monkeypatch: pytest.MonkeyPatch, zone: str
) -> None:
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        for month, day in ((1, 1), (3, 8), (3, 29), (7, 1), (10, 25), (11, 1)):  # four are before a change
            times = [datetime(2025, month, day).timestamp()]
            while len(times) < 3 * 24:
                times.append(next_time("30 * * * *", times[-1]))
            assert {later - one for one, later in pairwise(times[1:])} == {3600.0}
    finally:
        monkeypatch.undo()
        time.tzset()
