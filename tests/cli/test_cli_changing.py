"""`aios get`, `aios update` and `aios forget` by what memories are."""

from __future__ import annotations

import io
import sys

import pytest


def test_get_update_and_forget(aios):
    aios("init")
    options = ["--user-id", "ada", "--external-id", "tea", "--tier", "long", "--trust", "0.5"]
    memory = aios("remember", "Tea at four", *options, "--json").json["memory_id"]
    assert aios("remember", "Tea at five", *options).out.strip() == memory
    assert (
        aios("update", memory, "--text", "Tea at six", "--metadata", '{"a": 1}', "--clear", "user-id").status
        == 0
    )
    found = aios("get", memory, "--json").json
    assert (found["text"], found["metadata"], found["user_id"]) == ("Tea at six", {"a": 1}, None)
    assert (found["tier"], found["trust"], found["external_id"]) == ("long", 0.5, "tea")
    assert "text: Tea at six\n" in aios("get", "--external-id", "tea").out
    missing = aios("get", "nothing")
    assert (missing.status, missing.err) == (1, "no memory nothing\n")
    assert aios("update", "nothing", "--tier", "long").status == 1
    assert aios("update", memory).status == 1

    assert aios("remember", "one", "--session-id", "s", "--occurred-at", "2020-01-01").status == 0
    assert aios("remember", "two", "--session-id", "t").status == 0
    refused = aios("forget")
    assert refused.status == 1 and "give memory_ids, or a selector" in refused.err
    assert (
        aios("forget", "--session-id", "s", "--session-id", "t", "--before", "2021-01-01").out == "forgot 1\n"
    )
    assert aios("forget", "--session-id", "t", "--json").json == {"forgotten": 1}
    assert aios("forget", memory, "nothing").out == "forgot 1 of 2\n"


def test_folded_texts_are_counted(aios):
    aios("init")
    for day in ("2024-05-01", "2024-05-02"):
        memory = aios("remember", "good morning", "--fold", "--occurred-at", day).out.strip()
    found = aios("get", memory, "--json").json
    assert found["occurrences"] == 2
    assert [time[:10] for time in found["times"]] == ["2024-05-01", "2024-05-02"]


def test_erase(aios, tmp_path):
    aios("init")
    secret = "7391-8826-1147-0059-8831"
    aios("remember", secret, "--user-id", "ada")
    aios("remember", "kept", "--user-id", "bo")
    assert aios("erase").status == 1
    report = aios("erase", "--user-id", "ada", "--json").json
    assert report["memories"] == 1 and report["found_in"] == [] and report["bytes_scanned"] > 0
    files = [path for path in (tmp_path / "agent.aios").rglob("*") if path.is_file()]
    assert files and not [path for path in files if secret.encode() in path.read_bytes()]
    assert aios("erase", "--user-id", "bo").out.startswith("erased 1; ")


def test_a_time_that_is_none_is_refused_under_the_name_of_its_option(aios):
    assert aios("remember", "one", "--session-id", "s").status == 0
    for command in ("forget", "erase"):
        refused = aios(command, "--before", "nonsense")
        assert refused.status != 0
        assert "before is 'nonsense', which is not a time" in refused.err
        assert "occurred_at" not in refused.err


@pytest.mark.parametrize(
    ("given", "stored"), [("x\n", "x"), ("x", "x"), ("a\n\nb\n\n", "a\n\nb\n"), (" x \n", " x ")]
)
def test_a_text_from_standard_input_ends_before_its_last_line_feed(aios, monkeypatch, given, stored):
    monkeypatch.setattr(sys, "stdin", io.StringIO(given))
    memory_id = aios("remember", "-").out.strip()
    assert aios("get", memory_id, "--json").json["text"] == stored
