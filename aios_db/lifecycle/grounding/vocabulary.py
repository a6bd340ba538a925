# ruff: noqa: E501, SIM905 - a list of words is one text
"""Words of some languages that the check of a text against its sources knows; another language is more words here."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from aios_db.lifecycle.salience import EVERY_STOP_WORD

DENIALS = frozenset(
    "not no never none nobody nothing nowhere neither nor cannot without nicht kein keine keinen keinem keiner keines nie niemals niemand nichts weder ohne nirgends".split()
)
"""Words that turn round what a clause says, and of which two say it; `n't` at a word's end does, too."""
AGREEING_DENIALS = frozenset(
    "pas jamais aucun aucune rien personne sans ni non no nunca jamás nadie nada ninguno ninguna ningún sin tampoco".split()
)
"""Words that do so together: one of them or more."""
DENYING_SIGNS = ("不", "没", "沒", "未", "无", "無", "别", "別", "非")
"""The same in Chinese."""
HEDGES = tuple(
    "refus declin avoid fail unable unwilling impossible disallow dislik against lack stop quit instead rather hardly barely except former anymore forbid forbad only free skip ended cancel nur statt lehnt mehr verzicht vermeid ablehn aufgehört kaum verbot évit plus cess lieu interdi rehus evit dej ya vez prohib 拒绝 避免 只 禁止".split()
)
"""Beginnings of words that may deny without a word of denial: with one of them, neither is held against a clause."""
BY = frozenset("by from von durch par por".split())
"""Words before who does something, where who it is done to stands first."""
TURNING = BY | frozenset("of de du des d".split())
"""Words that turn round the order of two names."""
RECEIVING = (
    "borrow",
    "got",
    "receiv",
    "bought",
    "learn",
    "bekam",
    "bekomm",
    "gekauft",
    "reçu",
    "recibi",
    "leih",
)
"""Beginnings of words by which the other one of two is named first than by giving, lending and the like."""
GIVING = (
    "gave",
    "give",
    "lent",
    "lend",
    "sold",
    "sell",
    "taught",
    "teach",
    "sent",
    "gab",
    "verk",
    "verlieh",
    "donné",
    "dio",
)
"""The same of these."""
RELATIVES: Mapping[str, tuple[int, int]] = MappingProxyType(
    {
        **dict.fromkeys(["today", "tonight", "heute", "aujourd'hui", "hoy", "今天"], (0, 0)),
        **dict.fromkeys(["yesterday", "gestern", "hier", "ayer", "昨天"], (-1, -1)),
        **dict.fromkeys(["tomorrow", "morgen", "demain", "mañana", "明天"], (1, 1)),
        **dict.fromkeys(
            ["week", "weekend", "woche", "wochenende", "semaine", "semana", "周", "星期"], (-14, 14)
        ),
        **dict.fromkeys(["month", "monat", "mois", "mes", "月"], (-62, 62)),
    }
)
"""First and last day, from when it was said, that a word may mean."""


def _numbered(text: str) -> Mapping[str, int]:
    found: dict[str, int] = {}
    for line in text.strip().splitlines():
        number, *words = line.casefold().split()
        found |= dict.fromkeys(words, int(number))
    return MappingProxyType(found)


MONTHS = _numbered("""
1 january jan januar janvier enero
2 february feb februar février febrero
3 march mar märz mars marzo
4 april apr avril abril
5 may mai mayo
6 june jun juni juin junio
7 july jul juli juillet julio
8 august aug août agosto
9 september sep sept septembre septiembre
10 october oct oktober octobre octubre
11 november nov novembre noviembre
12 december dec dezember décembre diciembre
""")
WEEKDAYS = _numbered("""
0 monday mondays montag montags lundi lunes 星期一 周一
1 tuesday tuesdays dienstag dienstags mardi martes 星期二 周二
2 wednesday wednesdays mittwoch mittwochs mercredi miércoles 星期三 周三
3 thursday thursdays donnerstag donnerstags jeudi jueves 星期四 周四
4 friday fridays freitag freitags vendredi viernes 星期五 周五
5 saturday saturdays samstag samstags sonnabend samedi sábado 星期六 周六
6 sunday sundays sonntag sonntags dimanche domingo 星期日 周日 星期天
""")
NUMBERS = _numbered("""
2 two zwei deux dos twice both 两 二
3 three drei trois tres thrice 三
4 four vier quatre cuatro 四
5 five fünf cinq cinco 五
6 six sechs seis 六
7 seven sieben sept siete 七
8 eight acht huit ocho 八
9 nine neun neuf nueve 九
10 ten zehn dix diez 十
11 eleven elf onze once
12 twelve zwölf douze doce dozen dutzend douzaine docena 十二
13 thirteen dreizehn treize trece
14 fourteen vierzehn quatorze catorce
15 fifteen fünfzehn quinze quince 十五
16 sixteen sechzehn seize dieciséis
17 seventeen siebzehn
18 eighteen achtzehn
19 nineteen neunzehn
20 twenty zwanzig vingt veinte 二十
30 thirty dreißig trente treinta 三十
40 forty vierzig quarante cuarenta
50 fifty fünfzig cinquante cincuenta
60 sixty sechzig soixante sesenta
70 seventy siebzig setenta
80 eighty achtzig ochenta
90 ninety neunzig noventa
100 hundred hundert cent cien
1000 thousand tausend mille mil
""")
_UNITS = """
eur € euro euros eur 欧元
usd $ dollar dollars usd dólares 美元
gbp £ pound pounds pfund
cny ¥ yuan 元 块
pct % percent prozent pourcent porcentaje
km km kilometer kilometers kilometre kilometres kilomètre kilomètres kilómetro kilómetros 公里
mile mile miles mi meile meilen
m meter meters metre metres mètre mètres metro metros 米
kg kg kilo kilos kilogram kilograms kilogramm 公斤
g gram grams gramm gramme grammes gramo gramos
minute minute minutes min minuten minuto minutos 分钟
second second seconds sekunde sekunden seconde secondes segundo segundos
hour hour hours h stunde stunden heure heures hora horas 小时
day day days tag tage tagen jour jours día días 天
week week weeks woche wochen semaine semaines semana semanas 周
month month months monat monate monaten mois mes meses 个月
year year years jahr jahre jahren an ans année années año años 年 岁
degree degree degrees grad degré degrés grado grados
liter liter liters litre litres litro litros
gallon gallon gallons
lb lb lbs
foot foot feet ft
"""
UNITS: Mapping[str, str] = MappingProxyType(
    {word: line.split()[0] for line in _UNITS.strip().casefold().splitlines() for word in line.split()[1:]}
)
STOPS = EVERY_STOP_WORD | {
    "said", "says", "told", "tells", "also", "sagt", "sagte", "dit", "dijo", "dice", "一", "的", "了", "在", "是",
}  # fmt: skip
SPEAKING = frozenset(
    "i me my mine we us our ours ich mir mich mein meine wir uns unser je moi mon ma mes nous notre yo mi mis nosotros nuestro 我 我们".split()
)
"""Words by which a speaker means herself."""
DATED = MONTHS.keys() | WEEKDAYS.keys() | UNITS.keys() | NUMBERS.keys()
"""What has a capital in some languages, and is no name."""
