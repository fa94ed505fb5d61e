"""Extracts the requested object from the text of an answer, without what models put around it. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import TypeVar

from pydantic import BaseModel, ValidationError

ModelT = TypeVar("ModelT", bound=BaseModel)

_THINKING = re.compile(r"<think>.*?</think>", re.DOTALL)
_FENCE = re.compile(r"^```(?:json)?\s*(.*?)\s*```$", re.DOTALL)


class UnusableAnswerError(ValueError):
    """An answer is not what was asked for. The message says why, in words for the model that gave it."""


def extract_json(text: str) -> dict[str, object]:
    """Return the JSON object of an answer; thinking and a code fence around it are ignored.

    Raises UnusableAnswerError when there is no whole object.
    """
    text = _THINKING.sub("", text).strip()
    fenced = _FENCE.match(text)
    text = fenced[1] if fenced else text
    try:
        value, _ = json.JSONDecoder().raw_decode(text, max(0, text.find("{")))
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise UnusableAnswerError("it is not one whole JSON object")
    return value


def parser_of(model: type[ModelT]) -> Callable[[str], ModelT]:
    """Return a function that turns the text of an answer into the model, or raises UnusableAnswerError."""

    def parse(text: str) -> ModelT:
        try:
            return model.model_validate(extract_json(text))
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            place = ".".join(str(part) for part in first["loc"])
            # Without the cause: it holds the answer.
            raise UnusableAnswerError(f"{place or 'the answer'}: {first['msg']}") from None

    return parse
