"""Language models behind servers of the tests, configured as an operator would."""

from __future__ import annotations

from meeting_assistant.bootstrap.language_models import build_llm_service
from meeting_assistant.config import Settings
from meeting_assistant.domain.ports import LlmReply, LlmRequest
from meeting_assistant.services.llm.json_answers import extract_json
from meeting_assistant.services.llm.llm_service import LLMService
from meeting_assistant.services.minutes.prompts import Extract, wire_schema
from meeting_assistant.testing.doubles.llm_server import PROVIDER_SETTINGS, LlmServer

ASK = LlmRequest(
    system="You write minutes.",
    user="1|Ana| We ship on Friday.",
    schema=wire_schema(Extract),
    schema_name="minutes",
)
GOOD = {"decisions": ["ship"]}
"""An answer to `ASK`."""
ENDLESS_FAULTS = ("slow", "dribbling")
"""Faults that only a timeout ends."""


def short_timeout(provider: str, fault: str) -> dict[str, object]:
    """Return settings for a timeout of one second where a fault would last for ever."""
    return {"llm_options": {provider: {"timeout_seconds": 1.0}}} if fault in ENDLESS_FAULTS else {}


def service_for(
    provider: str, server: LlmServer, second: LlmServer | None = None, /, **more: object
) -> LLMService:
    """Return a service that asks a provider at one server, and then another provider at a second server."""
    values: dict[str, object] = {"llm_backoff_seconds": 0, **more}
    values |= {name: value.format(url=server.url) for name, value in PROVIDER_SETTINGS[provider].items()}
    other = "xai" if provider == "openai" else "openai"
    order = [provider]
    if second is not None:
        order.append(other)
        values |= {name: value.format(url=second.url) for name, value in PROVIDER_SETTINGS[other].items()}
    return build_llm_service(Settings.model_validate({"llm_provider_order": tuple(order), **values}))


async def complete(llm: LLMService) -> LlmReply:
    """Ask once, close the service and return its reply."""
    try:
        return (await llm.complete(ASK, extract_json)).reply
    finally:
        await llm.close()
