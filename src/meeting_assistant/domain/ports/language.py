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
    """Meetings whose content is in `user`; the call is recorded for each of them."""


@dataclass(frozen=True, slots=True)
class LlmReply:
    """A complete answer (a truncated one is an error, never a reply)."""

    text: str
    provider: str
    model: str
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    seconds: float = 0.0
    has_schema_in_prompt: bool = False
    """The schema was part of the prompt, and counts in `prompt_tokens`."""


class LlmProvider(Protocol):
    """A language model behind HTTP."""

    @property
    def name(self) -> str:
        """The name in `LLM_PROVIDER_ORDER`."""
        ...

    @property
    def is_local(self) -> bool:
        """True when the transcript stays on machines of the operator."""
        ...

    async def complete(self, request: LlmRequest) -> LlmReply:
        """Ask once, without retries. Raises LlmError."""
        ...

    def stream(self, request: LlmRequest) -> AsyncIterator[str | LlmReply]:
        """Ask once; yield pieces of the answer as they come, then the whole reply. Raises LlmError, also half-way."""
        ...

    async def context_tokens(self) -> int | None:
        """Return the context window of the model in tokens; None where the server does not say."""
        ...

    async def close(self) -> None:
        """Close all connections."""
        ...


class LlmCallLog(Protocol):
    """The record of which provider was sent which meeting."""

    async def started(self, call: LlmCall) -> None:
        """Record a call before it is sent, durably. Raises StorageError."""
        ...

    async def finished(self, call: LlmCall) -> None:
        """Record the outcome of a call."""
        ...

    async def cancelled(self, call: LlmCall) -> None:
        """Delete the record of a call of which nothing was sent."""
        ...

    async def of_meeting(self, meeting_id: str) -> list[LlmCall]:
        """Return the calls about a meeting, oldest first."""
        ...


class PreferenceStore(Protocol):
    """Defaults that people chose for all their meetings."""

    async def preferences(self, owner: str) -> LlmPreferences:
        """Return the preferences of an owner; the defaults when there are none."""
        ...

    async def set_preferences(self, owner: str, preferences: LlmPreferences) -> None:
        """Replace the preferences of an owner."""
        ...

    async def keeps_local(self, meeting_ids: Sequence[str]) -> bool:
        """Return whether one of these meetings, or its owner, allows no provider outside. Raises StorageError."""
        ...
