"""What leaves this machine: every address that the settings name, what it is sent, and by which route."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from meeting_assistant.bootstrap.language_models import addresses_of_models
from meeting_assistant.bootstrap.workflows import build_integrations, configured_integrations
from meeting_assistant.config import Settings
from meeting_assistant.domain.ports import CheckResult
from meeting_assistant.domain.store_address import parse_store_address
from meeting_assistant.integrations import registry
from meeting_assistant.net.addresses import is_private, is_this_machine, origin_of
from meeting_assistant.net.routes import Route, route_to

MODEL_HUB = "https://huggingface.co"
_WITHOUT_PROXY = "no proxy speaks its protocol"


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One address that something is sent to."""

    receiver: str
    content: str
    """What it is sent, for an operator."""
    address: str
    """Scheme, host and port."""
    route: Route

    def as_check(self) -> CheckResult:
        """Return a row of `doctor`; it fails when the proxy cannot be used."""
        return CheckResult(
            f"Outgoing: {self.receiver}",
            self.route.is_usable,
            f"{self.address} gets {self.content}; {self.route}",
            "" if self.route.is_usable else "Use a proxy with http://, https:// or socks5h://, or NO_PROXY.",
        )


def outgoing(settings: Settings) -> list[Outgoing]:
    """Return everything that the server sends to other processes, in the order of a meeting."""
    return [*_speech(settings), *_models(settings), *_deliveries(settings), *_infrastructure(settings)]


def _speech(settings: Settings) -> Iterator[Outgoing]:
    if settings.asr_engine == "openai":
        yield _by_http("speech recognition", "the sound of meetings", settings.asr_server.base_url)
    elif settings.asr_engine == "faster-whisper":
        yield _by_http(
            "weights of Whisper", "the name of the model, when its weights are not here", MODEL_HUB
        )
    if settings.diarization_engine in ("pyannote", "nemo"):
        yield _by_http(
            "weights of the diarizer", "the name of the model, when its weights are not here", MODEL_HUB
        )


def _models(settings: Settings) -> Iterator[Outgoing]:
    for name, url in addresses_of_models(settings).items():
        yield _by_http(f"language model ({name})", "transcripts of meetings that may leave", url)


def _deliveries(settings: Settings) -> Iterator[Outgoing]:
    given = configured_integrations(settings)
    for name, integration in build_integrations(settings).items():
        title = registry.described(name, integration).title
        for url in _addresses_in(name, given[name]):
            yield (
                _by_http(title, "minutes", url) if url.startswith("http") else _direct(title, "minutes", url)
            )


def _addresses_in(name: str, given: Mapping[str, str]) -> list[str]:
    """Return the addresses in the options of an integration, each once."""
    from meeting_assistant.integrations.options import read_options

    options = read_options(name, registry.class_of(name).Options, given)
    found: list[str] = []
    for value in vars(options).values():
        for part in value if isinstance(value, list | tuple) else [value]:
            text = part.get_secret_value() if hasattr(part, "get_secret_value") else part
            if isinstance(text, str) and text.startswith(("http://", "https://")):
                found.append(origin_of(text))
    if name == "email":
        found.append(f"smtp://{vars(options)['host']}:{vars(options)['port']}")
    return list(dict.fromkeys(found))


def _infrastructure(settings: Settings) -> Iterator[Outgoing]:
    if settings.audio_store_url is not None:
        store = parse_store_address(settings.audio_store_url.get_secret_value())
        if store.kind == "s3":
            yield _by_http("object store", "encrypted recordings", store.url)
    if settings.database_url is not None:
        url = settings.database_url.get_secret_value().replace("postgresql+asyncpg:", "postgresql:")
        yield _direct("database", "transcripts and minutes", url)
    if settings.orchestrator_backend == "redis" and settings.redis_url is not None:
        yield _direct("fleet", "sound and transcripts on their way", settings.redis_url.get_secret_value())
    if settings.otel_exporter_otlp_endpoint is not None:
        yield _by_http("traces", "times and ids, no words", settings.otel_exporter_otlp_endpoint)


def _by_http(receiver: str, content: str, url: str) -> Outgoing:
    return Outgoing(receiver, content, origin_of(url), route_to(url))


def _direct(receiver: str, content: str, url: str) -> Outgoing:
    reason = (
        "it is this machine"
        if is_this_machine(url)
        else "it is in a private network"
        if is_private(url)
        else _WITHOUT_PROXY
    )
    return Outgoing(receiver, content, origin_of(url), Route(None, reason))
