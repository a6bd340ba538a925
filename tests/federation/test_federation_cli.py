"""Cards and their exchange from the shell."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import lance
import pyarrow as pa
import pytest
from certificates import make_certificates

from aios_db.cli import main

Aios = Callable[..., tuple[int, str, str]]


@pytest.fixture
def aios(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], minilm_dir: Path
) -> Aios:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AIOS_ENGINE__MODELS_DIR", str(minilm_dir.parent))
    monkeypatch.setenv("AIOS_STORAGE__DURABILITY", "normal")
    for name in ("AIOS_DB", "AIOS_FEDERATION_TOKEN"):
        monkeypatch.delenv(name, raising=False)

    def run(*arguments: object) -> tuple[int, str, str]:
        status = main([str(argument) for argument in arguments])
        printed = capsys.readouterr()
        return status, printed.out, printed.err

    return run


def serve(*arguments: object) -> tuple[subprocess.Popen[str], str]:
    command = [sys.executable, "-m", "aios_db.cli", "federation", "serve", "--port", 0, *arguments]
    process = subprocess.Popen([str(each) for each in command], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, process.stdout.readline().split()[-1]


def test_from_pairs_to_another_agents_card(aios: Aios, tmp_path: Path) -> None:
    (tmp_path / "pairs.csv").write_text(
        "where is the key?,under the pot\nwho sings?,Bo sings\nwhat now?,tea\n"
    )
    for database in ("ada.aios", "bo.aios"):
        status, out, err = aios("cards", "new", "skill", "--rank", 2, "--db", database)
        assert status == 0 and out.startswith("skill@"), err
    status, out, err = aios("cards", "train", "skill", "pairs.csv", "--steps", 2, "--db", "ada.aios")
    assert status == 0 and re.search(r"loss 0\.\d+ at first, 0\.\d+ in the end", err), err
    trained = out.strip()
    token = aios("federation", "token", "ada")[1]
    secret = token.splitlines()[0].rpartition(" ")[2]
    (tmp_path / "access.yaml").write_text(token)
    process, location = serve("--db", "hub.aios", "--access", "access.yaml")
    try:
        status, _, err = aios("federation", "push", location, "skill", "--db", "ada.aios")
        assert status == 1 and "token is missing or unknown" in err
        server = (location, "skill", "--token", secret)
        status, out, err = aios("federation", "push", *server, "--db", "ada.aios", "--samples", 3, "--json")
        assert status == 0 and json.loads(out)["version"] == trained, err
        status, out, _ = aios("federation", "status", location, "--token", secret, "--json")
        assert json.loads(out)["skill"]["version"] == trained
        status, _, err = aios("federation", "push", *server, "--db", "typo.aios")
        assert status == 1 and "no database at typo.aios" in err
        assert not any((tmp_path / made).exists() for made in ("typo.aios", "agent.aios"))
        assert aios("federation", "pull", *server, "--db", "bo.aios")[0] == 0
        status, out, _ = aios("federation", "sync", *server, "--db", "bo.aios", "--density", 0.03)
        assert status == 0 and "card" in out
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(120) == 0
    listed = json.loads(aios("cards", "list", "--db", "bo.aios", "--json")[1])
    assert [each["origin"] for each in listed] == ["new", "pulled"] and listed[1]["version"] == trained
    assert trained in aios("cards", "list", "--db", "ada.aios")[1]


def test_cards_come_and_go_as_files(aios: Aios, tmp_path: Path) -> None:
    made = aios("cards", "new", "skill", "--rank", 2)[1].strip()
    assert aios("cards", "export", "skill", "skill.lora.arrow")[0] == 0
    assert aios("cards", "export", made, "adapter", "--peft")[0] == 0
    for source in ("skill.lora.arrow", "adapter"):
        status, out, err = aios("cards", "import", source, "--name", "copy", "--db", "other.aios")
        assert status == 0 and out.strip() == made.replace("skill", "copy"), err
    status, _, err = aios("cards", "export", "none", "x.lora.arrow")
    assert status == 1 and "no card 'none'" in err and not (tmp_path / "x.lora.arrow").exists()
    (tmp_path / "bad.csv").write_text("only one column\n")
    status, _, err = aios("cards", "train", "skill", "bad.csv")
    assert status == 1 and "row 1" in err
    status, out, _ = aios("cards", "merge", "skill", "merged", "--json")
    assert status == 0 and json.loads(out)["passed"] and (tmp_path / "merged" / "weights.parquet").exists()


def test_off_loopback_it_wants_tls(aios: Aios, tmp_path: Path) -> None:
    status, _, err = aios("federation", "serve", "--host", "0.0.0.0", "--db", "hub.aios")
    assert status == 1 and "TLS" in err
    pem = make_certificates(tmp_path)
    status, _, err = aios("federation", "serve", "--certificate", pem["server"], "--db", "hub.aios")
    assert status == 2 and "go together" in err
    process, location = serve(
        "--db", "hub.aios", "--certificate", pem["server"], "--key", pem["server_key"],
        "--client-authority", pem["authority"],
    )  # fmt: skip
    try:
        client = ("--certificate", pem["client"], "--key", pem["client_key"], "--authority", pem["authority"])
        assert aios("federation", "status", location, *client, "--json")[1].strip() == "{}"
        assert aios("federation", "status", location, "--authority", pem["authority"])[0] == 1
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(120) == 0


def test_a_damaged_card_is_named_and_not_written(aios: Aios, tmp_path: Path) -> None:
    made = aios("cards", "new", "skill", "--rank", 2, "--db", "a.aios")[1].strip()
    assert "1 card in 1 version" in aios("doctor", "--db", "a.aios")[1]
    table = lance.dataset(tmp_path / "a.aios" / "lora_cards.lance")
    rows = table.to_table()
    wrong = bytearray(rows["card"][0].as_py())
    wrong[len(wrong) // 2] ^= 1
    place = rows.schema.get_field_index("card")
    touched = rows.set_column(place, rows.schema.field(place), pa.array([bytes(wrong)], pa.binary()))
    table.merge_insert("card_id").when_matched_update_all().execute(touched)
    status, out, _ = aios("doctor", "--db", "a.aios")
    assert status == 1 and f"card {made} is damaged" in out
    status, _, err = aios("cards", "export", "skill", "x.lora.arrow", "--db", "a.aios")
    assert status == 1 and f"card {made} is damaged" in err and "aios doctor --deep" in err
    assert not (tmp_path / "x.lora.arrow").exists()
