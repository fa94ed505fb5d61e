"""Parts of answers that all providers share."""

from __future__ import annotations

import json
from collections.abc import Mapping

from meeting_assistant.domain.errors import LlmError
from meeting_assistant.net.http import dig

THINKING_TOKENS = 6000
"""Added to the limit of an answer, because cloud models think within it; the sum is below what all of them write."""


def number(data: object, *path: str | int) -> int | None:
    """Return the whole number at a path, or None."""
    value = dig(data, *path)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def with_schema(system: str, schema: Mapping[str, object]) -> str:
    """Return the system message with the schema in it, for a server whose decoder does not enforce one."""
    return f"{system}\n\nAnswer with one JSON object and nothing else. Its JSON Schema:\n{json.dumps(schema)}"


def check_finish(name: str, reason: object, *, complete: frozenset[str], truncated: frozenset[str]) -> None:
    """Raise LlmError unless the model says that its answer is complete."""
    if reason in complete:
        return
    if reason in truncated:
        raise LlmError(
            f"{name} stopped in the middle of its answer: the token limit was reached.",
            "Use a model with a larger context, or one that does not think aloud.",
            code="llm_truncated",
        )
    raise LlmError(
        f"{name} did not finish its answer.", "Try again, or use another model.", code="llm_refused"
    )


def refused(name: str) -> LlmError:
    """Return the error for a model that would not answer."""
    return LlmError(f"{name} refused to answer.", "Use another model.", code="llm_refused")


def require_text(name: str, text: object) -> str:
    """Return the text of the answer. Raises LlmError when there is none."""
    if isinstance(text, str) and text.strip():
        return text
    raise LlmError(f"{name} gave an empty answer.", "Try again, or use another model.", code="llm_bad_output")


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
