"""Terms of a text, per language: stop words and stemming where they are known, plain lower case elsewhere."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import cache

_ALGORITHMS = {
    "ar": "arabic", "ca": "catalan", "cs": "czech", "da": "danish", "de": "german", "el": "greek",
    "en": "english", "eo": "esperanto", "es": "spanish", "et": "estonian", "eu": "basque", "fa": "persian",
    "fi": "finnish", "fr": "french", "ga": "irish", "hi": "hindi", "hu": "hungarian", "hy": "armenian",
    "id": "indonesian", "it": "italian", "lt": "lithuanian", "ne": "nepali", "nl": "dutch", "no": "norwegian",
    "nb": "norwegian", "nn": "norwegian", "pl": "polish", "pt": "portuguese", "ro": "romanian", "ru": "russian",
    "sr": "serbian", "sv": "swedish", "ta": "tamil", "tr": "turkish", "yi": "yiddish",
}  # fmt: skip

_SPOKEN_ENGLISH = frozenset(
    "yeah yes okay right well just really actually basically like kind sort thing things stuff lot bit guess mean"
    " know think thought gonna going get got go maybe probably good great fine sure oh um uh mm hmm want need one"
    " two three first second say said see look way people let make made put take come day today time"
    " something anything everything somebody anybody everybody lot much many also even still already now then"
    " back will would could should can might may must shall not do does did done have has had am are is was"
    " were".split()
)
"""Talk's own light words, which the written list does not hold."""

_UNSPACED = re.compile("[぀-ヿ㐀-䶿一-鿿豈-﫿가-힯฀-๿຀-໿က-႟ក-៿]")
"""Scripts written without spaces between words (and Korean, whose endings bigrams see through)."""


class Language:
    """Stop words and stemmer that reduce the words of one language to terms.

    Deterministic and safe to share between threads after creation.
    """

    def __init__(self, code: str) -> None:
        self.code = code
        self.stop_words = _stop_words(code)
        self._stem = _stemmer(code)
        self._seen: dict[str, str] = {}

    def term(self, word: str) -> str:
        """The term that a word counts as, or an empty string for a stop word."""
        known = self._seen.get(word)
        if known is None:
            known = "" if word in self.stop_words or not any(c.isalnum() for c in word) else self._stem(word)
            if len(self._seen) < 50_000:
                self._seen[word] = known
        return known

    def terms(self, words: Sequence[str]) -> list[str]:
        """The terms of a sentence; pairs of characters where a script has no spaces."""
        found: list[str] = []
        for word in words:
            if _UNSPACED.search(word):
                found.extend(word[k : k + 2] for k in range(max(1, len(word) - 1)))
            else:
                found.extend(self.term(part) for part in word.split())
        return [t for t in found if t]


def length_in_words(words: Sequence[str]) -> float:
    """Return the length of a text in words; two characters of an unspaced script count as a word."""
    return sum(len(w) / 2 if _UNSPACED.search(w) else 1 for w in words)


@cache
def _stop_words(code: str) -> frozenset[str]:
    import stopwordsiso

    listed = frozenset(stopwordsiso.stopwords(code)) if stopwordsiso.has_lang(code) else frozenset()
    return listed | _SPOKEN_ENGLISH if code == "en" else listed


def _stemmer(code: str) -> Callable[[str], str]:
    import snowballstemmer

    name = _ALGORITHMS.get(code)
    if name is None or name not in snowballstemmer.algorithms():
        return lambda word: word
    stemmer = snowballstemmer.stemmer(name)
    return lambda word: str(stemmer.stemWord(word))
