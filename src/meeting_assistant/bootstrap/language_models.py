"""The configured language models, and how each is reached."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from pydantic import SecretStr

from meeting_assistant.config import Settings
from meeting_assistant.config.groups import ProviderOptions
from meeting_assistant.domain.ports import LlmCallLog, LlmProvider
from meeting_assistant.net.addresses import is_private
from meeting_assistant.net.backoff import Backoff
from meeting_assistant.observability import llm_latency_seconds
from meeting_assistant.services.llm.call_records import Attempt, KeepsLocal
from meeting_assistant.services.llm.llm_service import LlmOptions, LLMService

if TYPE_CHECKING:
    from meeting_assistant.adapters.llm.http import JsonHttp


def build_llm_service(
    settings: Settings, calls: LlmCallLog | None = None, keeps_local: KeepsLocal | None = None
) -> LLMService:
    """The providers that are configured, in the order that is configured; `calls` records who saw what, `keeps_local`
    says which meetings must stay."""

    def observe(attempt: Attempt) -> None:
        llm_latency_seconds.labels(attempt.provider).observe(attempt.seconds)

    providers = (choose_llm(name, settings) for name in settings.llm_provider_order)
    is_vllm_chosen = any(map(settings.is_set, ("vllm_base_url", "vllm_model_id", "vllm_api_key")))
    return LLMService(
        [provider for provider in providers if provider is not None],
        LlmOptions(
            max_retries=settings.llm_max_retries,
            # A part of each pause is left to chance, so that many questions do not return at the same moment.
            backoff=Backoff(first_s=settings.llm_backoff_seconds, jitter=0.2),
            is_local_only=settings.llm_local_only,
            optional=frozenset() if is_vllm_chosen else frozenset({"vllm"}),
            context_tokens={
                name: options.context_tokens
                for name, options in settings.llm_options.items()
                if options.context_tokens is not None
            },
        ),
        calls=calls,
        keeps_local=keeps_local,
        on_attempt=observe,
    )


def choose_llm(name: str, settings: Settings) -> LlmProvider | None:
    """The provider of that name, or None when it is not configured (`embedded` writes without a model)."""
    from meeting_assistant.adapters.llm.anthropic import VERSION as ANTHROPIC_VERSION
    from meeting_assistant.adapters.llm.anthropic import AnthropicMessages
    from meeting_assistant.adapters.llm.gemini import GeminiGenerate
    from meeting_assistant.adapters.llm.http import JsonHttp
    from meeting_assistant.adapters.llm.openai_chat import join_url

    own = next((options for key, options in settings.llm_options.items() if key == name), ProviderOptions())

    def reach(base_url: str, headers: Mapping[str, str]) -> JsonHttp:
        timeout_s = own.timeout_seconds or settings.llm_timeout_seconds
        return JsonHttp(name, base_url, headers, timeout_s=timeout_s)

    match name:
        case "vllm":
            url = join_url(settings.vllm_base_url, settings.vllm_completions_endpoint)
            return _vllm(settings, own, reach(url, bearer(settings.vllm_api_key)), url)
        case "xai" if settings.xai_api_key:
            base, model = settings.xai_base_url, settings.xai_model_id
            http = reach(base, bearer(settings.xai_api_key))
        case "openai" if settings.openai_api_key:
            base, model = settings.openai_base_url, settings.openai_model_id
            http = reach(base, bearer(settings.openai_api_key))
        case "azure" if (
            settings.azure_openai_endpoint
            and settings.azure_openai_api_key
            and settings.azure_openai_deployment
        ):
            endpoint, model = settings.azure_openai_endpoint, settings.azure_openai_deployment
            http = reach(endpoint, {"api-key": settings.azure_openai_api_key.get_secret_value()})
            url = azure_url(endpoint, model, settings.azure_openai_api_version)
            return _cloud_chat(name, http, url, model, own)
        case "anthropic" if settings.anthropic_api_key:
            key = settings.anthropic_api_key.get_secret_value()
            base, model = settings.anthropic_base_url, settings.anthropic_model_id
            http = reach(base, {"x-api-key": key, "anthropic-version": ANTHROPIC_VERSION})
            url = join_url(base, "/v1/messages")
            return AnthropicMessages(name, http=http, url=url, model=model, is_local=http.is_loopback)
        case "gemini" if settings.google_gemini_api_key:
            base, model = settings.google_gemini_base_url, settings.google_gemini_model_id
            http = reach(base, {"x-goog-api-key": settings.google_gemini_api_key.get_secret_value()})
            url = join_url(base, f"/models/{model}:generateContent")
            return GeminiGenerate(
                name, http=http, url=url, model=model, is_local=http.is_loopback, effort=own.effort
            )
        case _:
            return None
    return _cloud_chat(name, http, join_url(base, "/chat/completions"), model, own)


def addresses_of_models(settings: Settings) -> dict[str, str]:
    """Return where each provider that is configured is reached, in the order in which they are asked."""
    from meeting_assistant.adapters.llm.openai_chat import join_url

    bases = {
        "vllm": join_url(settings.vllm_base_url, settings.vllm_completions_endpoint),
        "xai": settings.xai_base_url,
        "openai": settings.openai_base_url,
        "azure": settings.azure_openai_endpoint,
        "anthropic": settings.anthropic_base_url,
        "gemini": settings.google_gemini_base_url,
    }
    return {
        name: url
        for name in settings.llm_provider_order
        if (url := bases.get(name)) is not None and choose_llm(name, settings) is not None
    }


def _cloud_chat(name: str, http: JsonHttp, url: str, model: str, own: ProviderOptions) -> LlmProvider:
    from meeting_assistant.adapters.llm.openai_chat import CLOUD, ModelChoice, OpenAiChat

    dialect = replace(CLOUD, effort=own.effort)
    return OpenAiChat(
        name, http=http, url=url, model=ModelChoice(model), dialect=dialect, is_local=http.is_loopback
    )


def _vllm(settings: Settings, own: ProviderOptions, http: JsonHttp, url: str) -> LlmProvider:
    from meeting_assistant.adapters.llm.openai_chat import LOCAL, ModelChoice, OpenAiChat, join_url

    return OpenAiChat(
        "vllm",
        http=http,
        url=url,
        model=ModelChoice(
            settings.vllm_model_id,
            is_chosen=settings.is_set("vllm_model_id"),
            models_url=join_url(settings.vllm_base_url, "/v1/models"),
            probe_first=not settings.is_set("vllm_base_url"),
        ),
        dialect=replace(LOCAL, effort=own.effort),
        # Its name says nothing of where it runs.
        is_local=own.is_local if own.is_local is not None else is_private(url),
    )


def bearer(key: SecretStr | None) -> dict[str, str]:
    """The usual header, or none without a key."""
    return {"Authorization": f"Bearer {key.get_secret_value()}"} if key else {}


def azure_url(endpoint: str, deployment: str, version: str | None) -> str:
    """The `/v1` form that Azure recommends, or the deployments form when a version is named."""
    base = endpoint.rstrip("/")
    if version is None:
        return f"{base.removesuffix('/openai/v1')}/openai/v1/chat/completions"
    return f"{base}/openai/deployments/{deployment}/chat/completions?api-version={version}"
