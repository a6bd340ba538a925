"""What a process did on a database, as SQL, as Prometheus's page and as OpenTelemetry's spans show it."""

from __future__ import annotations

import math
import threading
import time
import urllib.request
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client.parser import text_string_to_metric_families

import aios_db
from aios_db.observing.prometheus import served
from aios_db.observing.recorder import BUCKETS, Metrics, Operation, bucket_of, upper_s


@pytest.fixture
def con(tmp_path):
    with aios_db.connect(tmp_path / "a.aios") as con:
        yield con


def rows(con):
    columns = "operation, calls, failed, items, p50_ms, max_ms"
    return {row[0]: row[1:] for row in con.execute(f"SELECT {columns} FROM metrics").fetchall()}


@pytest.mark.sql
def test_calls_of_python_and_sql_are_counted(con):
    assert rows(con) == {}
    one, *_ = con.remember([{"text": "Tea is at five."}, {"text": "The key is under the pot."}])
    con.execute("SELECT remember('Ada plays chess.')").fetchall()
    con.execute("INSERT INTO memories (text) VALUES ('Bo sails.')")
    con.recall("where is the key?", k=2)
    con.execute("SELECT text FROM recall('tea', k := 1)").fetchall()
    con.update(one, importance=0.9)
    con.forget(one)
    with pytest.raises(aios_db.Error):
        con.forget(7)
    found = rows(con)
    assert found["upsert_memory"][:3] == (3, 0, 4)
    assert found["search_memory"][:3] == (2, 0, 3)
    assert found["update_memory"][:3] == (1, 0, 1)
    assert found["delete_memory"][:3] == (1, 0, 1)
    assert all(0 < p50 <= most for *_, p50, most in found.values())


class Slow:
    """An encoder that takes its time."""

    def __init__(self, encoder):
        self._encoder = encoder

    def __getattr__(self, name):
        return getattr(self._encoder, name)

    def encode(self, texts):
        time.sleep(0.2)
        return self._encoder.encode(texts)


@pytest.mark.sql
def test_a_search_begins_with_its_statement(con):
    con.remember(["Tea is at five.", "The key is under the pot."])
    con.store.database.texts.given = Slow(con.store.database.texts.given)
    began = time.perf_counter()
    con.recall("where is the key?", k=2)
    took_ms = (time.perf_counter() - began) * 1e3
    _, _, _, p50, most = rows(con)["search_memory"]
    assert 200 <= p50 == most <= took_ms  # the question is embedded before anything is found


@pytest.mark.sql
def test_a_search_that_finds_nothing_or_fails_is_one_too(con):
    assert con.recall("where is the key?") == []
    assert rows(con)["search_memory"][:3] == (1, 0, 0)
    con.remember(["Tea is at five.", "The key is under the pot."])
    assert con.recall("where is the key?", user_id="nobody") == []
    con.execute("SELECT count(*) FROM recall('tea', k := 0)")
    with pytest.raises(aios_db.Error):
        con.execute("SELECT * FROM recall('tea', k := -1)")
    assert rows(con)["search_memory"][:3] == (4, 1, 0)
    con.recall("where is the key?", k=1)
    con.execute("SELECT text FROM recall('tea', k := 1)")
    con.execute("EXPLAIN SELECT text FROM recall('tea', k := 1)").fetchall()
    con.execute("SELECT 'recall(1)' AS recalled -- recall('tea')").fetchall()
    con.execute("CREATE MACRO twice(asked) AS TABLE SELECT text FROM recall(asked, k := 2)")
    assert rows(con)["search_memory"][:3] == (6, 1, 2)
    assert not con.store.origins._searched


@pytest.mark.sql
def test_statements_are_counted_by_what_they_do(con):
    con.execute("INSERT INTO memories (text) VALUES ('Tea is at five.'); SELECT 1")
    con.executemany("INSERT INTO memories (text) VALUES (?)", [["Bo sails."], ["Ada plays chess."]])
    con.execute("SELECT count(*) FROM memories").fetchall()
    with pytest.raises(aios_db.Error):
        con.execute("DELETE FROM memories WHERE error('no')")
    found = rows(con)
    assert found["INSERT"][:2] == (2, 0)
    assert found["SELECT"][:2] == (2, 0)
    assert found["DELETE"][:2] == (1, 1)


def test_searches_of_many_threads_are_counted_once(con):
    con.remember(["Tea is at five.", "The key is under the pot."])
    threads = [threading.Thread(target=con.recall, args=("tea",), daemon=True) for _ in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert rows(con)["search_memory"][:3] == (8, 0, 16)


def test_nothing_is_recorded_where_it_is_switched_off(tmp_path):
    with aios_db.connect(tmp_path / "a.aios", config={"telemetry": {"metrics": False}}) as con:
        con.remember("Tea is at five.")
        assert rows(con) == {}


@given(st.lists(st.floats(1e-7, 5e3), min_size=1, max_size=60), st.floats(0.01, 1.0))
def test_a_percentile_is_right_to_within_a_bucket(durations, share):
    operation = Operation(calls=len(durations), max_s=max(durations))
    for each in durations:
        operation.buckets[bucket_of(each)] += 1
    exact = sorted(durations)[math.ceil(share * len(durations)) - 1]
    found = operation.percentile_s(share)
    if exact > upper_s(BUCKETS - 2):
        assert found == max(durations)
    else:
        assert exact <= found * (1 + 1e-9) and found <= max(exact * 2**0.25 * (1 + 1e-9), 1e-6)


def test_threads_lose_no_call():
    metrics = Metrics("x")

    def work():
        for _ in range(500):
            metrics.observe("a", time.perf_counter(), 2)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    found = metrics.operations()["a"]
    assert (found.calls, found.items, sum(found.buckets)) == (2000, 4000, 2000)


def test_prometheus_reads_what_was_recorded(con):
    con.remember(["Tea is at five.", "The key is under the pot."])
    con.recall("key", k=1)
    with served(con.store.metrics, 0, gauges=lambda: {"memories": 2.0}) as port:
        page = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=20).read().decode()
        busy = pytest.raises(aios_db.OperationalError, match=f"127.0.0.1:{port}")
        with busy, served(con.store.metrics, port):
            pass
    families = {each.name: each.samples for each in text_string_to_metric_families(page)}
    counts = {each.labels["operation"]: each.value for each in families["aios_operation_items"]}
    assert counts["upsert_memory"] == 2 and counts["search_memory"] == 1
    buckets = [
        each.value
        for each in families["aios_operation_seconds"]
        if each.name.endswith("_bucket") and each.labels["operation"] == "search_memory"
    ]
    assert buckets == sorted(buckets) and buckets[-1] == 1
    assert families["aios_memories"][0].value == 2
    assert families["process_resident_memory_bytes"][0].value > 1e6


def test_a_page_leaves_out_what_cannot_be_read(con, caplog):
    con.remember("Tea is at five.")
    reasons = iter(["gone", "gone", "", "gone"])

    def gauges():
        if reason := next(reasons):
            raise aios_db.OperationalError(reason)
        return {"memories": 1.0}

    with served(con.store.metrics, 0, gauges=gauges) as port:
        ask = partial(urllib.request.urlopen, f"http://127.0.0.1:{port}/metrics", timeout=20)
        pages = [ask().read().decode() for _ in range(4)]
    assert all('aios_operation_items_total{operation="upsert_memory"} 1.0' in page for page in pages)
    assert ["aios_memories" in page for page in pages] == [False, False, True, False]
    assert [record.getMessage().rpartition(": ")[2] for record in caplog.records] == ["gone", "gone"]


@pytest.mark.parametrize("port", [-1, 70_000])
def test_a_port_that_there_is_not_is_said(port):
    with pytest.raises(aios_db.OperationalError, match=f"127.0.0.1:{port}.* 0 for a free one"):
        served(Metrics("a.aios"), port).__enter__()


@pytest.fixture(scope="module")
def spans():
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    return exporter


@pytest.mark.parametrize("texts", [False, True])
def test_operations_are_spans_of_a_tracer(tmp_path, spans, texts):
    spans.clear()
    with aios_db.connect(tmp_path / "a.aios", config={"telemetry": {"texts": texts}}) as con:
        con.remember("Tea is at five.")
        con.recall("when is tea?", k=1)
        with pytest.raises(aios_db.Error):
            con.store.forget([7])
    found = {each.name: each for each in spans.get_finished_spans()}
    search = found["search_memory"]
    assert search.attributes["gen_ai.operation.name"] == "search_memory"
    assert search.attributes["gen_ai.memory.store.id"] == str(tmp_path / "a.aios")
    assert search.attributes["db.response.returned_rows"] == 1
    assert search.attributes["gen_ai.memory.record.count"] == 1
    assert found["upsert_memory"].attributes["gen_ai.memory.record.count"] == 1
    assert "db.response.returned_rows" not in found["upsert_memory"].attributes
    assert "gen_ai.memory.record.count" not in found["delete_memory"].attributes  # it failed
    assert {each.kind for each in found.values()} == {trace.SpanKind.INTERNAL}  # within this process
    assert search.attributes.get("gen_ai.memory.query.text") == ("when is tea?" if texts else None)
    assert found["delete_memory"].attributes["error.type"] == "ProgrammingError"
    assert search.start_time < search.end_time
    assert "Tea is" not in str([dict(each.attributes) for each in found.values()])


@pytest.mark.parametrize("texts", [False, True])
def test_statements_are_spans_of_a_tracer(tmp_path, spans, texts):
    with aios_db.connect(tmp_path / "a.aios", config={"telemetry": {"texts": texts}}) as con:
        spans.clear()
        con.execute("SELECT 'a secret'").fetchall()
        with pytest.raises(aios_db.Error):
            con.execute("DROP TABLE nothing")
    found = {each.name: each for each in spans.get_finished_spans()}
    select, drop = found["SELECT"], found["DROP"]
    assert select.attributes["db.system.name"] == "aios_db"
    assert select.attributes["db.namespace"] == str(tmp_path / "a.aios")
    assert select.attributes["db.operation.name"] == "SELECT"
    assert select.attributes.get("db.query.text") == ("SELECT 'a secret'" if texts else None)
    assert select.start_time < select.end_time
    assert drop.status.status_code == trace.StatusCode.ERROR
    assert drop.attributes["error.type"] == "CatalogException"
