from __future__ import annotations

import json
import logging

from aios_db.logs import configure_logging
from aios_db.schema.config import LoggingConfig


def test_text_lines_carry_the_extra_fields(capsys):
    configure_logging(LoggingConfig())
    logging.getLogger("aios_db.store").warning("compacted %d", 3, extra={"table": "memories"})
    logging.getLogger("aios_db.store").info("not shown")
    assert capsys.readouterr().err == "warning: aios_db.store: compacted 3 table=memories\n"


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
