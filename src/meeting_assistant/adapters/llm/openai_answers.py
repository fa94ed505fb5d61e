"""Answers in the form of OpenAI's chat completions, as many servers write them. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from meeting_assistant.adapters.llm.answers import arguments_of, text_of, thoughts_of
from meeting_assistant.net.responses import dig


@dataclass(slots=True)
class StreamedAnswer:
    """What the events of one answer have said so far."""

    text: str = ""
    arguments: str = ""
    """Of a tool that the model calls."""
    thoughts: str = ""
    finish: object = None
    refusal: object = None
    last: Mapping[str, object] = field(default_factory=dict)
    usage: Mapping[str, object] = field(default_factory=dict)

    def add(self, event: Mapping[str, object]) -> str:
        """Take down an event and return the piece of the answer that it brings."""
        self.last = event
        self.usage = event if event.get("usage") else self.usage
        choice = dig(event, "choices", 0)
        # A server that does not stream sends the whole message at once.
        delta = dig(choice, "delta") or dig(choice, "message")
        self.finish = dig(choice, "finish_reason") or self.finish
        self.refusal = is_refusal(delta) or self.refusal
        self.arguments += arguments_of(delta)
        self.thoughts += thoughts_of(delta)
        piece = text_of(dig(delta, "content"))
        self.text += piece
        return piece

    def message(self) -> dict[str, object]:
        """Return the message that the events make up."""
        return {
            "content": self.text,
            "function_call": {"arguments": self.arguments},
            "reasoning_content": self.thoughts,
        }


def whole_text(message: object, *, is_json: bool) -> str:
    """Return the answer of a message; where the content is empty, JSON may stand in a call of a tool or in thoughts."""
    text = text_of(dig(message, "content"))
    if text.strip() or not is_json:
        return text
    return arguments_of(message) or thoughts_of(message)


def is_refusal(message: object) -> bool:
    """Return True when the model refuses to answer, in the field or the part that OpenAI has for it."""
    content = dig(message, "content")
    parts = content if isinstance(content, list) else []
    return bool(dig(message, "refusal")) or any(dig(part, "type") == "refusal" for part in parts)
