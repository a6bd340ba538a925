"""Keyword search reads characters as people do, in every language."""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aios_db.search.analyzer import Analyzer, merged
from aios_db.search.languages import TOLD_APART, detect
from aios_db.search.lexicon import Lexicon
from aios_db.search.normal_form import cleaned, folded
from aios_db.search.words import parse, tokens
from tests.search.conftest import Tables

# A text, a query that must find it before all the other texts of this list, and one that must not find it.
CASES = [
    ("The painter lived on the coast", "painters", "coastal guard"),
    ("Frau Müller wohnt in der Nähe", "Mu\u0308ller", "Malle"),
    ("Herr Schröder ist nicht da", "Schroder", "Schrank"),
    ("Die Brücke über den Fluss ist alt", "Bruecke", "Brust"),
    ("Die Häuser an der Straße sind alt", "STRASSE", "Strauch"),
    ("Der Zug hat wieder Verspätung und ich warte", "Züge", "Zucker"),
    ("Les élèves sont à l\u2019école", "ecole", "col"),
    ("Nous avons mangé des crêpes à midi", "crepe", "crevette"),
    ("¿Dónde están los niños de la escuela nueva?", "ninos", "nieve"),
    ("As crianças não estão na praça com o cão", "crianca", "cria"),
    ("Perché la città è così bella", "citta", "cit"),
    ("Hij heeft de fietsen naar de kelder gebracht", "fiets", "fi"),
    ("Jag har inte sett älgen i skogen", "alg", "algebra"),
    ("Jeg har ikke lest bøkene om fjorden", "bøker", "bak"),
    ("Minä en ole nähnyt järveä tänä kesänä", "JÄRVEÄ", "jar"),
    ("A macskák nem szeretik a hideg vizet és a tűzoltót", "tuzolto", "tuz"),
    ("Nu am văzut pădurea și nici râul", "padurea", "pa"),
    ("İstanbul'da ışıklar yandı", "istanbul", "stan"),
    ("ISPARTA çok güzel bir şehir", "ısparta", "spar"),
    ("Nie wiem, gdzie jest żółta łódź", "zolta lodz", "zol"),
    ("Příliš žluťoučký kůň", "zlutoucky kun", "zlu"),
    ("Tôi sống ở Đà Nẵng", "Da Nang", "Dan"),
    ("Мы купили новую ёлку вчера", "елка", "ел"),
    ("Кошки спали на диване", "кошка", "кот"),
    ("Я живу в старом городе", "города", "огород"),
    ("Kızlar bahçede oynuyor ama çok geç", "kız", "kısa"),
    ("Oraşul este frumos şi vechi", "oraș", "ora"),
    ("Kočky spí na gauči a nejedí, protože", "kočka", "koč"),
    ("ذهبت إلى المدرسة أمس", "مدرسة", "مدير"),
    ("شربنا القهوة في الجامعة", "قهوة جامعة", "جمع"),
    ("درختان بلند است که", "درخت", "دره"),
    ("Η θάλασσα είναι γαλάζια", "ΘΑΛΑΣΣΑ", "θάλαμος"),
    ("قرأت كِتَابًا جميلاً أمس", "كتاب", "كلب"),
    ("السـلام عليكم يا أحمد", "احمد", "حمد"),
    ("این کتاب می\u200cخواهم را دوست دارم", "می خواهم", "خواب"),
    ("שָׁלוֹם לכולם", "שלום", "שלומית"),
    ("הוא שירת בצה\u05f4ל שנתיים", 'בצה"ל', "בצל"),
    ("मुझे हिन्दी किताबें पसंद हैं", "हिन्दी", "हिंसा"),
    ("वह बाज़ार गया", "बाजार", "बाज"),
    ("আমি বাংলা পড়ি", "বাংলা", "বল"),
    ("நான் தமிழ் படிக்கிறேன்", "தமிழ்", "தம"),
    ("నేను తెలుగు చదువుతాను", "తెలుగు", "తల"),
    ("ฉันอยากกินข้าวผัด", "ข้าวผัด", "เขา"),
    ("ຂ້ອຍຮັກປະເທດລາວ", "ລາວ", "ລິງ"),
    ("ខ្ញុំចូលចិត្តភាសាខ្មែរ", "ភាសា", "ផ្លែ"),
    ("မြန်မာစာကို လေ့လာသည်", "မြန်မာစာ", "ရေ"),
    ("བོད་སྐད་ཡག་པོ་འདུག", "སྐད", "ཆུ"),
    ("我住在北京的朝阳区", "北京", "南京"),
    ("古字𠮷野家と𩸽の話", "𩸽", "𠀋"),
    ("ﾊﾝｶｸのカナ文字", "ハンカク", "半額"),
    ("がぎぐげご食堂", unicodedata.normalize("NFD", "がぎぐげご"), "かきく"),
    ("서울에서 친구를 만났다", unicodedata.normalize("NFD", "서울"), "부산"),
    ("Ես ապրում եմ Երևանում", "ԵՐԵՒԱՆՈՒՄ", "Գյումրի"),
    ("მე მიყვარს თბილისი", "თბილისი", "ბათუმი"),
    ("አዲስ አበባ ቆንጆ ከተማ ናት", "አበባ", "ጎንደር"),
    ("Ｆｕｌｌ－ｗｉｄｔｈ ｓｃｒｅｅｎ", "full-width screen", "height"),
    ("The oﬃce has a ﬁreplace", "fireplace", "fire"),
    ("A co\u00adoper\u200bation treaty", "cooperation", "opera"),
    ("She doesn\u2019t like O\u2019Brien", "obrien", "brie"),
    ("Send me an e\u2011mail tomorrow", "email", "snail"),
    ("The Wi-Fi password is in the drawer", "wifi", "wig"),
    ("We parse it with parseHttpHeader only", "http header", "httpd"),
    ("Set max_retry_count to nine", "maxretrycount", "maximal"),
    ("Logs are in /var/log/syslog.1 there", "syslog", "slog"),
    ("Write to jane.roe@example.org please", "jane.roe@example.org", "rowing.net"),
    ("See https://docs.python.example/library/index", "docs.python", "cobra"),
    ("The budget is 1,234,567 kroner", "1234567", "12345"),
    ("Pi is about 3.14159 they say", "3.14159", "4159"),
    ("Das Grundstück kostet 250.000 Mark und ist groß", "250000", "250001"),
    ("Le loyer est de 98\u202f765 francs", "98765", "98766"),
    ("الغرفة رقم ٤٥٦ محجوزة", "456", "465"),
    ("She writes C++ for a living", "C++", "C#"),
    ("He prefers C# at work", "c#", "C++"),
    ("Our service runs on .NET these days", ".NET", "netto"),
    ("Statistics in R and nothing else", "R", "S"),
    ("A 4K monitor on the desk", "4k", "5k"),
    ("Coffee costs $5 here", "$5", "$6"),
    ("Room № 77 is upstairs", "№77", "№78"),
    ("Made in the U.S.A. long ago", "USA", "USB"),
    ("AT&T raised prices", "AT&T", "ABT"),
    ("Great party 🎉 tonight", "🎉", "🎈"),
    ("Team 🇯🇵 won", "🇯🇵", "🇯🇲"),
    ("I ❤️ this song", "❤", "💔"),
    ("Thumbs up 👍🏽 from me", "👍", "👎"),
    ("The Who", "the who", "pinball"),
    ("Who are you?", "who are you?", "which"),
    ("to be or not to be", "to be or not to be", "beetle"),
    ("Wer bist du?", "wer bist du", "biest"),
    ("¿Quién eres tú?", "quién eres tú", "quiebra"),
    ("I'll be there", "I'll", "ill"),
    ("The child was ill again", "ill", "pill"),
]


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> Tables:
    tables = Tables(tmp_path_factory.mktemp("words"))
    tables.remember(*({"memory_id": f"{i:03}", "text": text} for i, (text, _, _) in enumerate(CASES)))
    return tables


@pytest.mark.parametrize("case", range(len(CASES)), ids=[text[:30] for text, _, _ in CASES])
def test_a_query_finds_its_text_first_and_another_does_not(cases: Tables, case: int) -> None:
    text, query, other = CASES[case]
    assert cases.names(cases.index.keyword_search(query, 3).row_ids)[:1] == [f"{case:03}"]
    assert f"{case:03}" not in cases.names(cases.index.keyword_search(other, 100).row_ids), text


def test_the_exact_spelling_comes_first(tables: Tables) -> None:
    tables.remember(
        {"memory_id": "plain", "text": "Muller spoke"}, {"memory_id": "umlaut", "text": "Müller spoke"}
    )
    assert tables.names(tables.index.keyword_search("Müller", 2).row_ids) == ["umlaut", "plain"]
    assert tables.names(tables.index.keyword_search("Muller", 2).row_ids) == ["plain", "umlaut"]


def test_a_rebuilt_index_and_a_saved_one_answer_like_the_live_one(tables: Tables, tmp_path: Path) -> None:
    texts = [text for text, _, _ in CASES]
    tables.remember(*({"memory_id": f"{i:03}", "text": text} for i, text in enumerate(texts)))
    for i in (1, 3, 4, 5):
        tables.forget(f"{i:03}")
    rebuilt = type(tables.index).open(None, tables.index.dimension)
    rebuilt.sync(tables.memories, tables.links)

    def answers(index):
        found = [index.keyword_search(query, 5) for _, query, _ in CASES]
        return [(hits.row_ids.tolist(), hits.scores.tolist()) for hits in found]

    live = answers(tables.index)
    tables.index.save()
    for one, other, saved in zip(live, answers(rebuilt), answers(tables.index), strict=True):
        assert one[0] == other[0] == saved[0]
        for scores in (other[1], saved[1]):
            assert one[1] == pytest.approx(scores, abs=1e-6)


def test_the_language_is_the_database_s_when_it_is_set(tables: Tables) -> None:
    tables.remember({"memory_id": "a", "text": "Häuser"}, {"memory_id": "b", "text": "Garten"})
    tables.index.save()
    german = type(tables.index).open(tables.path / "index", tables.index.dimension, "german")
    assert len(german) == 0  # the segment was made in another language
    german.sync(tables.memories, tables.links)
    assert len(german) == 2
    assert german.keyword_search("Haus", 2).row_ids.tolist() == [tables.row("a")]
    german.save()
    assert len(type(german).open(tables.path / "index", german.dimension, "german")) == 2


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Where did she go with the dog?", "english"),
        ("Das Auto steht in der Garage", "german"),
        ("Le chat dort sur la table", "french"),
        ("El perro está en la casa", "spanish"),
        ("Il gatto è sul tavolo della cucina", "italian"),
        ("O cão não está na cozinha", "portuguese"),
        ("De kat ligt op het bed en slaapt", "dutch"),
        ("Hunden är inte i köket", "swedish"),
        ("Kissa ei ole keittiössä, mutta koira on", "finnish"),
        ("A kutya nem a házban van", "hungarian"),
        ("Köpek bir ev için çok büyük", "turkish"),
        ("Nie wiem, gdzie jest pies", "polish"),
        ("Rumah itu tidak besar dan kami suka", "indonesian"),
        ("Kočky spí na gauči a nejedí, protože", "czech"),
        ("Oraşul este frumos şi vechi", "romanian"),
        ("Orașele sunt frumoase și vechi", "romanian"),
        ("درختان بلند است که", "persian"),
        ("می\u200cخواهم به خانه بروم", "persian"),
        ("ذهبت إلى المدرسة أمس", None),  # by its script
        ("Los Angeles", None),
        ("Die Hard", None),
        ("Müller", None),
        ("", None),
    ],
)
def test_languages_are_told_apart(text: str, language: str | None) -> None:
    assert detect(tokens(text), text) == language


# Forms of one word with letters that the normal form merges with others.
FORMS = {
    "arabic": "المدرسة مدرسة، المجلة مجلة، وبالمدينة مدينة، المستشفى مستشفى، شجرته شجرة، الكتاب كتابه",
    "turkish": "kızlar kız, ışıklar ışık, kapılar kapıları, kitaplar kitap, balıkçılar balıkçı, evler ev",
    "romanian": "oraşul oraș, orașul oraş, ţară țară",
    "catalan": "col·legi col·legis, col·legi collegis",
    "persian": "درختان درخت، کتاب\u200cها کتاب",
    "german": "Häuser Haus, Straßen STRASSE",
    "russian": "ёжики ёжик",
    "hindi": "लड़कियाँ लड़की",
    "greek": "ΓΑΤΕΣ γάτα",
}


@pytest.mark.parametrize(
    ("language", "pair"),
    [(language, pair) for language, pairs in FORMS.items() for pair in re.split("[,،] ", pairs)],
)
def test_folding_takes_no_letter_from_a_stemmer_that_it_needs(language: str, pair: str) -> None:
    one, other = pair.split()
    lexicon = Lexicon(language)
    held = {*lexicon.words[one], *lexicon.others[one]}
    assert held & {term for word in parse(cleaned(other)).words for term in lexicon.forms(word)}


ANALYZERS = {language: Analyzer(language) for language in ("auto", "german", "persian")}
TEXTS = st.text(
    st.one_of(st.characters(exclude_categories=()), st.sampled_from("aÄßİı'’-‑.,1٣が한ไำ🎉\u0301\u00ad"))
)


@settings(deadline=None)
@given(TEXTS)
def test_the_normal_form_is_its_own(text: str) -> None:
    assert folded(folded(text)) == folded(text)
    assert cleaned(cleaned(text)) == cleaned(text)


@settings(deadline=None)
@given(
    TEXTS.filter(lambda text: not {"\u2122", "\u2120"} & set(text)),
    st.sampled_from(["NFC", "NFD", "NFKC", "NFKD"]),
)
def test_normalised_variants_are_the_same(text: str, form: str) -> None:
    assert folded(unicodedata.normalize(form, text)) == folded(text)


@settings(deadline=None)
@given(st.text(st.characters(exclude_categories=())), st.sampled_from(list(ANALYZERS)))
def test_any_text_can_be_analysed(text: str, language: str) -> None:
    analyzer = ANALYZERS[language]
    analyzed = analyzer.terms([text, "a b", text])
    assert len(analyzed.terms) == analyzed.counts.sum() <= 2 * (20 * len(text) + 4)
    assert (analyzed.lengths <= analyzed.counts).all()
    assert analyzed.counts[0] == analyzed.counts[2]
    sought = merged(analyzer.query(text, range(len(TOLD_APART))))
    assert all(0 < weight <= 1 for weight in sought.values())
    if any(map(str.isalnum, folded(text))):
        assert sought.keys() & set(analyzed.terms.tolist())


@settings(deadline=None)
@given(st.text(st.characters(categories=("Lu", "Ll", "Lo", "Mn", "Nd", "Po", "Zs"))))
def test_a_text_is_found_by_each_of_its_words(text: str) -> None:
    analyzer = ANALYZERS["auto"]
    held = set(analyzer.terms([text]).terms.tolist())
    for token in tokens(cleaned(text)):
        assert parse(token).words
        for word in analyzer.query(token, range(len(TOLD_APART))):
            assert word.keys() & held
