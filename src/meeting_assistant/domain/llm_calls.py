"""Who was asked, about which meetings, and what people chose for theirs."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Purpose = Literal["minutes", "notes", "ask", "probe"]


class LlmCall(BaseModel):
    """One question to one provider. Nothing of what was asked or answered."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    id: str
    """UUIDv7."""
    meeting_ids: tuple[str, ...]
    purpose: Purpose
    provider: str
    is_local: bool
    """False: what was said left the operator's machines."""
    at_ms: int
    """Unix time."""
    outcome: str = "asked"
    """`asked` until an answer came, then `ok` or the code of the error."""
    model: str | None = None
    seconds: float | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


class LlmPreferences(BaseModel):
    """Defaults of one person's meetings."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    local_only: bool = False
    """No provider outside the operator's machines sees any of this person's meetings."""
    llm_provider: str | None = Field(default=None, max_length=32)
    """Asked first."""
    template: str | None = Field(default=None, max_length=32)
    """Of the minutes; null leaves it to the meeting."""
    minutes_language: str | None = Field(default=None, max_length=16)
    """Of the minutes; null leaves it to the meeting."""
