"""Calls to language models, and what people chose for their meetings."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Purpose = Literal["minutes", "notes", "ask", "probe"]


class LlmCall(BaseModel):
    """The record of one question to one provider, without the texts of question and answer."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    id: str
    """UUIDv7."""
    meeting_ids: tuple[str, ...]
    purpose: Purpose
    provider: str
    is_local: bool
    """False when the content left the operator's machines."""
    at_ms: int
    """Unix time."""
    outcome: str = "asked"
    """`asked` until an answer arrives, then `ok` or the code of the error."""
    model: str | None = None
    seconds: float | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


class LlmPreferences(BaseModel):
    """Defaults of the meetings of one owner."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    local_only: bool = False
    """No provider outside the operator's machines receives a meeting of this owner."""
    llm_provider: str | None = Field(default=None, max_length=32)
    """Provider that is tried first."""
    template: str | None = Field(default=None, max_length=32)
    """Template of the minutes; null leaves it to the meeting."""
    minutes_language: str | None = Field(default=None, max_length=16)
    """Language of the minutes; null leaves it to the meeting."""
