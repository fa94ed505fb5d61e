"""Language models, and which of them saw which meeting."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from meeting_assistant.domain.llm_calls import LlmCall, LlmPreferences, Purpose


@dataclass(frozen=True, slots=True)
class LlmRequest:
    """One single-turn question with an optional schema for the answer."""

    system: str
    user: str
    schema: Mapping[str, object] | None = None
    """JSON Schema of the answer; None asks for plain text."""
    schema_name: str = "answer"
    max_output_tokens: int = 1500
    temperature: float = 0.0
    purpose: Purpose = "probe"
    meeting_ids: tuple[str, ...] = ()
    """Meetings of which something stands in `user`: who saw them is recorded."""


@dataclass(frozen=True, slots=True)
class LlmReply:
    """A complete answer (a truncated one is an error, never a reply)."""

    text: str
    provider: str
    model: str
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    seconds: float = 0.0


class LlmProvider(Protocol):
    """A language model behind HTTP."""

    @property
    def name(self) -> str:
        """As in `LLM_PROVIDER_ORDER`."""
        ...

    @property
    def is_local(self) -> bool:
        """True when the transcript does not leave what the operator runs."""
        ...

    async def complete(self, request: LlmRequest) -> LlmReply:
        """Ask once, without retries. Raises LlmError with the cause and the remedy."""
        ...

    def stream(self, request: LlmRequest) -> AsyncIterator[str | LlmReply]:
        """Ask once: pieces of the answer as they come, then the whole reply. Raises LlmError, also half-way."""
        ...

    async def context_tokens(self) -> int | None:
        """How much the model reads and writes in all, in tokens; None where the server does not say."""
        ...

    async def close(self) -> None:
        """Close its connections."""
        ...


class LlmCallLog(Protocol):
    """Records which provider saw which meeting."""

    async def started(self, call: LlmCall) -> None:
        """Record a question before it is sent; durable when it returns. Raises StorageError."""
        ...

    async def finished(self, call: LlmCall) -> None:
        """Record the result of a question."""
        ...

    async def cancelled(self, call: LlmCall) -> None:
        """Remove the record of a question that was not sent."""
        ...

    async def of_meeting(self, meeting_id: str) -> list[LlmCall]:
        """Oldest first."""
        ...


class PreferenceStore(Protocol):
    """What people chose for all their meetings."""

    async def preferences(self, owner: str) -> LlmPreferences:
        """Those of one owner; nothing chosen when there are none."""
        ...

    async def set_preferences(self, owner: str, preferences: LlmPreferences) -> None:
        """Replace them."""
        ...

    async def keeps_local(self, meeting_ids: Sequence[str]) -> bool:
        """True when one of these meetings, or its owner, allows no provider outside. Raises StorageError."""
        ...
