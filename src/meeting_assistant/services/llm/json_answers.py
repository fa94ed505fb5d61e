"""What a language model wrote, without what models put around it. Pure."""

from __future__ import annotations

import json
import re
from dataclasses import replace

from meeting_assistant.domain.errors import LlmError
from meeting_assistant.domain.ports import LlmReply

_THINKING = re.compile(r"<think>.*?</think>", re.DOTALL)
_FENCE = re.compile(r"^```(?:json)?\s*(.*?)\s*```$", re.DOTALL)


def parse_object(text: str) -> dict[str, object]:
    """The JSON object of an answer: thinking and a code fence around it are ignored. Raises LlmError."""
    text = _THINKING.sub("", text).strip()
    fenced = _FENCE.match(text)
    text = fenced[1] if fenced else text
    try:
        value, _ = json.JSONDecoder().raw_decode(text, max(0, text.find("{")))
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise LlmError(
            "The language model did not answer with a JSON object.",
            "Use a server that can hold a model to a JSON schema.",
            code="llm_bad_output",
        )
    return value


def tidied(reply: LlmReply) -> LlmReply:
    """With the object alone as its text. Raises LlmError when there is none."""
    return replace(reply, text=json.dumps(parse_object(reply.text), ensure_ascii=False))
