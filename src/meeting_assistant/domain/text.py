"""Making recorded words and typed names safe to show elsewhere: on one line, in Markdown, in a prompt. Pure."""

from __future__ import annotations

import re

# Control characters and line separators; characters that reverse the direction of writing (Boucher and Anderson,
# "Trojan Source", 2021); halves of surrogate pairs, which no encoder takes.
_CONTROL = re.compile(r"\r\n|[\x00-\x1f\x7f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_INVISIBLE = re.compile(r"[\u200b-\u200f\ufeff]")
_MARKDOWN = re.compile(r"([\\`*_\[\]<>#|~!&])")


def without_controls(text: str) -> str:
    """Return the text with a space in the place of each control character and line end."""
    return _CONTROL.sub(" ", text)


def without_invisible(text: str) -> str:
    """Return the text without controls, and with a space in the place of each character of no width.

    Only for machines: in some scripts, and between emoji, such characters change what people read.
    """
    return _INVISIBLE.sub(" ", without_controls(text))


def one_line(text: str) -> str:
    """Return the text without controls and with single spaces."""
    return " ".join(without_controls(text).split())


def escape_markdown(text: str) -> str:
    """Return one line in which nothing becomes a heading, a link, an image or HTML."""
    return _MARKDOWN.sub(r"\\\1", one_line(text))
