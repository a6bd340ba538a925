"""Deleted messages, media and notices of messengers, in many languages, are skipped with the reason."""

from __future__ import annotations

import pytest

import aios_db
from aios_db.importers import Skipped, import_files, read_path
from aios_db.importers.messengers import why_wordless

DELETED = [
    "This message was deleted", "You deleted this message.", "This message was deleted by admin Ann",
    "Diese Nachricht wurde gelöscht", "Diese Nachricht wurde gelöscht.", "Du hast diese Nachricht gelöscht.",
    "Se eliminó este mensaje.", "Eliminaste este mensaje.", "Este mensaje fue eliminado",
    "Ce message a été supprimé", "Vous avez supprimé ce message", "Tu as supprimé ce message.",
    "Mensagem apagada", "Esta mensagem foi apagada", "Você apagou esta mensagem", "Eliminou esta mensagem",
    "Essa mensagem foi apagada", "Você apagou essa mensagem.",
    "Questo messaggio è stato eliminato", "Hai eliminato questo messaggio.",
    "Dit bericht is verwijderd", "Je hebt dit bericht verwijderd.", "U heeft dit bericht verwijderd",
    "Det här meddelandet har tagits bort", "Du raderade det här meddelandet", "Denne besked blev slettet",
    "Denne meldingen ble slettet", "Tämä viesti poistettiin", "Ta wiadomość została usunięta",
    "Это сообщение удалено", "Вы удалили это сообщение", "Данное сообщение удалено",
    "Bu mesaj silindi",
    "Bu mesajı sildiniz", "Pesan ini telah dihapus",
    "تم حذف هذه الرسالة", "הודעה זו נמחקה",
    "このメッセージは削除されました", "此消息已删除", "此訊息已刪除", "삭제된 메시지입니다",
]  # fmt: skip
MEDIA = [
    "<Media omitted>", "image omitted", "<Medien ausgeschlossen>", "Bild weggelassen", "Audio weggelassen",
    "<Multimedia omitido>", "imagen omitida", "sticker omitido", "<Médias omis>", "image absente",
    "<Arquivo de mídia oculto>",
    "<Ficheiro não revelado>", "<Mídia oculta>", "imagem ocultada", "áudio ocultado",
    "<Media omessi>", "immagine omessa", "<Media weggelaten>", "afbeelding weggelaten", "<Без медиафайлов>",
    "<Файл пропущен>", "<Medya dahil edilmedi>", "<Media tidak disertakan>", "<メディアは含まれていません>",
    "<省略多媒体文件>", "<미디어 파일을 생략한 대화내용>", "null",
]  # fmt: skip
NOTICES = [
    "Messages and calls are end-to-end encrypted. No one outside of this chat can read them.",
    "Nachrichten und Anrufe sind Ende-zu-Ende-verschlüsselt. Niemand außerhalb kann sie lesen.",
    "Los mensajes y las llamadas están cifrados de extremo a extremo.",
    "Les messages et les appels sont chiffrés de bout en bout. Personne d'autre ne peut les lire.",
    "As mensagens e as ligações são protegidas com a criptografia de ponta a ponta.",
    "I messaggi e le chiamate sono crittografati end-to-end.",
    "Berichten en oproepen worden end-to-end versleuteld.", "Missed voice call", "Verpasster Sprachanruf",
]  # fmt: skip
SAID = [
    "This message was deleted, why?", "Warum wurde diese Nachricht gelöscht?", "Why image omitted?",
    "Messages are fun", "<3", "The image is on the wall", "Mensagem", "null and void", "audio",
]  # fmt: skip


@pytest.mark.parametrize("phrases", [("deleted", DELETED), ("no words, only media", MEDIA)])
def test_what_stands_for_words_is_skipped_in_every_language(phrases):
    reason, given = phrases
    spellings = [
        f"{mark}{text}{end}" for text in given for mark in ("", "\u200e", "\u200f") for end in ("", ".")
    ]
    assert {text: why_wordless(text.replace("..", ".")) for text in spellings} == dict.fromkeys(
        spellings, reason
    )


def test_notices_under_a_name_are_events_and_what_quotes_a_phrase_is_said():
    assert {text: why_wordless(text) for text in NOTICES} == dict.fromkeys(NOTICES, "an event, not a message")
    assert {text: why_wordless(text) for text in SAID} == dict.fromkeys(SAID)


def test_the_report_counts_what_an_export_skips(tmp_path):
    texts = [*DELETED, *MEDIA, *NOTICES]
    lines = [f"01.04.24, 09:00 - Bo: {text}" for text in ["hallo", *texts, "bis morgen", *SAID]]
    (tmp_path / "chat.txt").write_text("\n".join(lines))
    skipped = [each for each in read_path(tmp_path / "chat.txt") if isinstance(each, Skipped)]
    assert len(skipped) == len(texts)
    with aios_db.connect(tmp_path / "a.aios") as con:
        report = import_files(con, [tmp_path / "chat.txt"])
        assert (report.stored, report.skipped, report.rejected) == (2 + len(SAID), len(texts), 0)
        stored = {text for (text,) in con.execute("SELECT text FROM memories").fetchall()}
    assert stored == {"hallo", "bis morgen", *SAID}


def test_an_edited_message_is_stored_without_the_note(write):
    rows, _ = write(
        "a.txt",
        "01.04.24, 09:00 - Bo: um vier <Diese Nachricht wurde bearbeitet>\n01.04.24, 09:01 - Al: ok\n",
    )
    assert [row.fields["text"] for row in rows] == ["um vier", "ok"]
