"""Words that name numbers, days and months, in the languages that this reads. Data, and German's long words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache


def _counted(words: str, first: int = 0, step: int = 1) -> dict[str, int]:
    """`a|b c` from 0: a and b are 0, c is 1."""
    return {
        word: first + step * n for n, group in enumerate(words.split()) for word in group.split("|") if word
    }


@dataclass(frozen=True, slots=True)
class NumberWords:
    """The number words of one language, all in lower case."""

    small: Mapping[str, int]
    """0 to 19."""
    tens: Mapping[str, int]
    ordinals: Mapping[str, int]
    hundred: frozenset[str]
    scales: Mapping[str, int]
    joins: frozenset[str]
    """`and` between hundreds and the rest."""
    points: frozenset[str]
    days: Mapping[str, int]
    months: Mapping[str, int]
    vague: frozenset[str]
    """Words that mostly are no number, day or month (`one`, `may`): they carry a claim, but make none."""
    whole_hundreds: Mapping[str, int] = field(default_factory=dict)


_EN = NumberWords(
    small=_counted(
        "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
        "seventeen eighteen nineteen"
    ),
    tens=_counted("twenty thirty forty|fourty fifty sixty seventy eighty ninety", 20, 10),
    ordinals={
        **_counted(
            "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth thirteenth "
            "fourteenth fifteenth sixteenth seventeenth eighteenth nineteenth",
            1,
        ),
        **_counted("twentieth thirtieth fortieth fiftieth sixtieth seventieth eightieth ninetieth", 20, 10),
    },
    hundred=frozenset({"hundred", "hundreds"}),
    scales={"thousand": 10**3, "k": 10**3, "million": 10**6, "billion": 10**9, "bn": 10**9},
    joins=frozenset({"and"}),
    points=frozenset({"point"}),
    days=_counted(
        "monday|mondays tuesday|tuesdays wednesday|wednesdays thursday|thursdays friday|fridays "
        "saturday|saturdays sunday|sundays"
    ),
    months=_counted(
        "january|jan february|feb march april|apr may june july august|aug september|sept|sep october|oct "
        "november|nov december|dec",
        1,
    ),
    vague=frozenset({"one", "first", "second", "may", "march"}),
)
_DE_SMALL = _counted(
    "null ein|eins|eine|einem|einen|einer|eines zwei|zwo drei vier fünf sechs sieben acht neun zehn elf zwölf "
    "dreizehn vierzehn fünfzehn sechzehn siebzehn achtzehn neunzehn"
)
_DE_TENS = _counted("zwanzig dreißig|dreissig vierzig fünfzig sechzig siebzig achtzig neunzig", 20, 10)
_DE = NumberWords(
    small=_DE_SMALL,
    tens=_DE_TENS,
    ordinals=_counted(
        "erst|erste|ersten|erster zweite|zweiten|zweiter dritte|dritten|dritter vierte|vierten fünfte|fünften "
        "sechste|sechsten siebte|siebten achte|achten neunte|neunten zehnte|zehnten elfte|elften "
        "zwölfte|zwölften dreizehnte|dreizehnten vierzehnte|vierzehnten fünfzehnte|fünfzehnten "
        "sechzehnte|sechzehnten siebzehnte|siebzehnten achtzehnte|achtzehnten neunzehnte|neunzehnten "
        "zwanzigste|zwanzigsten",
        1,
    ),
    hundred=frozenset({"hundert"}),
    scales={"tausend": 10**3, "million": 10**6, "millionen": 10**6, "milliarde": 10**9, "milliarden": 10**9},
    joins=frozenset({"und"}),
    points=frozenset({"komma"}),
    days=_counted("montag|montags dienstag mittwoch donnerstag freitag|freitags samstag|sonnabend sonntag"),
    months=_counted(
        "januar|jänner februar märz april mai juni juli august september oktober november dezember", 1
    ),
    vague=frozenset(
        {
            *("ein", "eins", "eine", "einem", "einen", "einer", "eines"),
            *("erst", "erste", "ersten", "erster", "zweite", "zweiten", "zweiter", "achten"),
        }
    ),
)
_FR = NumberWords(
    small=_counted(
        "zéro un|une deux trois quatre cinq six sept huit neuf dix onze douze treize quatorze quinze seize"
    ),
    tens=_counted(
        "vingt|vingts trente quarante cinquante soixante septante huitante|octante nonante", 20, 10
    ),
    ordinals=_counted(
        "premier|première deuxième|seconde troisième quatrième cinquième sixième septième huitième neuvième "
        "dixième",
        1,
    ),
    hundred=frozenset({"cent", "cents"}),
    scales={"mille": 10**3, "million": 10**6, "millions": 10**6, "milliard": 10**9, "milliards": 10**9},
    joins=frozenset({"et"}),
    points=frozenset({"virgule"}),
    days=_counted("lundi mardi mercredi jeudi vendredi samedi dimanche"),
    months=_counted(
        "janvier février mars avril mai juin juillet août|aout septembre octobre novembre décembre", 1
    ),
    vague=frozenset({"un", "une", "premier", "première", "seconde", "neuf"}),
)
_ES = NumberWords(
    small=_counted(
        "cero un|uno|una dos tres cuatro cinco seis siete ocho nueve diez once doce trece catorce quince "
        "dieciséis diecisiete dieciocho diecinueve"
    ),
    tens={
        **_counted("veinte treinta cuarenta cincuenta sesenta setenta ochenta noventa", 20, 10),
        **_counted(
            "veintiuno|veintiún veintidós veintitrés veinticuatro veinticinco veintiséis veintisiete "
            "veintiocho veintinueve",
            21,
        ),
    },
    ordinals=_counted(
        "primero|primer|primera segundo|segunda tercero|tercer|tercera cuarto|cuarta quinto|quinta", 1
    ),
    hundred=frozenset({"cien", "ciento"}),
    scales={"mil": 10**3, "millón": 10**6, "millones": 10**6},
    joins=frozenset({"y"}),
    points=frozenset({"coma"}),
    days=_counted("lunes martes miércoles jueves viernes sábado domingo"),
    months=_counted(
        "enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre diciembre", 1
    ),
    vague=frozenset({"un", "uno", "una", "primero", "primer", "primera", "segundo", "segunda", "cuarto"}),
    whole_hundreds=_counted(
        "doscientos|doscientas trescientos|trescientas cuatrocientos|cuatrocientas quinientos|quinientas "
        "seiscientos|seiscientas setecientos|setecientas ochocientos|ochocientas novecientos|novecientas",
        200,
        100,
    ),
)
_KNOWN = {"en": _EN, "de": _DE, "fr": _FR, "es": _ES}
_NOTHING: Mapping[str, int] = {}
_NONE = NumberWords(
    _NOTHING,
    _NOTHING,
    _NOTHING,
    frozenset(),
    _NOTHING,
    frozenset(),
    frozenset(),
    _NOTHING,
    _NOTHING,
    frozenset(),
)


def number_words(language: str) -> NumberWords:
    """Return the number words of a language; empty ones for a language that is not known."""
    return _KNOWN.get(language, _NONE)


@cache
def german_compound(word: str) -> int | None:
    """`viertausendfünfhunderteinundzwanzig` in one word; None for anything else."""
    if word in _DE_SMALL:
        return _DE_SMALL[word]
    if word in _DE_TENS:
        return _DE_TENS[word]
    for scale, size in (("tausend", 1000), ("hundert", 100)):
        before, found, after = word.partition(scale)
        if found:
            count = german_compound(before) if before else 1
            rest = german_compound(after.removeprefix("und")) if after else 0
            if count is None or rest is None or rest >= size:
                return None
            return count * size + rest
    ones, found, ten = word.partition("und")
    if found and 0 < _DE_SMALL.get(ones, 0) < 10 and ten in _DE_TENS:
        return _DE_TENS[ten] + _DE_SMALL[ones]
    return None
