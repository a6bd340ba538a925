# ruff: noqa: E501 - a list of words is one text
"""Words of some languages that the check of a text against its sources knows; another language is more words here."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


def _classes(text: str) -> Mapping[str, re.Pattern[str]]:
    found = {}
    for line in text.strip().splitlines():
        name, _, phrases = line.partition(": ")
        some = [each.strip() for each in phrases.split(",")]
        latin = "|".join(
            re.escape(each).replace("_", r"\w*") for each in some if each.isascii() or each[0] < "\u3000"
        )
        signs = "|".join(each for each in some if each[0] >= "\u3000")
        rules = [rf"(?<![\w'’])(?:{latin})(?![\w])" if latin else "", signs]
        found[name] = re.compile("|".join(filter(None, rules)))
    return MappingProxyType(found)


OPERATORS = _classes("""
possible: may, might, can, could, can't, cannot, couldn't, able to, unable to, maybe, perhaps, possibly, probably, likely, allow_, permit_, kann, können, kannst, könnte_, vielleicht, vermutlich, wahrscheinlich, darf, dürfen, erlaub_, peut, peuvent, peut-être, pourrai_, puede_, puedo, podría_, quizá_, tal vez, 可能, 也许, 或许, 能, 可以
required: must, mustn't, should, shouldn't, have to, has to, had to, need to, needs to, needed to, ought to, require_, oblig_, muss, müssen, musste_, soll, sollen, sollte_, doit, doivent, dois, devr_, faut, debe_, debo, tiene que, tengo que, hay que, 必须, 应该, 得
planned: will, won't, would, wouldn't, going to, gonna, shall, want_, plan, plans, planned, planning, hope_, hoping, intend_, wish_, dream_, about to, would like, wird, werden, wirst, würde_, will, wollen, wollte_, möchte_, geplant, hofft, hoffe, veut, veulent, voudrai_, espère_, prévoi_, va, vais, vont, quiere_, quiero, quisiera, espera_, piensa, pienso, voy a, va a, 想, 打算, 希望, 计划, 要
unless: unless, es sei denn, sauf si, à moins, a menos, 除非
if: if, whether, in case, provided, otherwise, assuming, suppose_, wenn, falls, sofern, ob, si, 如果, 要是, 假如
when: when, whenever, until, till, als, sobald, bis, quand, lorsque, jusqu_, cuando, hasta, 当
said: said, says, say, saying, tell, tells, told, mention_, claim_, according to, report_, announce_, heard, sagt, sagte, sagten, behauptet_, erzähl_, laut, dit, dirent, affirm_, selon, dijo, según, 说, 据
thinks: think_, thought, believe_, guess_, assum_, suspect_, feel_, imagine_, seem_, doubt_, apparently, allegedly, denk_, glaub_, meint, schein_, scheint, zweifel_, croi_, pense_, sembl_, dout_, cree_, creo, pien_, parec_, dud_, 认为, 觉得, 以为, 怀疑
asks: ask_, wonder_, question_, frag_, demande_, pregunt_, 问
promises: promis_, offer_, agree_, threaten_, versprach_, versproch_, verspr_, promet_, promis, propos_, promet_, ofrec_, 答应, 承诺
refuses: refus_, declin_, reject_, deny, denies, denied, lehnt, ablehn_, weiger_, rechaz_, se neg_, niega, 拒绝
tries: try, tries, tried, trying, attempt_, versuch_, essa_, essay_, intent_, 试图
fails: fail_, forgot, forget_, almost, nearly, barely, hardly, pretend_, beinahe, kaum, vergaß, vergess_, presque, oublié_, casi, olvid_, apenas, 差点, 几乎, 忘
past: used to, formerly, former, previously, once, back when, as a child, ex, früher, ehemal_, damals, einst, autrefois, ancien_, solía_, antes, antigu_, 以前, 曾经, 过去
ended: no longer, anymore, any more, stop_, quit, quits, gave up, nicht mehr, aufgehört, hört auf, ne plus, n'_ plus, plus de, arrêt_, cess_, ya no, dejó, dejar, dejé, 不再, 停止, 戒
begun: start_, began, begin_, begun, beginn_, begann, fängt, angefangen, commenc_, début_, empez_, empie_, comen_, comien_, 开始
still: still, noch, immer noch, weiterhin, encore, toujours, todavía, aún, sigue_, 仍, 还
only: only, just, solely, merely, except, exclusively, apart from, nur, lediglich, außer, ne que, seulement, sauf, sólo, solo, solamente, excepto, salvo, 只, 仅, 除了
always: always, every time, constantly, immer, ständig, toujours, siempre, 总是, 一直, 永远
usual: usually, normally, generally, mostly, typically, meistens, gewöhnlich, normalerweise, d'habitude, généralement, normalmente, 通常, 一般
some: sometimes, occasionally, at times, some, several, a few, manchmal, gelegentlich, einige, manche, parfois, quelques, a veces, algunos, algunas, 有时, 一些
often: often, frequently, regularly, many, oft, häufig, regelmäßig, viele, souvent, régulièrement, beaucoup, a menudo, muchos, muchas, 经常, 常常, 很多
rare: rarely, seldom, few, selten, wenige, rarement, peu, rara vez, raramente, pocos, pocas, 很少
most: most, die meisten, meisten, la plupart, mayoría, 大多数, 大部分
all: all, everyone, everybody, everything, entire, alle, alles, jeder, sämtliche, tous, toutes, tout le monde, todos, todas, todo el mundo, 所有, 全部, 大家, 都
each: every, each, daily, weekly, monthly, yearly, jede, jeden, jedes, täglich, wöchentlich, chaque, cada, 每
about: about, around, approximately, roughly, circa, ca, ungefähr, etwa, rund, environ, à peu près, aproximadamente, unos, unas, 大约, 左右
exact: exactly, precisely, genau, exactement, exactamente, 正好
least: at least, minimum, mindestens, wenigstens, au moins, al menos, por lo menos, 至少
most_of: at most, up to, maximum, no more than, höchstens, maximal, bis zu, au plus, au maximum, como máximo, hasta, 最多, 至多
more: more than, over, above, mehr als, über, plus de, más de, 超过, 以上
less: less than, under, below, fewer than, weniger als, unter, moins de, menos de, 少于, 以下
before: before, prior to, by the time, vor, bevor, avant, antes de, 之前
after: after, following, nach dem, nachdem, après, después, 之后
together: together, both, beide, zusammen, ensemble, juntos, ambos, 一起
first: first, erste_, premier_, première, primer_, 第一
second: second, zweite_, deuxième_, segund_, 第二
other: other, another, others, andere_, autre_, otro_, otra_, 另
""")
"""What changes what is said: a text has those that its source has, and no others. ``_`` is the rest of a word."""


@dataclass(frozen=True)
class Language:
    """Words of a language."""

    neutral: frozenset[str]
    """That say little by themselves."""
    articles: frozenset[str]
    third: frozenset[str]
    """For what another clause names."""
    things: frozenset[str]
    """Of these, for things and several, and what begins a relative clause."""
    persons: frozenset[str]
    """For whom it names."""
    speaking: frozenset[str]
    """By which speakers mean themselves."""
    owning: frozenset[str]
    """By which they own something."""
    of: frozenset[str]
    """Behind which stands who owns something."""
    by: frozenset[str]
    """Behind which stands who does something, where who it is done to stands first."""
    passive: frozenset[str]
    """By which something is done to who stands first."""
    denials: frozenset[str]
    denies_together: bool
    """Whether two denials are one."""
    directed: Mapping[str, str]
    """Words that say which way, by what they say: behind another one in the source stands another thing."""


def _language(*, directed: Mapping[str, str], denies_together: bool, **words: str) -> Language:
    ways = {word: way for way, some in directed.items() for word in some.split()}
    sets = {name: frozenset(some.split()) for name, some in words.items()}
    return Language(**sets, denies_together=denies_together, directed=MappingProxyType(ways))


LANGUAGES: Mapping[str, Language] = MappingProxyType(
    {
        "english": _language(
            neutral="""
            a an the and or but so then now there here this that these those which who whom whose what as be
            is are was were been being am have has had having do does did done any per also too of in on at
            for to by with from into it its he she they him you your yours her them his their i me my mine
            we us our ours one it's i'm he's she's we're they're i've
        """,
            articles="the a an",
            third="it they them this that these those one its their his her he she him hers it they this that these those which who",
            things="it they this that these those which who",
            persons="he she",
            speaking="i me we us",
            owning="my mine our ours",
            of="of",
            by="by from",
            passive="is are was were be been being",
            denials="not no never none nobody nothing nowhere neither nor cannot without",
            directed={
                "to": "to into towards",
                "from": "from off",
                "for": "for",
                "against": "against",
                "with": "with",
                "without": "without",
                "than": "than",
            },
            denies_together=False,
        ),
        "german": _language(
            neutral="""
            der die das den dem des ein eine einen einem einer eines und oder aber ist sind war waren hat
            haben hatte habe wird wurde worden werden im in am an auf zu zum zur von vom für mit bei beim
            aus nach um es er sie ihn ihm ihr ihre ihren sein seine seinen ich mir mich mein meine meinen
            wir uns unser unsere unseren da dann dass man auch so jetzt uhr
        """,
            articles="der die das dem den des ein eine einen",
            third="er sie es ihn ihm ihnen dies diese das sein seine seinen ihr ihre ihren es dies",
            things="es dies",
            persons="er sie",
            speaking="ich mir mich wir uns",
            owning="mein meine meinen meinem meiner meines unser unsere unseren unserem unserer",
            of="von des",
            by="von vom durch",
            passive="wurde wurden wird werden worden ist sind",
            denials="nicht kein keine keinen keinem keiner keines nie niemals niemand nichts weder ohne nirgends",
            directed={
                "to": "nach zu zum zur",
                "from": "aus von vom ab",
                "for": "für",
                "against": "gegen",
                "with": "mit",
                "without": "ohne",
                "than": "als",
            },
            denies_together=False,
        ),
        "french": _language(
            neutral="""
            le la les l un une des du de d et ou mais est sont était a ont avait ai avons à au aux en dans
            sur pour par avec il elle ils elles lui leur on se s je j me m mon ma mes nous notre nos son sa
            ses c ce cette ces que qu qui y ne n été aussi maintenant heures
        """,
            articles="le la les l un une",
            third="il elle ils elles lui leur ce ça cela son sa ses ils elles ce ça cela qui que",
            things="ils elles ce ça cela qui que",
            persons="il elle",
            speaking="je j moi m nous",
            owning="mon ma mes notre nos",
            of="de du des d",
            by="par",
            passive="est sont été fut",
            denials="pas jamais aucun aucune rien personne sans ni non",
            directed={
                "to": "à au aux vers",
                "from": "depuis",
                "for": "pour",
                "against": "contre",
                "with": "avec",
                "without": "sans",
            },
            denies_together=True,
        ),
        "spanish": _language(
            neutral="""
            el la los las un una unos unas de del al y o pero es son era ha han he hay en con por para a su
            sus mi mis yo me nosotros nuestro nuestra se lo le nos ella ellos esta este eso ahora que
            también
        """,
            articles="el la los las un una",
            third="él ella ellos ellas lo le esto eso su sus ellos ellas esto eso que",
            things="ellos ellas esto eso que",
            persons="él ella",
            speaking="yo me nosotros nos mí",
            owning="mi mis nuestro nuestra nuestros nuestras",
            of="de del",
            by="por",
            passive="es son fue fueron sido",
            denials="no nunca jamás nadie nada ninguno ninguna ningún sin ni tampoco",
            directed={
                "to": "a al hacia",
                "from": "desde",
                "for": "para",
                "against": "contra",
                "with": "con",
                "without": "sin",
            },
            denies_together=True,
        ),
        "chinese": _language(
            neutral="""
            的了在是也把就和与个地着过于很这那我们他她它有为从到给被位
        """,
            articles="",
            third="他 她 它 这 那 它 这 那",
            things="它 这 那",
            persons="他 她",
            speaking="我",
            owning="",
            of="",
            by="被 由",
            passive="被",
            denials="不 没 沒 未 无 無 别 別 非",
            directed={
                "to": "到 给",
                "from": "从",
            },
            denies_together=True,
        ),
    }
)
"""In other languages a text has to say just what a source says."""
RELATIVES: Mapping[str, tuple[int, int]] = MappingProxyType(
    {
        **dict.fromkeys(["today", "tonight", "heute", "aujourd'hui", "hoy", "今天"], (0, 0)),
        **dict.fromkeys(["night", "nacht", "nuit", "noche"], (-1, 0)),
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
liter liter liters litre litres litro litros l
gallon gallon gallons
lb lb lbs
foot foot feet ft
cm cm centimeter centimeters centimetre centimetres zentimeter
mm mm millimeter millimeters millimetre millimetres
kb kb kilobyte kilobytes
mb mb megabyte megabytes
gb gb gigabyte gigabytes
tb tb terabyte terabytes
"""
UNITS: Mapping[str, str] = MappingProxyType(
    {word: line.split()[0] for line in _UNITS.strip().casefold().splitlines() for word in line.split()[1:]}
)
SAME: Mapping[str, str] = MappingProxyType(
    {
        word: line.split()[0]
        for line in """
        buy bought buys buying
        sell sold sells selling
        give gave given gives giving
        lend lent lends lending
        take took taken takes taking
        go went gone goes going
        come came comes coming arrive arrives arrived arriving
        see saw seen sees
        run ran runs running
        write wrote written writes
        eat ate eaten eats
        feed fed feeds
        drink drank drunk drinks
        break broke broken breaks
        lose lost loses losing
        win won wins winning
        send sent sends
        pay paid pays paying
        teach taught teaches
        learn learnt learned learns
        leave left leaves leaving
        make made makes
        know knew known knows
        sing sang sung sings
        hold held holds
        keep kept keeps
        meet met meets
        find found finds
        grow grew grown grows
        drive drove driven drives
        speak spoke spoken speaks
        sleep slept sleeps
        choose chose chosen chooses
        fall fell fallen falls
        rise rose risen rises
        forgive forgave forgiven forgives
        draw drew drawn draws
        wear wore worn wears
        live lives lived living reside resides
        child children kid kids
        man men
        woman women
        wife wives
        favourite favorite
        colour color
        mother mom mum
        father dad
        begin starts
        nimmt nehmen nehme genommen nahm
        fährt fahren fahre gefahren fuhr
        isst essen esse gegessen
        gibt geben gebe gegeben gab
        kommt kommen komme gekommen kam
        wohnt wohnen wohne gewohnt lebt leben lebe
        mag mögen
        streicht strich gestrichen
        habite habiter vit vivre
        """.strip().splitlines()
        for word in line.split()
    }
)
"""Forms of a word that its stem does not tell, by one of them."""
SYNONYMS: tuple[tuple[str, ...], ...] = tuple(
    tuple(line.split())
    for line in """
    buy purchase
    get receive obtain
    finish complete
    begin commence
    repair fix mend
    choose select
    large big
    quick fast rapid
    shop store
    doctor physician
    help assist
    answer reply respond
    show display
    hire employ
    job position
    car automobile
    phone telephone
    flat apartment
    film movie
    error mistake
    picture photo photograph
    bike bicycle
    fridge refrigerator
    holiday vacation
    close shut
    happen occur
    build construct
    collect fetch
    cancel annul
    entire whole
    fee charge
    firm company
    garbage rubbish trash
    glad happy
    hate detest
    ill sick
    lawyer attorney
    parcel package
    pupil student
    sofa couch
    sad unhappy
    timetable schedule
    wed marry
    """.strip().splitlines()
)
"""English words of one meaning, in the same place in a sentence, by their first forms."""
DATED = MONTHS.keys() | WEEKDAYS.keys() | UNITS.keys() | NUMBERS.keys()
"""What has a capital in some languages, and is no name."""
