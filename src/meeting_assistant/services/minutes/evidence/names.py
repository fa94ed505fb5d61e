"""Finds the names in a text that must have been said. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator

_WORD = re.compile(r"[\w'\u2019-]+")
_SENTENCE = re.compile(r"(?<=[.!?:;])\s+")
_CODE = re.compile(r"(?=\w*[^\W\d_])(?=\w*\d)\w+|[^\W\d_]*[^\W\d_][^\W\d_a-zß-ÿ]+[^\W\d_]*")
"""`hunter2`, `SAP`, `McKinsey`: a name in every language, wherever it stands."""
_ORDINAL = re.compile(r"\d+(?:st|nd|rd|th|er|e|k|h|pm|am|ème|%)?")
NOUNS_ARE_CAPITALS = frozenset({"de", "lb"})
_ORDINARY = {
    "en": frozenset(
        """
        a about according accept accompany across act action add address adjust adopt after again agree agreed all
        allocate also although always an analyse analyze and announce another answer any anybody anyone anything
        apply approve arrange as ask assess assign at attend attendees audit back based be because become before
        begin behind besides better between block book both bring budget build but buy by calculate call can cancel
        change chase check choose circulate clarify clean clear close collect come communicate compare compile
        complete concern concerns confirm connect consensus consider contact continue contract convert coordinate
        copy could create customer customers cut data date deadline debug decide decision define delay delete
        deliver demand deploy describe design despite determine develop discuss distribute do document does
        download draft draw drop due during each edit eight either eliminate email emails employees end engineers
        enough ensure establish estimate evaluate even every everybody everyone everything examine except exchange
        expand expect explain explore export extend feedback few figure file fill finalise finalize find finish
        first five fix focus follow following for form forward four from further future gather general get give go
        group guests half hand handle have he help her here hers hire his hold how however i identify if implement
        import improve in include increase inform initially inside install instead interview into introduce invite
        invoice is issue issues it its join just keep last later launch lead learn leave less let like line list
        look lower make management manage many map mark may maybe measure meet meeting meetings members merge
        migrate minutes monitor more most move much must name negotiate neither never new next no nobody none nor
        not note nothing notify now of off offer on once one only open or order organise organize other others our
        out outline outside over overall own parties people per perform perhaps pick place plan plans please possible
        postpone prepare present prevent price prices probably problem problems proceed process produce progress
        project prolong promise promote propose protect prototype prove provide publish purchase push put quality
        question questions raise reach read recommend record recruit redesign reduce refactor register reject release
        remind remove rename renew rent repair repeat replace reply report request require reschedule research
        reserve resolve respond restore results retain return review revise rewrite risk risks roll run sales save
        schedule second see seek select sell send set several share she ship should show sign simplify since six
        sketch so solve some somebody someone something soon sort speaker speakers specify split spend staff start
        still stop study submit such suggest summarise summarize supply support switch sync take talk team teams tell
        ten test than that the their them then there therefore these they thing this those three through thus time to
        today together tomorrow tonight total track train transfer translate trial try turn two under until up update
        updates upgrade upload use users verify very visit wait was watch we welcome were what when where whereas
        whether which while who whoever whole whom whose why will with within without work workers would write
        yes yesterday yet you your
        """.split()
    )
}
_ENDINGS = {
    "en": re.compile(
        r"\w{2,}(?:ing|ed|ly|tion|tions|sion|ment|ments|ness|ity|ance|ence|ship|ware|ful|able|ible|ive|ous)"
    )
}
_MANY_LETTERS = 4


def names_in(text: str, language: str, all_words: Collection[str]) -> Iterator[str]:
    """Yield the names in a text, in lower case.

    A word in `all_words` is no name at the beginning of a sentence.
    """
    for sentence in _SENTENCE.split(text):
        for position, word in enumerate(_WORD.findall(sentence)):
            plain = word.casefold().removesuffix("'s").removesuffix("\u2019s")
            if not plain or word == "I" or word.startswith(("I'", "I\u2019")) or _ORDINAL.fullmatch(plain):
                continue
            if _CODE.fullmatch(word.removesuffix("'s").removesuffix("\u2019s")):
                yield plain
            elif not word[0].isupper() or language in NOUNS_ARE_CAPITALS:
                continue
            elif position > 0 or not _is_ordinary(plain, language, all_words):
                yield plain


def _is_ordinary(word: str, language: str, all_words: Collection[str]) -> bool:
    """Return True when the first word of a sentence, which always has a capital, is not taken for a name."""
    if language not in _ORDINARY:
        return True
    parts = [part for part in re.split(r"['\u2019-]", word) if part]
    first = parts[0] if parts else word
    if first in _ORDINARY[language] or _ENDINGS[language].fullmatch(first) or first in all_words:
        return True
    stem = first[: max(_MANY_LETTERS, len(first) - 3)]
    return len(first) > _MANY_LETTERS and any(word.startswith(stem) for word in all_words)


def stem_of(word: str) -> str:
    """Return the beginning by which forms of a word are recognised."""
    return word[: max(_MANY_LETTERS, len(word) - 3)]
