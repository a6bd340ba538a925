"""The thread that does, a moment after a write, what the write need not wait for."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest
from store_helpers import wait_for

from aios_db.memory_store import MemoryStore
from aios_db.store.maintenance import Maintenance

Open = Callable[..., MemoryStore]


class Counting:
    def __init__(self) -> None:
        self.calls = 0

    def hurry(self) -> None:
        pass

    def maintain(self) -> None:
        self.calls += 1
        if self.calls == 1:
            raise OSError("the disk is away for a moment")


@pytest.fixture
def counting() -> Iterator[tuple[Counting, Maintenance]]:
    subject = Counting()
    maintenance = Maintenance(subject, 0.02, 16)
    yield subject, maintenance
    maintenance.stop()


def test_maintenance_answers_many_notifications_at_once_and_outlives_a_failure(
    counting: tuple[Counting, Maintenance], caplog: pytest.LogCaptureFixture
) -> None:
    subject, maintenance = counting
    for _ in range(100):
        maintenance.notify()
    wait_for(lambda: subject.calls >= 1)
    time.sleep(0.1)
    assert subject.calls <= 2
    assert "the disk is away" in caplog.text
    calls = subject.calls
    maintenance.notify()
    wait_for(lambda: subject.calls > calls)


def test_maintenance_ends_with_its_subject() -> None:
    subjects = [Counting()]
    maintenance = Maintenance(subjects[0], 0.02, 16)
    maintenance.notify()
    wait_for(lambda: subjects[0].calls == 1)
    thread = maintenance._thread
    assert thread is not None
    subjects.clear()
    wait_for(lambda: not thread.is_alive())


def test_a_stop_as_the_thread_begins_its_round_is_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    subject = Counting()
    maintenance = Maintenance(subject, 0.0, 16)
    clear = maintenance._due.clear

    def stopped_and_cleared() -> None:
        maintenance._abandon()  # what `stop` does, just before what it did is cleared
        clear()

    monkeypatch.setattr(maintenance._due, "clear", stopped_and_cleared)
    maintenance.notify()
    thread = maintenance._thread
    assert thread is not None
    thread.join(timeout=100)
    assert not thread.is_alive()
    assert subject.calls == 0


def test_a_stopped_maintenance_starts_no_thread() -> None:
    subject = Counting()
    maintenance = Maintenance(subject, 0.02, 16)
    maintenance.stop()
    maintenance.notify()
    assert maintenance._thread is None
    assert subject.calls == 0
