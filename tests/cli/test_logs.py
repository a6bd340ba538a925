from __future__ import annotations

import json
import logging
import os
import subprocess
import sys

import pytest

from aios_db.logs import configure_logging
from aios_db.schema.config import LoggingConfig


def test_text_lines_carry_the_extra_fields(capsys):
    configure_logging(LoggingConfig())
    logging.getLogger("aios_db.store").warning("compacted %d", 3, extra={"table": "memories"})
    logging.getLogger("aios_db.store").info("not shown")
    assert capsys.readouterr().err == "warning: aios_db.store: compacted 3 table=memories\n"


def test_a_record_is_one_line_whatever_is_in_it(capsys):
    name = "a\nerror: aios_db: all is lost\x1b[2J\r.md"
    for format in ("text", "json"):
        configure_logging(LoggingConfig(format=format))
        logging.getLogger("aios_db").warning(
            "%s is empty", name, extra={"ratio": float("nan"), "name_": name}
        )
    text, json_line = capsys.readouterr().err.splitlines()
    assert text.startswith(r"warning: aios_db: a\nerror: aios_db: all is lost\x1b[2J\r.md is empty ratio=nan")
    entry = json.loads(json_line, parse_constant=pytest.fail)
    assert (entry["name_"], entry["ratio"]) == (name, None)


ANYWHERE = """
import logging, sys
from aios_db.logs import configure_logging
from aios_db.schema.config import LoggingConfig
for format in ("json", "text"):
    configure_logging(LoggingConfig(format=format))
    text = "Caf\\xe9 \\u4f60 \\U0001f600 \\udcff \\u2028 \\x85 \\x9b"
    logging.getLogger("aios_db").warning(text, extra={"x": {1: [float("inf")]}})
"""


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_a_record_is_one_line_in_any_encoding(encoding):
    run = subprocess.run(
        [sys.executable, "-c", ANYWHERE],
        capture_output=True,
        check=True,
        env={**os.environ, "PYTHONIOENCODING": encoding},
    )
    json_line, _text = run.stderr.decode(encoding).splitlines()
    entry = json.loads(json_line, parse_constant=pytest.fail)
    assert entry["message"] == "Caf\xe9 \u4f60 \U0001f600 \udcff \u2028 \x85 \x9b"
    assert entry["x"] == {"1": [None]}


def test_json_lines(capsys):
    configure_logging(LoggingConfig(level="INFO", format="json"))
    try:
        raise ValueError("é")
    except ValueError:
        logging.getLogger("aios_db.x").exception("failed", extra={"rows": 2, "path": object})
    entry = json.loads(capsys.readouterr().err)
    assert (entry["level"], entry["logger"], entry["message"], entry["rows"]) == (
        "ERROR",
        "aios_db.x",
        "failed",
        2,
    )
    assert entry["time"].endswith("+00:00")
    assert entry["exception"].endswith("ValueError: é")


def test_traceback_follows_a_text_line(capsys):
    configure_logging(LoggingConfig())
    try:
        raise ValueError("no")
    except ValueError:
        logging.getLogger("aios_db").exception("failed")
    err = capsys.readouterr().err
    assert err.startswith("error: aios_db: failed\nTraceback")
    assert err.endswith("ValueError: no\n")


def test_configuring_twice_logs_once(capsys):
    configure_logging(LoggingConfig())
    configure_logging(LoggingConfig())
    logging.getLogger("aios_db").error("once")
    assert capsys.readouterr().err.count("once") == 1


def run(script, tmp_path):
    """Run a program that opens databases; return its lines of standard error."""
    setup = f"import aios_db, logging, os; os.chdir({str(tmp_path)!r})\n"
    done = subprocess.run([sys.executable, "-c", setup + script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stderr.splitlines()


LOG = "logging.getLogger('aios_db.x').{}({!r})\n"
TALKATIVE = "a = aios_db.connect('a.aios', config='talkative.yaml')\n"
QUIET = "b = aios_db.connect('b.aios', config='quiet.yaml')\n"


@pytest.fixture
def configured(tmp_path):
    (tmp_path / "talkative.yaml").write_text("logging: {level: INFO, format: json}")
    (tmp_path / "quiet.yaml").write_text("logging: {level: ERROR}")
    return tmp_path


def test_the_configuration_holds_while_a_database_is_open(configured):
    lines = run(
        LOG.format("info", "before") + TALKATIVE + LOG.format("info", "while")
        + "a.close()\n" + LOG.format("info", "after") + LOG.format("warning", "as Python does"),
        configured,
    )  # fmt: skip
    own = [json.loads(line)["message"] for line in lines if line.startswith("{") and "aios_db.x" in line]
    assert own == ["while"]
    assert lines[-1] == "as Python does"


def test_attach_and_the_environment_count_too(configured):
    lines = run(
        "import duckdb; os.environ['AIOS_LOGGING__LEVEL'] = 'DEBUG'; mine = duckdb.connect()\n"
        "aios_db.attach(mine, 'a.aios')\n" + LOG.format("debug", "while")
        + "aios_db.detach(mine)\n" + LOG.format("debug", "after"),
        configured,
    )  # fmt: skip
    assert [line for line in lines if "aios_db.x" in line] == ["debug: aios_db.x: while"]


def test_the_most_talkative_of_two_connections_holds(configured):
    lines = run(
        QUIET + LOG.format("info", "1") + LOG.format("warning", "2") + TALKATIVE + LOG.format("info", "3")
        + QUIET.replace("b =", "c =").replace("b.aios", "c.aios") + LOG.format("info", "4")
        + "a.close()\n" + LOG.format("info", "5") + "d = aios_db.connect('d.aios')\n"
        + LOG.format("warning", "6"),
        configured,
    )  # fmt: skip
    said = [line for line in lines if "aios_db.x" in line]
    assert json.loads(said[0])["message"] == "3"
    assert said[1:] == ["info: aios_db.x: 4", "warning: aios_db.x: 6"]


def test_a_program_that_sets_up_logging_keeps_its_own_lines(configured):
    lines = run(
        "logging.basicConfig(format='mine %(message)s')\n" + TALKATIVE + LOG.format("info", "once")
        + "print([type(h).__name__ for h in logging.root.handlers], logging.root.level)",
        configured,
    )  # fmt: skip
    assert [line for line in lines if "once" in line] == ["mine once"]


def test_defaults_and_importing_change_nothing(configured):
    lines = run(
        "logger = logging.getLogger('aios_db')\n"
        "before = logger.level, logger.handlers[:], logger.propagate, logging.root.handlers[:]\n"
        "import aios_db.connection, aios_db.logs\n"
        "a = aios_db.connect('a.aios')\n"
        "assert before == (logger.level, logger.handlers, logger.propagate, logging.root.handlers)\n"
        "del a\n" + TALKATIVE + "assert logging.root.handlers == [] and logger.propagate\n",
        configured,
    )
    assert not [line for line in lines if "Error" in line]


def test_a_database_that_does_not_open_leaves_the_logger_as_it_was(configured):
    run(
        "try:\n    aios_db.connect('talkative.yaml', config='talkative.yaml')\n"
        "except aios_db.OperationalError:\n    pass\n"
        "assert logging.getLogger('aios_db').level == 0\n",
        configured,
    )
