from __future__ import annotations

import json

import pytest

import aios_db
from aios_db.importers import UnreadableError, import_path, retry_rejected
from aios_db.schema.config import Config, EngineConfig, TrustConfig


@pytest.fixture
def con(tmp_path, minilm_dir):
    config = Config(engine=EngineConfig(models_dir=str(minilm_dir.parent)))
    with aios_db.connect(tmp_path / "agent.aios", config=config) as connection:
        yield connection


def test_rejected_records_are_mended_and_imported_under_their_names(con, tmp_path):
    lines = [
        '{"text": "ok"}',
        '{"txet": "one"}',
        '{"text": "two"',
        '{"title": "no text"}',
        '{"text": "three"}',
    ]
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    report = import_path(con, tmp_path / "a.jsonl")
    assert (report.read, report.stored, report.rejected) == (5, 2, 3)
    aside = tmp_path / "agent.aios.rejected.jsonl"
    entries = [json.loads(line) for line in aside.read_text().splitlines()]
    assert [(entry["file"], entry["place"]) for entry in entries] == [
        ("a.jsonl", "2"),
        ("a.jsonl", "3"),
        ("a.jsonl", "4"),
    ]
    entries[0]["record"] = {"text": "one"}
    entries[1]["record"] += "}"
    aside.write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    report = retry_rejected(con, aside)
    assert (report.read, report.stored, report.rejected, report.rejected_path) == (3, 2, 1, str(aside))
    assert [json.loads(line)["place"] for line in aside.read_text().splitlines()] == ["4"]
    rows = con.execute("SELECT text, source, external_id FROM memories ORDER BY text").fetchall()
    assert rows == [
        (text, "a.jsonl", f"a.jsonl#{place}")
        for text, place in (("ok", 1), ("one", 2), ("three", 5), ("two", 3))
    ]
    (tmp_path / "a.jsonl").write_text("\n".join([lines[0], '{"text": "one"}', '{"text": "two"}', *lines[4:]]))
    report = import_path(con, tmp_path / "a.jsonl", sync=True)
    assert (report.stored, report.merged, report.replaced, report.removed) == (1, 3, 0, 1)
    entries[2]["record"]["text"] = "four"
    aside.write_text(json.dumps(entries[2]) + "\n")
    assert retry_rejected(con, aside).rejected == 0
    assert not aside.exists()


def test_pdf_and_word_documents(write, tmp_path):
    docx = pytest.importorskip("docx")
    document = docx.Document()
    document.core_properties.title = "Guide"
    document.add_paragraph("Intro.")
    document.add_heading("Install", 1)
    document.add_paragraph("One.")
    table = document.add_table(rows=1, cols=2)
    table.rows[0].cells[0].text, table.rows[0].cells[1].text = "key", "value"
    document.save(tmp_path / "made.docx")
    rows, rejected = write("a.docx", (tmp_path / "made.docx").read_bytes())
    assert not rejected
    assert [(row.fields["title"], row.fields["text"]) for row in rows] == [
        ("Guide", "Intro."),
        ("Guide › Install", "One.\n\nkey\tvalue"),
    ]
    with pytest.raises(UnreadableError, match=r"b\.docx: is not a Word document"):
        write("b.docx", b"PK nothing")


def test_pdf(write):
    pytest.importorskip("pypdf")
    stream = b"BT /F1 12 Tf 72 700 Td (A ship sails.) Tj ET"
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 4 0 R"
        b" /Resources << /Font << /F1 5 0 R >> >> >>",
        b"<< /Length %d >>\nstream\n%s\nendstream" % (len(stream), stream),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    data, offsets = b"%PDF-1.4\n", []
    for number, each in enumerate(objects, start=1):
        offsets.append(len(data))
        data += b"%d 0 obj\n%s\nendobj\n" % (number, each)
    start = len(data)
    data += b"xref\n0 6\n0000000000 65535 f \n" + b"".join(b"%010d 00000 n \n" % each for each in offsets)
    data += b"trailer << /Size 6 /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF" % start
    rows, rejected = write("a.pdf", data)
    assert not rejected
    assert [(row.fields["text"], row.location) for row in rows] == [("A ship sails.", "a.pdf:page 1")]
    with pytest.raises(UnreadableError, match=r"b\.pdf: is not a PDF that can be read"):
        write("b.pdf", b"%PDF nothing")


def test_erasing_a_source_leaves_nothing_of_it(con, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "plan-secretname.md").write_text("The plan of the vault.")
    (folder / "rows-secretname.jsonl").write_text('{"text": "A vault."}\n{"nothing": "topsecret"}\n')
    (folder / "kept.md").write_text("The garden is green.")
    import_path(con, folder)
    report = con.erase(source=["plan-secretname.md", "rows-secretname.jsonl"])
    assert (report.memories, report.rejected) == (2, 1)
    assert report.import_notes >= 2
    files = [path for path in tmp_path.rglob("*") if path.is_file() and folder not in path.parents]
    for word in (b"secretname", b"topsecret"):
        assert [path for path in files if word in path.read_bytes()] == []
    assert any(b"kept.md" in path.read_bytes() for path in files)


def test_a_retry_has_the_source_that_its_import_had(tmp_path, minilm_dir):
    config = Config(
        engine=EngineConfig(models_dir=str(minilm_dir.parent)), trust=TrustConfig(sources=(("web:*", 0.2),))
    )
    rows = ['{"text": "Lake key", "external_id": "key"}', '{"txet": "page"}', '{"text": "a page"']
    (tmp_path / "in.jsonl").write_text("\n".join(rows))
    aside = tmp_path / "agent.aios.rejected.jsonl"
    with aios_db.connect(tmp_path / "agent.aios", config=config) as user:
        user.remember("The key is under the pot.", source="user", external_id="key")
        with aios_db.connect(tmp_path / "agent.aios", config=config, source="web:x") as web:
            assert import_path(web, tmp_path / "in.jsonl").rejected == 3
        entries = [json.loads(line) for line in aside.read_text().splitlines()]
        assert [each["source"] for each in entries] == ["web:x"] * 3
        for _ in range(2):  # what fails again keeps it, too
            assert retry_rejected(user, aside).rejected == 3
        entries = [json.loads(line) for line in aside.read_text().splitlines()]
        assert [(each["file"], each["source"]) for each in entries] == [("in.jsonl", "web:x")] * 3
        mended = {"2": {"text": "page", "source": "user"}, "3": '{"text": "a page"}'}
        entries = [{**each, "record": mended.get(each["place"], each["record"])} for each in entries]
        aside.write_text("".join(json.dumps(entry) + "\n" for entry in entries))
        assert (report := retry_rejected(user, aside)).stored == 2 and report.rejected == 1
        found = user.execute("SELECT text, source FROM memories ORDER BY text").fetchall()
    assert found == [("The key is under the pot.", "user"), ("a page", "web:x"), ("page", "web:x")]


def test_a_retry_reads_times_in_the_zone_of_the_import(con, tmp_path):
    (tmp_path / "in.jsonl").write_text('{"txet": "one", "when": "2024-07-01 12:00"}')
    assert import_path(con, tmp_path / "in.jsonl", time_zone="America/New_York").rejected == 1
    aside = tmp_path / "agent.aios.rejected.jsonl"
    for _ in range(2):  # what fails again keeps it
        assert retry_rejected(con, aside).rejected == 1
    mended = aside.read_text().replace("txet", "text")
    wrong = mended.replace("America/New_York", "Nowhere/City")
    aside.write_text(wrong)
    assert retry_rejected(con, aside).rejected == 1
    for said, hour in ((None, 16), ("Europe/Lisbon", 11)):  # what is said now counts
        aside.write_text(mended)
        assert retry_rejected(con, aside, time_zone=said).rejected == 0
        ((found,),) = con.execute("SELECT occurred_at FROM memories").fetchall()
        assert (found.hour, found.utcoffset().total_seconds()) == (hour, 0)
