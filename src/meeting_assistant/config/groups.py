"""Settings that have parts: `FLEET__SLOTS` is the part `slots` of the setting `FLEET`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    field_validator,
    model_validator,
)

from meeting_assistant.config.values import PROVIDERS, Allowed, ProviderName, Url, split_keys
from meeting_assistant.net.signatures import key_of


class ProviderOptions(BaseModel):
    """Options of one provider of language models."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    timeout_seconds: float | None = Field(default=None, gt=0, le=3600)
    """How long one answer may take."""
    context_tokens: int | None = Field(default=None, ge=2048, le=10_000_000)
    """How much its model reads and writes in all."""
    effort: str | None = Field(default=None, pattern=r"^[a-z]{2,16}$")
    """How long a model that thinks may think, in the words of the service: `low`."""
    is_local: bool | None = None
    """Of vLLM: that it runs on your own machines, or does not, whatever its address looks like."""


class Endpointing(BaseModel):
    """Where an utterance begins and ends."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    threshold: float = Field(default=0.5, ge=0.1, le=0.95)
    silence_ms: int = Field(default=500, ge=100, le=5000)
    max_seconds: float = Field(default=15, ge=3, le=30)


class ClientLimits(BaseModel):
    """Limits of what clients may do."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    connections: int = Field(default=400, ge=10, le=100_000)
    live_speed: float = Field(default=16, ge=1, le=1000)
    idle_seconds: float = Field(default=120, ge=1, le=86_400)
    sessions_per_owner: int | None = Field(default=None, ge=1, le=10_000)


class AsrServer(BaseModel):
    """A speech recognition server."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    base_url: Url = "http://localhost:8001"
    api_key: SecretStr | None = None


def _callback_url(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https", "ws", "wss") or not parts.hostname:
        raise ValueError("CALLBACK_URL does not begin with http(s):// or ws(s)://")
    return value.rstrip("/")


class Fleet(BaseModel):
    """How the gateways and workers of a fleet work together."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    lease_seconds: float = Field(default=3, ge=0.3, le=300)
    max_deliveries: int = Field(default=3, ge=1, le=100)
    slots: int = Field(default=8, ge=1, le=1000)
    name: str | None = Field(default=None, max_length=64, pattern=r"^[A-Za-z0-9._-]+$")
    secret: SecretStr | None = None
    callback_url: Annotated[str, AfterValidator(_callback_url)] | None = None
    callback_hosts: str | None = Field(default=None, pattern=r"^[A-Za-z0-9.,:*\[\] _-]+$")

    @field_validator("secret")
    @classmethod
    def _is_secret(cls, secret: SecretStr | None) -> SecretStr | None:
        for one in split_keys(secret):
            key_of(one)
        return secret

    @model_validator(mode="before")
    @classmethod
    def _names_of_today(cls, given: object) -> object:
        if isinstance(given, Mapping) and "callback_secret" in given:
            raise ValueError("CALLBACK_SECRET is SECRET now, which every machine of a fleet needs")
        return given


LlmOptions = Annotated[
    dict[ProviderName, ProviderOptions],
    Allowed(
        f"LLM_OPTIONS__PROVIDER__TIMEOUT_SECONDS (above 0 and up to 3600), __CONTEXT_TOKENS (from 2048), __EFFORT (a "
        f"word such as low) and __IS_LOCAL (true or false), where PROVIDER is one of {', '.join(PROVIDERS)}"
    ),
]
EndpointingOptions = Annotated[
    Endpointing,
    Allowed(
        "ENDPOINTING__THRESHOLD (a number from 0.1 to 0.95), __SILENCE_MS (100 to 5000) and __MAX_SECONDS (3 to 30)"
    ),
]
ClientLimitOptions = Annotated[
    ClientLimits,
    Allowed(
        "CLIENT_LIMITS__CONNECTIONS (10 to 100000), __LIVE_SPEED (1 to 1000), __IDLE_SECONDS (1 to 86400) and "
        "__SESSIONS_PER_OWNER (1 to 10000)"
    ),
]
AsrServerOptions = Annotated[
    AsrServer, Allowed("ASR_SERVER__BASE_URL (an address that begins with http:// or https://) and __API_KEY")
]
FleetOptions = Annotated[
    Fleet,
    Allowed(
        "FLEET__LEASE_SECONDS (0.3 to 300), __MAX_DELIVERIES (1 to 100), __SLOTS (1 to 1000), __NAME (letters, "
        "digits, dots and dashes), __SECRET (24 to 64 bytes in base64; several, comma separated), __CALLBACK_URL "
        "(http(s):// or ws(s)://) and __CALLBACK_HOSTS (host names, comma separated; *.example for all below it)"
    ),
]
