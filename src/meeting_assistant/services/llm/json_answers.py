"""Extracts the requested object from the text of an answer, without what models put around it. Pure.

Models think aloud, in tags of many spellings, sometimes without the opening one; they draft an object before they give
it, wrap it in another one or in a list, fence it, or talk on after its end. What fits the schema is the answer,
wherever it stands.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from pydantic import BaseModel, ValidationError

ModelT = TypeVar("ModelT", bound=BaseModel)

_THOUGHT = (
    r"[\w:. -]{0,24}?(?:think\w*|thought\w*|reason\w*|reflect\w*|analysis|scratch_?pad|inner_?monologue)"
)
_END_OF_THOUGHT = re.compile(
    rf"</\s*{_THOUGHT}\s*>"  # </think>, </thinking>, </thought>, </seed:think>, </think_fast>
    rf"|\[/\s*{_THOUGHT}\s*\]"  # Magistral: [/THINK]
    rf"|◁/\s*{_THOUGHT}\s*▷"  # Kimi
    rf"|<\|/?(?:end|end_of|/)_?{_THOUGHT}\|>"  # OpenThinker: <|end_of_thought|>; Command: <|END_THINKING|>
    r"|<\|inner_suffix\|>"  # Apertus
    r"|<channel\|>"  # Gemma 4
    r"|<\|channel\|>\s*final\b[^<{]{0,40}(?:<\|constrain\|>[^<{]{0,40})?<\|message\|>"  # harmony: gpt-oss
    r"|\bassistantfinal(?=\s*[{`])",  # harmony whose marks were dropped
    re.IGNORECASE,
)
_BEGIN_OF_THOUGHT = re.compile(
    rf"<\s*{_THOUGHT}\s*>|\[\s*{_THOUGHT}\s*\]|◁\s*{_THOUGHT}\s*▷|<\|(?:begin|begin_of|start)_?{_THOUGHT}\|>"
    r"|<\|inner_prefix\|>|<\|channel>|<\|channel\|>\s*(?:analysis|commentary)\b",
    re.IGNORECASE,
)
_END_OF_TURN = re.compile(
    r"<\|(?:im_end|eot_id|end_of_text|endoftext|end_of_turn|return|im_start|start_header_id)\|>|<end_of_turn>|</s>"
)
"""A model that does not stop where it should goes on with a turn of the user, and answers that as well."""
MAX_PASSES = 50
"""How often a text may be read over in search of objects: one of nothing but braces is not read for ever."""
_LOOKS_LIKE_OBJECT = re.compile(r'\{\s*["}]')


class UnusableAnswerError(ValueError):
    """An answer is not what was asked for. The message says why, in words for the model that gave it."""


def extract_json(text: str) -> dict[str, object]:
    """Return the JSON object of an answer; what stands around it is ignored.

    Raises UnusableAnswerError when there is no whole object.
    """
    for found in _candidates(text):
        if not found.is_inside_broken:
            return found.value
    raise UnusableAnswerError("it is not one whole JSON object")


def parser_of(model: type[ModelT]) -> Callable[[str], ModelT]:
    """Return a function that turns the text of an answer into the model, or raises UnusableAnswerError.

    Of several objects the first that fits is taken, in the order of `_candidates`.
    """

    def parse(text: str) -> ModelT:
        for found in _candidates(text):
            for value in (found.value, *_wrapped_in(found.value)):
                with contextlib.suppress(ValidationError):
                    return model.model_validate(value)
        try:
            return model.model_validate(extract_json(text))
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            place = ".".join(str(part) for part in first["loc"])
            # Without the cause: it holds the answer.
            raise UnusableAnswerError(f"{place or 'the answer'}: {first['msg']}") from None

    return parse


def after_thoughts(text: str) -> str:
    """Return the part of an answer that is still being written which comes after thinking; empty until it begins."""
    ends = list(_END_OF_THOUGHT.finditer(text))
    rest = text[ends[-1].end() :] if ends else text
    if _BEGIN_OF_THOUGHT.search(rest):
        return ""
    # A thought without an opening tag begins with words; an answer with a brace, or a fence around it.
    return rest if ends or rest.lstrip("\ufeff \t\r\n").startswith(("{", "`", "[")) else ""


@dataclass(frozen=True, slots=True)
class _Found:
    """An object in a text."""

    value: dict[str, object]
    begin: int
    end: int
    is_inside_broken: bool
    """It begins after an object that is not whole, and may be a part of that."""


def _candidates(text: str) -> Iterator[_Found]:
    """Yield the objects of a text that may be the answer, the most likely ones first.

    What comes after the last thought goes first; an earlier part counts only where there is nothing like an object in
    the later ones. Within a part the last object goes first, because drafts come before what they are drafts of.
    """
    marks = [found.end() for found in _END_OF_THOUGHT.finditer(text)]
    end = len(text)
    for begin in [*reversed(marks), 0]:
        part = text[begin:end]
        turn = _END_OF_TURN.split(part, maxsplit=1)[0]
        yield from _objects_in(turn)
        if len(turn) < len(part):
            yield from _objects_in(part)
        if _LOOKS_LIKE_OBJECT.search(part):
            break
        end = begin
    # What looked like the end of a thought may be a quotation inside the answer.
    for found in _objects_in(text) if marks else ():
        if any(found.begin < mark < found.end for mark in marks):
            yield found


def _objects_in(text: str) -> list[_Found]:
    """Return the objects of a text that do not lie in each other, the last one first."""
    decoder = json.JSONDecoder()
    found: list[_Found] = []
    is_broken = False
    budget = MAX_PASSES * (len(text) + 1)
    at = text.find("{")
    while at >= 0 and budget > 0:
        try:
            value, end = decoder.raw_decode(text, at)
            found.append(_Found(value, at, end, is_broken))
        except json.JSONDecodeError as error:
            is_broken = is_broken or _LOOKS_LIKE_OBJECT.match(text, at) is not None
            budget -= error.pos - at
            end = at + 1
        except RecursionError:
            return []
        budget -= 1
        at = text.find("{", end)
    return found[::-1]


def _wrapped_in(value: dict[str, object]) -> Iterator[dict[str, object]]:
    """Yield the objects directly inside another one, also as text: `{"minutes": {…}}`."""
    for inner in value.values():
        if isinstance(inner, dict):
            yield inner
        elif isinstance(inner, list) and len(inner) == 1 and isinstance(inner[0], dict):
            yield inner[0]
        elif isinstance(inner, str) and inner.lstrip().startswith("{"):
            yield from (found.value for found in _objects_in(inner))
