"""Estimates how many tokens a text has."""

from __future__ import annotations

_LATIN = 1 / 3.6
_SCRIPTS = (
    (0x0370, _LATIN),
    (0x0590, 1 / 1.8),
    (0x0900, 1 / 1.5),
    (0x2000, 1.2),
    (0x2E80, 1 / 1.5),
    (0x110000, 1.5),
)
"""First letter after the script, and tokens to a letter: Latin; Greek and Cyrillic; Hebrew and Arabic; the scripts of
India, Thai and Georgian; punctuation; Chinese, Japanese, Korean. Vocabularies were learned from English."""


def tokens_in(text: str) -> int:
    """An estimate on the safe side."""
    if text.isascii():
        return int(len(text) * _LATIN) + 1
    return int(sum(next(cost for end, cost in _SCRIPTS if ord(letter) < end) for letter in text)) + 1
