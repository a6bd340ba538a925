"""Words that say how a thing is asked or told and not what: little of a score should hang on them.

They also tell languages apart, so each list holds the most frequent ones first of all. Question words are
among them: "when" and "what" match a question to small talk.
"""

from __future__ import annotations

from types import MappingProxyType

_LISTS = {
    "english": """
        a an the and or but if then than so as of in on at by for from to into about with without between
        through during before after above below up down out off over under again once here there is am are
        was were be been being do does did doing done has have had having can could will would shall should
        may might must i you he she it we they me him us them my your his her its our their mine yours hers
        ours theirs this that these those who whom whose which what when where why how not no nor only own
        same too very just also such both each few more most other some any all i'm i've i'll i'd you're
        you've you'll you'd he's she's it's we're we've we'll they're they've they'll that's what's where's
        who's how's there's let's don't doesn't didn't isn't aren't wasn't weren't hasn't haven't hadn't
        won't wouldn't can't cannot couldn't shouldn't""",
    "german": """
        der die das und ist ich nicht ein eine einen einem einer eines zu den dem des mit auf für von im in
        am an als auch es er sie wir ihr du mich dich sich uns euch mir dir ihm ihn ihnen mein meine dein
        deine sein seine ihre unser aber oder wenn wie was wer wo wann warum wohin woher welche welcher
        welches dass daß war waren wird werden wurde hat habe haben hatte sind bin bist seid nach bei aus um
        über so noch nur vor zum zur durch man kann kein keine""",
    "french": """
        le la les un une des de du et est en que qui dans je tu il elle nous vous ils elles ne pas ce cette
        ces cet son sa ses mon ma mes ton ta tes notre votre leur leurs au aux avec pour par sur se plus ou
        où mais quand comment pourquoi quoi quel quelle quels quelles été être suis es sommes êtes sont
        était avoir ai as avons avez ont avait y on si lui donc sans sous chez""",
    "spanish": """
        el la los las un una unos unas de del y es en que qué quien quién no se lo le les por para con su
        sus mi mis tu tus al como cómo más pero yo tú él ella nosotros ellos ellas me te nos cuando cuándo
        donde dónde cuál está están estoy soy eres son fue era ha he han hay este esta estos estas ese esa
        eso muy sin sobre ser también o si ya""",
    "italian": """
        il lo la i gli le un uno una di del della dei delle dello e è in che chi non si per con su mi ti ci
        vi ma io tu lui lei noi voi loro mio mia tuo tua suo sua nel nella al alla dal dalla sul sulla da
        come dove quando perché cosa quale sono sei siamo siete era ho hai ha abbiamo hanno questo questa
        quello quella più anche se o""",
    "portuguese": """
        o a os as um uma uns umas de do da dos das e é em no na nos nas que quem não se por para com seu sua
        seus suas meu minha teu tua ao à como mais mas eu tu ele ela nós eles elas você me te lhe quando
        onde qual está estão estou sou são foi era há tem ter este esta esse essa isso isto muito sem sobre
        ser também ou já pelo pela""",
    "dutch": """
        de het een en is ik niet van te dat die in op met voor aan er maar om hem haar hij zij ze wij we jij
        je jullie mijn jouw zijn hun ons onze als ook uit door over bij naar dan nog wel of wat wie waar
        wanneer waarom hoe welke was waren ben bent heeft heb hebben had wordt worden werd geen dit deze
        daar hier kan""",
    "swedish": """
        och att det i en ett är jag inte som på av för med den de till har var vi du han hon ni sig min mitt
        mina din ditt dina sin sitt sina om så men från vid ut när hur vad vem vart varför vilken kan ska
        skulle hade varit blir denna detta dessa där här också eller efter upp nu mycket""",
    "norwegian": """
        og i det er en et ei jeg ikke som på av for med den de til har var vi du han hun dere seg min mitt
        mine din ditt dine sin sitt sine om så men fra ved ut når hvordan hva hvem hvor hvorfor hvilken kan
        skal skulle hadde vært blir denne dette disse der her også eller etter opp nå mye""",
    "danish": """
        og i det er en et jeg ikke som på af for med den de til har var vi du han hun jer sig min mit mine
        din dit dine sin sit sine om så men fra ved ud når hvordan hvad hvem hvor hvorfor hvilken kan skal
        skulle havde været bliver denne dette disse der her også eller efter op nu meget""",
    "finnish": """
        ja on ei että se hän minä sinä me te he ne tämä tuo joka mikä kuka missä milloin miksi miten oli
        olen olet olla ole ovat olivat mutta tai kun kuin niin myös vain jos minun sinun hänen meidän mitä
        siellä täällä sen sitä vielä nyt kanssa""",
    "hungarian": """
        a az és egy nem is hogy van volt ez de meg én te ő mi ti ők ki mit hol mikor miért hogyan aki ami
        csak már még nagyon mint vagy ha el fel le be ezt azt ennek annak vannak voltak lesz lett sem kell""",
    "romanian": """
        și şi si în in la de cu un o pe nu este e sunt că să se din pentru mai care ce cine unde când cum eu
        tu el ea noi voi ei ele al ai ale lui lor mea meu ta tău sa său a au am ai fost era dar sau dacă acest
        această""",
    "turkish": """
        ve bir bu da de için ile çok ne o ben sen biz siz onlar mi mı mu mü değil var yok gibi daha ama kim
        nerede nasıl neden hangi şu olarak olan kadar sonra en her benim senin onun bizim ki ya hem""",
    "catalan": """
        el la els les un una de del dels i és en que què qui no es per amb a al als com més però jo tu ell
        ella nosaltres ells quan on quin quina són sóc estic està era ha he hi ho aquest aquesta aquests meu
        meva seu seva molt sense""",
    "polish": """
        i w na z do nie się to jest że o jak co po ale za od przez dla czy kto gdzie kiedy dlaczego jaki
        jaka ja ty on ona my wy oni ten ta te jego jej ich mój moja twój był była było są być już tylko tak
        też u we ze""",
    "czech": """
        a v na se je že to z do o s i ale jako za k po od pro by co kdo kde kdy proč jak jaký jaká já ty on
        ona my vy oni ten ta jeho její jejich můj moje tvůj byl byla bylo jsou jsem být už jen také u ve si
        není""",
    "indonesian": """
        yang dan di ini itu untuk dengan dari ke pada adalah tidak akan saya kamu anda dia kami kita mereka
        apa siapa mana kapan mengapa bagaimana ada juga atau sudah telah dalam oleh bisa karena sebagai
        tetapi lebih sangat""",
    "estonian": """
        ja on ei et see ta ma sa me te nad mis kes kus millal miks kuidas oli olen oled olema aga või kui
        nii ka ainult minu sinu tema meie teie nende selle seda siis veel""",
    "lithuanian": """
        ir yra ne kad tai į iš su ant bet ar kas kur kada kodėl kaip aš tu jis ji mes jūs jie mano tavo jo
        jos buvo būti šis ši šio apie per nuo dar jau labai""",
    "irish": """
        an na agus is ar ag i le go ní sé sí mé tú muid sibh siad a do mo ár bhí tá cad cé cá conas nach
        leis faoi ó""",
    "basque": """
        eta da ez bat du hori hau zen dira ni zu gu zuek haiek zer nor non noiz zergatik nola baina edo ere
        bere nire zure dut dute naiz zara izan oso""",
    "persian": """
        است را که به از این آن با برای چه کی کجا چرا من تو او ما شما در و هم یک تا هر نیست بود شد شده می
        آنها ایشان خود دیگر باید پس اگر اما یا چون ولی های ها هیچ همه کرد دارد""",
    "russian": """
        и в во не что он на я с со как а то все она так его но да ты к у же вы за бы по только ее её мне
        было вот от меня еще ещё нет о из ему теперь когда даже ну вдруг ли если или быть был была были до
        вас нибудь мой моя твой кто где почему какой какая это этот эта эти мы они их для ее есть є і та що
        не це як але у з до""",
    "greek": """
        ο η το οι τα του της των τον την και είναι να σε από με για που πως τι δεν θα στο στη στην στον εγώ
        εσύ αυτός αυτή αυτό εμείς εσείς μου σου μας σας τους ποιος πού πότε γιατί πώς ή αλλά ένας μια μία
        ένα ήταν έχει έχω ως κι""",
    "arabic": """
        في من على إلى عن مع أن إن كان كانت هو هي أنا أنت نحن هم هذا هذه ذلك تلك التي الذي ما ماذا متى أين
        كيف لماذا هل لا لم لن قد و أو ثم بل كل بعد قبل عند است را که به از این آن با برای چه کی کجا چرا من
        تو او ما شما""",
    "hindi": """
        है हैं था थी थे का की के को में से पर और यह वह ये वे मैं तुम आप हम ने नहीं क्या कौन कब कहाँ कहां
        क्यों कैसे एक भी तो ही हो मेरा मेरी तुम्हारा उसका इस उस लिए या""",
    "hebrew": """
        של את על עם לא זה זו הוא היא אני אתה אתם אנחנו הם הן מה מי איפה מתי למה איך כי אם או גם רק כל היה
        הייתה יש אין אל מן אבל""",
}  # fmt: skip

STOP_WORDS = MappingProxyType({language: frozenset(words.split()) for language, words in _LISTS.items()})

LETTERS = MappingProxyType(
    {
        "ß": ("german",), "ä": ("german", "swedish", "finnish", "estonian"),
        "ö": ("german", "swedish", "hungarian"),
        "ü": ("german", "turkish", "hungarian", "estonian"), "å": ("swedish", "norwegian", "danish"),
        "ø": ("norwegian", "danish"), "æ": ("danish", "norwegian"), "ñ": ("spanish",), "¿": ("spanish",),
        "¡": ("spanish",), "ã": ("portuguese",), "õ": ("portuguese", "estonian"), "œ": ("french",),
        "ç": ("french", "portuguese", "turkish", "catalan"), "è": ("french", "italian", "catalan"),
        "ê": ("french", "portuguese"), "à": ("french", "italian", "catalan"), "ù": ("french", "italian"),
        "ğ": ("turkish",), "ş": ("turkish",), "ı": ("turkish",), "ő": ("hungarian",), "ű": ("hungarian",),
        "ă": ("romanian",), "ț": ("romanian",), "ș": ("romanian",), "ł": ("polish",), "ż": ("polish",),
        "ą": ("polish", "lithuanian"), "ę": ("polish", "lithuanian"), "ś": ("polish",), "ć": ("polish",),
        "č": ("czech", "lithuanian"), "š": ("czech", "lithuanian", "estonian"), "ž": ("czech", "lithuanian"),
        "ý": ("czech",), "ď": ("czech",), "ť": ("czech",), "ň": ("czech",), "ţ": ("romanian",),
        "پ": ("persian",), "چ": ("persian",), "ژ": ("persian",), "گ": ("persian",),
        "\u06a9": ("persian",), "\u06cc": ("persian",),
        "ř": ("czech",), "ě": ("czech",), "ů": ("czech",), "ė": ("lithuanian",), "ų": ("lithuanian",),
    }
)  # fmt: skip
"""Letters that speak for a language."""
