"""What messengers write in place of words, in their languages: deleted messages, media, notices.

The phrases are those of WhatsApp's exports. A message that consists of one of them holds nothing that somebody
said; one that only quotes such a phrase does, so a phrase must be the whole message.
"""

from __future__ import annotations

import re

# ruff: noqa: E501 - a line holds the phrases of a language
_MARKS = re.compile("[\u200b-\u200f\u202a-\u202e\u2060\u2066-\u2069\ufeff]")

_DELETED = (
    r"this message was deleted(?: by admin .*)?", r"you deleted this message(?: as admin)?", r"message deleted",
    r"diese nachricht wurde(?: von admin .*)? gelöscht", r"du hast diese nachricht(?: als admin)? gelöscht",
    r"se eliminó este mensaje", r"(?:este|el) mensaje (?:fue|ha sido) eliminado", r"(?:has )?elimina(?:ste|do) este mensaje",
    r"ce message a été supprimé", r"vous avez supprimé ce message", r"tu as supprimé ce message",
    r"(?:(?:esta|essa) )?mensagem (?:foi )?(?:apagada|eliminada)", r"(?:você )?(?:apagou|eliminou) (?:esta|essa) mensagem",
    r"questo messaggio è stato eliminato", r"hai eliminato questo messaggio", r"messaggio eliminato",
    r"dit bericht (?:is|werd) verwijderd", r"(?:je|u) (?:hebt|heeft) dit bericht verwijderd",
    r"(?:det här|detta) meddelandet? (?:har tagits bort|togs bort|raderades|har raderats)",
    r"du (?:tog bort|raderade) (?:det här|detta) meddelandet?",
    r"denne (?:besked|meldingen) (?:blev|er|ble) slettet", r"du slettede? denne (?:besked|meldingen)",
    r"tämä viesti (?:poistettiin|on poistettu)", r"(?:sinä )?poistit tämän viestin",
    r"ta wiadomość została usunięta", r"usunięto tę wiadomość", r"usunięta wiadomość", r"usunąłeś tę wiadomość",
    r"tato zpráva byla (?:smazána|odstraněna)", r"(?:smazal|odstranil)\w* jste tuto zprávu",
    r"acest mesaj a fost șters", r"ai șters acest mesaj", r"ez az üzenet törölve lett", r"törölted ezt az üzenetet",
    r"это сообщение удалено", r"данное сообщение удалено", r"вы удалили (?:это|данное) сообщение", r"сообщение удалено",
    r"це повідомлення (?:було )?видалено", r"ви видалили це повідомлення",
    r"bu mesaj silindi", r"bu mesajı sildiniz", r"αυτό το μήνυμα διαγράφηκε", r"διαγράψατε αυτό το μήνυμα",
    r"pesan ini telah dihapus", r"(?:anda|kamu) (?:telah )?menghapus pesan ini",
    r"यह मैसेज (?:डिलीट|मिटाया) .*", r"यह संदेश (?:हटा|मिटा).*", r"आपने यह (?:मैसेज|संदेश) .*",
    r"تم حذف هذه الرسالة", r"لقد حذفت هذه الرسالة", r"حذفت هذه الرسالة", r"הודעה זו נמחקה", r"מחקת הודעה זו",
    r"このメッセージは削除されました", r"このメッセージを削除しました", r"このメッセージは取り消されました",
    r"此消息已(?:被)?删除", r"你已?删除了?此消息", r"此訊息已(?:被)?刪除", r"您?你?已?刪除了?此訊息", r"该消息已被?删除",
    r"이 메시지는 삭제되었습니다", r"(?:회원님이 )?이 메시지를 삭제(?:했|하였)습니다", r"삭제된 메시지입니다",
)  # fmt: skip
_OMITTED = (
    r"omitted|ausgeschlossen|weggelassen|omitid[oa]s?|ocult(?:ad)?[oa]s?|não revelad[oa]s?|absente?s?|omise?s?|omess[oia]|weggelaten|utelämna(?:d|t|des)|utelatt"
    r"|udeladt|jätetty pois|pominięt[eoy]|vynechán[aoy]?|omis[eă]|kihagyva|dahil edilmedi|без медиафайлов"
    r"|(?:медиа)?файл\w* (?:пропущен|исключ[её]н)\w*|медіа пропущено|пропущено|παραλείφθηκ[εα]ν?"
    r"|tidak disertakan|disertakan|छोड़ा गया|हटाया गया|استبعاد|محذوف[ةه]?|הושמט[הו]?|省略(?:されました)?|已省略|已忽略|含まれていません|생략|제외됨?"
)
_KINDS = (
    r"image|video(?: note)?|audio|sticker|gif|document|contact card|photo|voice message|media"
    r"|bild|dokument|kontaktkarte|sprachnachricht|videonachricht|medien"
    r"|imagen|foto|documento|tarjeta de contacto|(?:archivo )?multimedia|nota de voz|vídeo"
    r"|document|fiche contact|carte de contact|médias?|autocollant|vidéo"
    r"|imagem|figurinha|cartão de contato|cartão do contato|arquivo de mídia|mídia|ficheiro|ficheiro de multimédia|áudio"
    r"|immagine|adesivo|scheda contatto|file multimediale|media|afbeelding|contactkaart"
)
_MEDIA = (
    rf"<[^<>]*(?:{_OMITTED}|attached)[^<>]*>",
    rf"(?:{_KINDS}) (?:nicht enthalten|(?:fue )?{_OMITTED})",
    r"(?:تم )?استبعاد الوسائط", r"null",
)  # fmt: skip
# Said by nobody, though exports for iOS put the group's name before them; and calls.
_NOTICES = (
    r"(?:messages and calls|messages to this (?:chat|group)[^.]*) are (?:now )?(?:end-to-end encrypted|secured with end-to-end).*",
    r"(?:nachrichten und anrufe|nachrichten in diesem chat).* ende-zu-ende-verschlüsselt.*",
    r"(?:los mensajes y las llamadas|los mensajes).* cifrad[oa]s de extremo a extremo.*",
    r"les messages et (?:les )?appels sont chiffrés de bout en bout.*",
    r"as mensagens e (?:as )?(?:chamadas|ligações) são (?:protegidas com a criptografia|encriptadas) (?:de )?ponta a ponta.*",
    r"as mensagens e ligações são protegidas com a criptografia de ponta a ponta.*",
    r"i messaggi e le chiamate sono crittografati end-to-end.*",
    r"berichten en (?:gesprekken|oproepen) (?:zijn|worden) end-to-end(?: |-)?versleuteld.*",
    r"missed (?:voice|video|group (?:voice|video)) call", r"verpasster (?:sprach|video)anruf",
    r"llamada perdida|(?:video)?llamada(?: de voz| grupal)? perdida", r"appel (?:vocal|vidéo) manqué",
    r"(?:chamada|ligação)(?: de voz| de vídeo)? perdida", r"chiamata (?:vocale |video)?persa", r"(?:video|chiamata )?chiamata persa",
    r"gemiste (?:spraak|video)oproep", r"waiting for this message\. this may take a while",
    r"(?:warte|warten) auf diese nachricht\. (?:dies|das) kann (?:eine weile|etwas) dauern",
)  # fmt: skip
_EDITED = re.compile(
    r"\s*<(?:this message was edited|diese nachricht wurde bearbeitet|se editó este mensaje|ce message a été modifié"
    r"|(?:essa|esta) mensagem foi editada|mensagem editada|questo messaggio è stato modificato|dit bericht is bewerkt)>\s*$",
    re.IGNORECASE,
)


def _any(phrases: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile(f"(?:{'|'.join(phrases)})\\s?[.。।]?", re.IGNORECASE | re.DOTALL)


_IS_DELETED, _IS_MEDIA, _IS_NOTICE = _any(_DELETED), _any(_MEDIA), _any(_NOTICES)


def without_marks(text: str) -> str:
    """Return a message without the program's note that it was edited."""
    return _EDITED.sub("", text)


def why_wordless(text: str) -> str | None:
    """Return why a message holds nothing that somebody said; None when it does."""
    shown = " ".join(_MARKS.sub("", text).replace("\u2019", "'").split())
    if len(shown) > 500:
        return None
    if _IS_DELETED.fullmatch(shown):
        return "deleted"
    if _IS_MEDIA.fullmatch(shown):
        return "no words, only media"
    return "an event, not a message" if _IS_NOTICE.fullmatch(shown) else None
