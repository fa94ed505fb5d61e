"""Where a line of text may end, and how wide it is. Pure.

Scripts without spaces break between characters, except where typesetting forbids it: a line begins with no closing
bracket, full stop, small kana or vowel sign, and ends with no opening bracket (the basic rules of kinsoku shori, JIS X
4051, and of UAX #14). Width is that of a terminal: East Asian wide characters take two columns, combining marks none.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator

_CLOSING = frozenset("、。，．・：；？！゛゜ヽヾゝゞ々ー’”）〕］｝〉》」』】°′″℃￠％‰!?,.:;)]}…‥〜～–—")  # noqa: RUF001
_SMALL_KANA = frozenset("ぁぃぅぇぉっゃゅょゎゕゖァィゥェォッャュョヮヵヶ")
_OPENING = frozenset("‘“（〔［｛〈《「『【([{$£¥＄￡￥")  # noqa: RUF001
_THAI_BEFORE_CONSONANT = frozenset("เแโใไ")
_THAI_AFTER_CONSONANT = frozenset("ะาำๅๆฯ")
_JOINERS = frozenset("\u200d\u2060\ufeff")
_HANGUL = ((0x1100, 0x11FF), (0x3130, 0x318F), (0xAC00, 0xD7FF))
"""Wide, but written with spaces between words."""
_SOUTH_EAST_ASIAN = ((0x0E00, 0x0EFF), (0x1000, 0x109F), (0x1780, 0x17FF))
"""Thai, Lao, Burmese, Khmer: no spaces between words, and no rule but a dictionary for where words end."""


def width(text: str) -> int:
    """Return the number of columns that a text takes."""
    return sum(_char_width(char) for char in text)


def units(word: str) -> Iterator[str]:
    """Yield the parts of a word between which a line may break; most words of alphabetic scripts are one."""
    unit = ""
    for cluster in _clusters(word):
        if unit and may_break(unit, cluster):
            yield unit
            unit = ""
        unit += cluster
    if unit:
        yield unit


def may_break(before: str, after: str) -> bool:
    """Return True when a line may end between two parts that no space separates."""
    last, first = before[-1], after[0]
    if first in _CLOSING or first in _SMALL_KANA or first in _THAI_AFTER_CONSONANT:
        return False
    if last in _OPENING or last in _THAI_BEFORE_CONSONANT or last in _JOINERS:
        return False
    return _breaks_anywhere(_base(before)) or _breaks_anywhere(first)


def _clusters(word: str) -> Iterator[str]:
    """Yield characters with the marks that belong to them."""
    cluster = ""
    for char in word:
        if cluster and not _is_attached(char) and cluster[-1] not in _JOINERS:
            yield cluster
            cluster = ""
        cluster += char
    if cluster:
        yield cluster


def _base(text: str) -> str:
    """Return the last character that is no mark."""
    return next((char for char in reversed(text) if not _is_attached(char)), text[-1])


def _is_attached(char: str) -> bool:
    is_skin_tone = 0x1F3FB <= ord(char) <= 0x1F3FF
    return is_skin_tone or unicodedata.category(char) in ("Mn", "Mc", "Me", "Cf")


def _breaks_anywhere(char: str) -> bool:
    if _is_in(char, _SOUTH_EAST_ASIAN):
        return True
    return unicodedata.east_asian_width(char) in "WF" and not _is_in(char, _HANGUL)


def _is_in(char: str, ranges: tuple[tuple[int, int], ...]) -> bool:
    return any(first <= ord(char) <= last for first, last in ranges)


def _char_width(char: str) -> int:
    if unicodedata.category(char) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1
