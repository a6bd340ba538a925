"""What other programs export: messengers, mail, pages, archives of these."""

from __future__ import annotations

import json
import zipfile
from datetime import datetime, timezone
from email.message import EmailMessage

import pytest

from aios_db.importers import Skipped, UnreadableError, archives, read_path

UTC = timezone.utc
NIGHT = datetime(2023, 5, 20, 22, 15, tzinfo=UTC)


def said(rows):
    return [(row.fields["speaker"], row.fields["text"]) for row in rows]


@pytest.mark.parametrize(
    "stamp",
    [
        "20/05/2023, 22:15 - ", "5/20/23, 10:15 PM - ", "5/20/23, 10:15\u202fPM - ", "20.05.23, 22:15 - ",
        "[20/05/23, 22:15:00] ", "[20.05.23, 22:15:00] ", "\u200e[5/20/23, 10:15:00 PM] ",
        "20-05-2023 22:15 - ", "2023-05-20, 22:15 - ", "2023/05/20, 22:15 - ", "20/05/2023 22.15 - ",
        "20/5/23, 10:15 p.m. - ", "2023/5/20 下午10:15 - ", "2023. 5. 20. 오후 10:15, ",
        "[2023-05-20 22:15:00] ", "2023-05-20T22:15:00Z ",
    ],
)  # fmt: skip
def test_whatsapp_and_other_logs_are_conversations(write, tmp_path, stamp):
    lines = [
        f"{stamp}Ann: Hello: how are you?",
        f"{stamp}Bob: fine",
        "and you?",
        "",
        "Yours",
        f"{stamp}Messages and calls are end-to-end encrypted.",
        f"{stamp}Ann: <Media omitted>",
        f"{stamp}Ann: image omitted",
        f"{stamp}Bob: IMG-1.jpg (file attached)",
        "The boat",
        f"{stamp}Ann: This message was deleted",
        f"{stamp}Bob: ok",
        f"{stamp}Ann: bye",
    ]
    rows, rejected = write("chat.txt", "\r\n".join(lines))
    assert not rejected
    expected = [("Ann", "Hello: how are you?"), ("Bob", "fine\nand you?\n\nYours"), ("Bob", "The boat")]
    assert said(rows) == [*expected, ("Bob", "ok"), ("Ann", "bye")]
    assert {row.fields["occurred_at"] for row in rows} == {NIGHT}
    assert {row.fields["session_id"] for row in rows} == {"chat.txt"}
    assert {row.fields["kind"] for row in rows} == {"message"}
    assert rows[2].fields["media_uri"] == "IMG-1.jpg"
    skipped = [record for record in read_path(tmp_path / "chat.txt") if isinstance(record, Skipped)]
    assert [record.reason for record in skipped] == [
        "an event, not a message", "no words, only media", "no words, only media", "deleted",
    ]  # fmt: skip


def test_the_order_of_day_and_month_in_a_log(write):
    rows, _ = write("a.txt", "03/04/23, 10:00 - A: x\n13/04/23, 10:00 - A: y\n")
    assert [row.fields["occurred_at"].month for row in rows] == [4, 4]
    rows, _ = write("b.txt", "03/04/23, 10:00 - A: x\n04/03/23, 10:00 - A: y\n")
    assert [row.fields["occurred_at"].month for row in rows] == [3, 4], "time does not run back"
    rows, _ = write("c.txt", "03/04/23, 10:00 AM - A: x\n")
    assert rows[0].fields["occurred_at"].month == 3
    rows, _ = write("d.txt", "03/04/23, 10:00 - A: x\n")
    assert rows[0].fields["occurred_at"].month == 4


def test_a_transcript_without_times(write):
    rows, _ = write("a.txt", "Ann: hi\nBob: hello\n\nAnn: how are you?\nBob: fine\n")
    assert said(rows) == [("Ann", "hi"), ("Bob", "hello"), ("Ann", "how are you?"), ("Bob", "fine")]
    assert "occurred_at" not in rows[0].fields


@pytest.mark.parametrize(
    "text",
    [
        "Dear all,\n\nplease note: the meeting on 20/05/2023, 22:15 is off.\n",
        "2023-05-20 22:15:01 ERROR: disk is full\n2023-05-20 22:15:02 INFO: retry\n" * 3,
        "Ingredients: flour\nTime: one hour\nOven: hot\nServes: four\n",
        "20/05/2023: went to the sea\n21/05/2023: came back\n",
    ],
)
def test_other_texts_are_no_conversations(write, text):
    rows, _ = write("a.txt", text)
    assert {row.fields["kind"] for row in rows} == {"document"}


def test_a_long_log_makes_no_long_memories(write):
    text = "".join(f"20/05/23, 22:15 - {'Ann' if n % 2 else 'Bob'}: message {n}\n" for n in range(480))
    rows, _ = write("a.txt", text)
    assert [row.fields["text"] for row in rows] == [f"message {n}" for n in range(480)]


def test_slack_export(write, tmp_path):
    write(
        "export/users.json",
        [{"id": "U1", "name": "ann", "profile": {"display_name": "Ann"}}, {"id": "U2", "name": "bob"}],
    )
    write("export/channels.json", [{"id": "C1", "name": "general"}])
    common = {"type": "message", "user": "U2"}
    hello = "Hi <@U2>, see <https://x.org|this> &amp; that"
    day = [
        {**common, "user": "U1", "ts": "1684620900.000100", "text": hello},
        {**common, "subtype": "channel_join", "text": "<@U2> has joined", "ts": "1684620901.0"},
        {**common, "text": "ok", "ts": "1684620902.0", "thread_ts": "1684620900.000100"},
        {"type": "message", "subtype": "bot_message", "username": "bot", "text": "done", "ts": "1684620903"},
        {**common, "text": "", "files": [{"id": "F"}], "ts": "1684620904.0"},
    ]  # fmt: skip
    write("export/general/2023-05-20.json", day)
    write("export/random/2023-05-20.json", day[:1])
    records = list(read_path(tmp_path / "export"))
    rows = [record for record in records if not isinstance(record, Skipped)]
    expected = [("Ann", "Hi @bob, see this (https://x.org) & that"), ("bob", "ok"), ("bot", "done")]
    assert said(rows) == [*expected, expected[0]]
    assert [row.fields["session_id"] for row in rows] == ["general", "general", "general", "random"]
    assert rows[0].fields["occurred_at"] == NIGHT.replace(microsecond=100)
    assert [record.location for record in records if isinstance(record, Skipped)] == [
        "channels.json", "general/2023-05-20.json[1]", "general/2023-05-20.json[4]", "users.json",
    ]  # fmt: skip


def test_words_of_slack_that_stand_in_blocks_and_attachments(write, tmp_path):
    write("export/users.json", [{"id": "U1", "name": "ann"}])
    rich = {
        "type": "rich_text",
        "elements": [
            {"type": "rich_text_section", "elements": [
                {"type": "text", "text": "Ship it, "}, {"type": "user", "user_id": "U1"},
                {"type": "text", "text": ": "}, {"type": "link", "url": "https://x.org"},
            ]},
            {"type": "rich_text_list", "elements": [
                {"type": "rich_text_section", "elements": [{"type": "text", "text": "one"}]},
                {"type": "rich_text_section", "elements": [{"type": "text", "text": "two"}]},
            ]},
        ],
    }  # fmt: skip
    section = {
        "type": "section",
        "text": {"type": "mrkdwn", "text": "Deploy of <https://x.org|api>"},
        "fields": [{"type": "mrkdwn", "text": "it took 3 min"}],
    }
    built = {"title": "Build 7", "text": "passed", "fields": [{"title": "branch", "value": "main"}]}
    common = {"type": "message", "user": "U1", "text": ""}
    day = [
        {**common, "ts": "1684620900.0", "blocks": [rich]},
        {**common, "ts": "1684620901.0", "blocks": [{"type": "divider"}, section]},
        {**common, "ts": "1684620902.0", "attachments": [built, {"fallback": "as plain text"}]},
        {**common, "ts": "1684620903.0", "text": "said", "attachments": [{"text": "a preview of a page"}]},
        {**common, "ts": "1684620904.0", "blocks": "none", "attachments": 7},
    ]
    write("export/general/2023-05-20.json", day)
    records = list(read_path(tmp_path / "export" / "general"))
    assert said([record for record in records if not isinstance(record, Skipped)]) == [
        ("ann", "Ship it, @ann: https://x.org\none\ntwo"),
        ("ann", "Deploy of api (https://x.org)\nit took 3 min"),
        ("ann", "Build 7\npassed\nbranch: main\nas plain text"),
        ("ann", "said"),
    ]


def test_telegram_export(write):
    rows, rejected = write(
        "result.json",
        {
            "name": "Ann", "type": "personal_chat", "id": 42,
            "messages": [
                {"id": 1, "type": "service", "date": "2023-05-20T22:14:00", "actor": "Ann", "text": ""},
                {"id": 2, "type": "message", "date": "2023-05-20T22:15:00", "from": "Ann", "from_id": "user1",
                 "text": ["see ", {"type": "link", "text": "x.org"}, "!"], "text_entities": []},
                {"id": 3, "type": "message", "from": "Bob", "photo": "p.jpg", "text": ""},
            ],
        },
    )  # fmt: skip
    assert not rejected
    assert said(rows) == [("Ann", "see x.org!")]
    assert (rows[0].fields["session_id"], rows[0].fields["occurred_at"]) == ("42", NIGHT)


def test_discord_export(write):
    document = {
        "guild": {"id": "1", "name": "G"},
        "channel": {"id": "7", "name": "general"},
        "messages": [
            {"id": "5", "type": "Default", "timestamp": "2023-05-20T22:15:00+00:00", "content": "hi",
             "author": {"id": "9", "name": "ann", "nickname": "Ann"}, "attachments": []},
        ],
    }  # fmt: skip
    rows, rejected = write("a.json", document)
    assert not rejected
    assert said(rows) == [("Ann", "hi")]
    assert (rows[0].fields["session_id"], rows[0].fields["occurred_at"]) == ("7", NIGHT)
    rows, _ = write("messages.csv", "ID,Timestamp,Contents,Attachments\n1,2023-05-20 22:15:00+00:00,hi,\n")
    assert rows[0].fields["text"] == "hi"


def mail(subject, body, html=None, **headers):
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "Ann Bö <ann@x.org>", "bob@x.org", subject
    message["Date"] = "Sat, 20 May 2023 22:15:00 +0000"
    for name, value in headers.items():
        message[name.replace("_", "-")] = value
    message.set_content(body, charset="iso-8859-1") if body else None
    if html:
        message.add_alternative(html, subtype="html")
    return message.as_bytes()


def test_mailbox(write):
    letters = [
        mail("Käse", "Grüße\n=aus Köln", Message_ID="<1@x>"),
        mail("Re: Käse", "Danke", Message_ID="<2@x>", References="<1@x>", In_Reply_To="<1@x>"),
        mail("Page", "", html="<p>Hello <b>you</b></p><script>no()</script>", Message_ID="<3@x>"),
        b"From: x@y.z\nContent-Type: text/plain; charset=nonsense\n\ncaf\xe9 au lait",
        b"From: x@y.z\nSubject: empty\n\n",
    ]
    content = b"".join(b"From ann@x.org Sat May 20 22:15:00 2023\n" + each + b"\n\n" for each in letters)
    rows, rejected = write("all.mbox", content)
    assert not rejected
    assert [row.fields["text"] for row in rows] == ["Grüße\n=aus Köln", "Danke", "Hello you", "café au lait"]
    assert [row.fields.get("title") for row in rows] == ["Käse", "Re: Käse", "Page", None]
    assert [row.fields["session_id"] for row in rows[:3]] == ["<1@x>", "<1@x>", "<3@x>"]
    assert (rows[0].fields["speaker"], rows[0].fields["occurred_at"]) == ("Ann Bö", NIGHT)
    assert json.loads(rows[0].fields["metadata"])["to"] == ["bob@x.org"]


def test_one_mail_and_what_is_no_mailbox(write):
    rows, _ = write("a.eml", mail("Long", "word " * 500, Message_ID="<1@x>"))
    assert len(rows) == 3
    assert all(len(row.fields["text"]) <= 1000 for row in rows)
    with pytest.raises(UnreadableError, match=r"a\.mbox: is not a mailbox"):
        write("a.mbox", b"nothing of the kind")


def test_html(write):
    page = """<!DOCTYPE html><html><head><title>The &amp; Guide</title><style>p {}</style>
    <meta property="article:published_time" content="2023-05-20T22:15:00Z"></head><body>
    <p>Intro   with
    <b>bold</b>.<h1>Install</h1><p>One<br>two</p><ul><li>a<li>b</ul><script>x < y</script>
    <h2>Linux</h2><table><tr><td>k<td>v</tr></table><pre>  x
    y</pre></body></html>"""
    rows, rejected = write("a.html", page)
    assert not rejected
    assert [(row.fields["title"], row.fields["text"]) for row in rows] == [
        ("The & Guide", "Intro with bold."),
        ("Install", "One\ntwo\n\n- a\n- b"),
        ("Install › Linux", "k\tv\n\nx\ny"),
    ]
    assert {row.fields["occurred_at"] for row in rows} == {NIGHT}
    rows, _ = write("b.html", "<meta charset=koi8-r><p>привет мир".encode("koi8-r"))
    assert rows[0].fields["text"] == "привет мир"


def archive(path, files):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as out:
        for name, content in files.items():
            out.writestr(name, content)


def test_archives_are_read_like_folders(tmp_path):
    archive(tmp_path / "inner.zip", {"deep.txt": "deep"})
    export = {
        "users.json": json.dumps([{"id": "U1", "real_name": "Ann"}]),
        "general/2023-05-20.json": json.dumps(
            [{"type": "message", "user": "U1", "text": "hi", "ts": "1684620900.0"}]
        ),
        "b/notes.md": "# Ships\nA ship sails.",
        "inner.zip": (tmp_path / "inner.zip").read_bytes(),
        "x.png": b"x",
    }
    archive(tmp_path / "all.zip", export)
    (tmp_path / "inner.zip").unlink()
    rows = [record for record in read_path(tmp_path) if not isinstance(record, Skipped)]
    assert [(row.fields["source"], row.fields["text"]) for row in rows] == [
        ("all.zip/b/notes.md", "A ship sails."),
        ("all.zip/general/2023-05-20.json", "hi"),
        ("all.zip/inner.zip/deep.txt", "deep"),
    ]
    assert rows[1].fields["speaker"] == "Ann"


@pytest.mark.parametrize(
    "name", ["../out.txt", "/etc/out.txt", "a/../../out.txt", "C:/out.txt", "..\\out.txt"]
)
def test_archives_write_nowhere_else(tmp_path, name):
    archive(tmp_path / "a.zip", {name: "x"})
    with pytest.raises(UnreadableError, match="a path that leads out of it"):
        list(read_path(tmp_path / "a.zip"))
    assert not (tmp_path / "out.txt").exists()


def test_archives_have_limits(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "FREE_BYTES", 1000)
    archive(tmp_path / "bomb.zip", {"a.txt": "x" * 1_000_000})
    with pytest.raises(UnreadableError, match="more than 200 times its size"):
        list(read_path(tmp_path / "bomb.zip"))
    monkeypatch.setattr(archives, "MOST_FILES", 2)
    archive(tmp_path / "many.zip", {"a.txt": "", "b.txt": "", "c.txt": ""})
    with pytest.raises(UnreadableError, match="holds 3 files, more than 2"):
        list(read_path(tmp_path / "many.zip"))
    content = b"x"
    for _ in range(5):
        archive(tmp_path / "deep.zip", {"a.zip": content, "b.txt": "x"})
        content = (tmp_path / "deep.zip").read_bytes()
    with pytest.raises(UnreadableError, match="more than 3 deep"):
        list(read_path(tmp_path / "deep.zip"))
    for damaged in (b"PK", content[:40], content[:60] + b"\0" * 20 + content[80:]):
        (tmp_path / "bad.zip").write_bytes(damaged)
        with pytest.raises(UnreadableError, match=r"bad\.zip"):
            list(read_path(tmp_path / "bad.zip"))


def test_links_in_archives_are_left_out(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as out:
        link = zipfile.ZipInfo("link.txt")
        link.external_attr = 0o120777 << 16
        out.writestr(link, "/etc/passwd")
        out.writestr("a.txt", "kept")
    assert [row.fields["text"] for row in read_path(tmp_path / "a.zip")] == ["kept"]


@pytest.mark.parametrize(
    ("message", "hour"),
    [
        ({"date": "2024-05-01T12:00:00", "date_unixtime": "1714557600"}, 10),
        ({"date": "2024-05-01T12:00:00", "date_unixtime": 1714557600}, 10),
        ({"date": "2024-05-01T12:00:00", "date_unixtime": "?"}, 12),
        ({"date": "2024-05-01T12:00:00"}, 12),
        ({"created": "2024-05-01T12:00:00", "created_utc": 1714557600}, 10),
        ({"time": "2024-05-01T12:00:00", "timestamp_ms": 1714557600000}, 10),
    ],
)
def test_of_two_times_the_exact_one_counts(write, message, hour):
    said_ = {"id": 1, "type": "message", "from": "Ann", "from_id": "user1", "text": "hello", **message}
    rows, _ = write("result.json", {"name": "Ann", "type": "personal_chat", "id": 42, "messages": [said_]})
    assert rows[0].fields["occurred_at"] == datetime(2024, 5, 1, hour, tzinfo=timezone.utc)
