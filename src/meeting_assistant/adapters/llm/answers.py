"""Parts of answers that all providers share."""

from __future__ import annotations

import json
from collections.abc import Mapping

from meeting_assistant.domain.errors import LlmError
from meeting_assistant.net.responses import dig

THINKING_TOKENS = 6000
"""Added to the limit of an answer, because cloud models think within it; the sum is below what all of them write."""


def number(data: object, *path: str | int) -> int | None:
    """Return the whole number at a path, or None."""
    value = dig(data, *path)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def with_schema(system: str, schema: Mapping[str, object]) -> str:
    """Return the system message with the schema in it, for a server whose decoder does not enforce one."""
    return f"{system}\n\nAnswer with one JSON object and nothing else. Its JSON Schema:\n{json.dumps(schema)}"


_TRUNCATED = frozenset(
    "length max_tokens max_length max_output_tokens max_new_tokens max_completion_tokens model_length token_limit "
    "length_limit context_length context_length_exceeded context_window_exceeded model_context_window_exceeded "
    "incomplete truncated".split()
)
"""`model_length` is Mistral's, `model_context_window_exceeded` Anthropic's, `MAX_TOKENS` Gemini's and Cohere's."""
_REFUSED = frozenset(
    "content_filter content_filtered content_policy filtered safety refusal refused blocked blocklist sensitive "
    "prohibited_content recitation spii language image_safety model_armor moderation guardrail guardrails "
    "guardrail_intervened error_toxic policy_violation".split()
)
"""Gemini's `FinishReason`, Bedrock's `guardrail_intervened`, Zhipu's `sensitive`, Cohere's `ERROR_TOXIC`."""
_FAILED = frozenset(
    "error abort aborted cancel cancelled canceled failed failure network_error insufficient_system_resource "
    "server_error timeout time_limit overloaded".split()
)
"""vLLM's `abort` and `error`, DeepSeek's `insufficient_system_resource`, Zhipu's `network_error`."""
_SPOILT = frozenset(
    "repetition malformed_function_call malformed_response unexpected_tool_call too_many_tool_calls other".split()
)
"""vLLM's `repetition`, Gemini's others."""


def check_finish(name: str, reason: object) -> None:
    """Raise LlmError when the model says that its answer is not complete.

    Only reasons that are known to be bad count. Servers call a good end by many names (`stop`, `eos`, `eos_token`,
    `end_turn`, `COMPLETE`) or by none, and whether the answer is whole is checked by reading it.
    """
    word = reason.strip().lower().replace("-", "_").replace(" ", "_") if isinstance(reason, str) else ""
    if word in _TRUNCATED:
        raise LlmError(
            f"{name} stopped in the middle of its answer: the token limit was reached.",
            "Use a model with a larger context, or one that does not think aloud.",
            code="llm_truncated",
        )
    if word in _REFUSED:
        raise refused(name)
    if word in _FAILED:
        raise LlmError(
            f"{name} did not finish its answer.", "Look at that server's own log.", code="llm_unavailable"
        )
    if word in _SPOILT:
        raise LlmError(
            f"{name} did not finish its answer.", "Try again, or use another model.", code="llm_bad_output"
        )


def refused(name: str) -> LlmError:
    """Return the error for a model that would not answer."""
    return LlmError(f"{name} refused to answer.", "Use another model.", code="llm_refused")


def require_text(name: str, text: object) -> str:
    """Return the text of the answer. Raises LlmError when there is none."""
    if isinstance(text, str) and text.strip():
        return text
    raise LlmError(f"{name} gave an empty answer.", "Try again, or use another model.", code="llm_bad_output")


def text_of(content: object) -> str:
    """Return the text of a message's content: a string, or a list of parts of which some are text.

    Parts that hold thoughts are left out.
    """
    if isinstance(content, str):
        return content
    if isinstance(content, Mapping):
        content = [content]
    if not isinstance(content, list):
        return ""
    return "".join(_text_of_part(part) for part in content)


def _text_of_part(part: object) -> str:
    if isinstance(part, str):
        return part
    kind = dig(part, "type")
    if dig(part, "thought") is True or (isinstance(kind, str) and kind not in _TEXT_PARTS):
        return ""
    text = dig(part, "text")
    if isinstance(text, Mapping):  # the form of OpenAI's assistants
        text = text.get("value")
    return text if isinstance(text, str) else ""


_TEXT_PARTS = frozenset({"text", "output_text"})


def arguments_of(message: object) -> str:
    """Return the arguments of the first call of a tool in a message, as text; empty without one.

    Some models answer a request for JSON by calling a tool of their own invention.
    """
    for place in (("tool_calls", 0, "function", "arguments"), ("function_call", "arguments")):
        arguments = dig(message, *place)
        if isinstance(arguments, Mapping):
            return json.dumps(arguments)
        if isinstance(arguments, str) and arguments:
            return arguments
    return ""


def thoughts_of(message: object) -> str:
    """Return what a message holds beside its content as thoughts; empty without any.

    A server that takes the whole answer of a model for a thought puts it there.
    """
    for name in ("reasoning_content", "reasoning", "thinking"):
        text = text_of(dig(message, name))
        if text:
            return text
    return ""


_LIMITS = frozenset(
    {"minItems", "maxItems", "minLength", "maxLength", "minimum", "maximum", "uniqueItems", "default"}
)


def without_limits(schema: Mapping[str, object]) -> dict[str, object]:
    """Return the schema for decoders that refuse limits of lengths and numbers; answers are checked here anyway."""

    def plain(node: object) -> object:
        if isinstance(node, list):
            return [plain(part) for part in node]
        if isinstance(node, Mapping):
            return {name: plain(part) for name, part in node.items() if name not in _LIMITS}
        return node

    return {name: plain(part) for name, part in schema.items()}
