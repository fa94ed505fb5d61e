"""Language models over real HTTP: requests, answers and failures."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from meeting_assistant.adapters.llm.http import JsonHttp
from meeting_assistant.adapters.llm.openai_chat import LOCAL, ModelChoice, OpenAiChat
from meeting_assistant.bootstrap.language_models import build_llm_service
from meeting_assistant.config import load_settings
from meeting_assistant.domain.errors import LlmError
from meeting_assistant.domain.ports import LlmRequest
from meeting_assistant.launcher import free_port
from meeting_assistant.services.llm.json_answers import extract_json
from meeting_assistant.services.llm.llm_service import LLMService
from meeting_assistant.testing.doubles.llm_server import Answer, LlmServer, SeenRequest

pytestmark = pytest.mark.integration

ASK = LlmRequest(
    system="You write minutes.",
    user="1|Ana| We ship on Friday.",
    schema={
        "type": "object",
        "properties": {"n": {"type": "integer"}},
        "required": ["n"],
        "additionalProperties": False,
    },
)

Configure = Callable[..., LLMService]


@pytest.fixture
def llm() -> Iterator[LlmServer]:
    with LlmServer() as server:
        yield server


@pytest.fixture
def configure(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Configure:
    """`configure(VLLM_BASE_URL=…)`: the service as the server would build it from these settings."""

    def build(**env: str) -> LLMService:
        for name, value in {"LLM_BACKOFF_SECONDS": "0", "DATA_DIR": str(tmp_path), **env}.items():
            monkeypatch.setenv(name, value)
        return build_llm_service(load_settings())

    return build


async def ask(service: LLMService, request: LlmRequest = ASK) -> dict[str, object]:
    try:
        return (await service.complete(request, extract_json)).value
    finally:
        await service.close()


async def failure(service: LLMService) -> LlmError:
    with pytest.raises(LlmError) as caught:
        await ask(service)
    return caught.value


PROVIDERS = {
    "vllm": {"VLLM_BASE_URL": "{url}", "VLLM_API_KEY": "key-1"},
    "xai": {"XAI_BASE_URL": "{url}/v1", "XAI_API_KEY": "key-1"},
    "openai": {"OPENAI_BASE_URL": "{url}/v1", "OPENAI_API_KEY": "key-1"},
    "azure": {
        "AZURE_OPENAI_ENDPOINT": "{url}",
        "AZURE_OPENAI_API_KEY": "key-1",
        "AZURE_OPENAI_DEPLOYMENT": "minutes",
    },
    "anthropic": {"ANTHROPIC_BASE_URL": "{url}", "ANTHROPIC_API_KEY": "key-1"},
    "gemini": {"GOOGLE_GEMINI_BASE_URL": "{url}/v1beta", "GOOGLE_GEMINI_API_KEY": "key-1"},
}
WIRE = {
    "vllm": ("/v1/chat/completions", "authorization"),
    "xai": ("/v1/chat/completions", "authorization"),
    "openai": ("/v1/chat/completions", "authorization"),
    "azure": ("/openai/v1/chat/completions", "api-key"),
    "anthropic": ("/v1/messages", "x-api-key"),
    "gemini": ("/v1beta/models/gemini-3.8-flash:generateContent", "x-goog-api-key"),
}


@pytest.mark.parametrize("name", PROVIDERS)
async def test_every_provider_gets_requests_in_its_own_wire_format(
    name: str, llm: LlmServer, configure: Configure
) -> None:
    llm.answer_with({"n": 4})
    env = {variable: value.format(url=llm.url) for variable, value in PROVIDERS[name].items()}
    service = configure(LLM_PROVIDER_ORDER=name, **env)
    assert service.names == [name]
    assert await ask(service) == {"n": 4}
    path, header = WIRE[name]
    (request,) = llm.requests
    assert request.path == path
    assert request.headers[header].endswith("key-1")
    assert "key-1" not in request.path
    sent = json.dumps(request.body)
    assert "We ship on Friday." in sent
    assert '"n"' in sent, "the schema goes along"


async def test_a_server_without_json_schema_gets_a_weaker_form(llm: LlmServer, configure: Configure) -> None:
    llm.answer_with_status(500, {"detail": "literal_error at body.response_format.type"}).answer_with(
        {"n": 5}
    )
    assert await ask(configure(LLM_PROVIDER_ORDER="vllm", VLLM_BASE_URL=llm.url)) == {"n": 5}
    first, second = (request.body["response_format"]["type"] for request in llm.requests)
    assert (first, second) == ("json_schema", "json_object")


async def test_without_a_chosen_model_the_served_one_is_used(llm: LlmServer, configure: Configure) -> None:
    llm.serving("the-served-one").answer_with_status(404, {"error": {"message": "no such model"}})
    llm.answer_with({"n": 6})
    assert await ask(configure(LLM_PROVIDER_ORDER="vllm", VLLM_BASE_URL=llm.url)) == {"n": 6}
    assert llm.requests[-1].body["model"] == "the-served-one"


async def test_a_chosen_model_is_not_replaced(llm: LlmServer, configure: Configure) -> None:
    llm.answer_with_status(404, {"error": {"message": "no such model"}})
    error = await failure(configure(LLM_PROVIDER_ORDER="vllm", VLLM_BASE_URL=llm.url, VLLM_MODEL_ID="mine"))
    assert error.message.startswith("Failed to get LLM response.")
    assert len(llm.requests) == 1


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_a_transient_failure_is_retried(status: int, llm: LlmServer, configure: Configure) -> None:
    llm.answer_with_status(status).answer_with({"n": 7})
    assert await ask(configure(LLM_PROVIDER_ORDER="vllm", VLLM_BASE_URL=llm.url)) == {"n": 7}
    assert len(llm.requests) == 2


async def test_the_next_provider_is_used_if_one_fails(llm: LlmServer, configure: Configure) -> None:
    llm.answer_with({"n": 8})
    service = configure(
        LLM_PROVIDER_ORDER="vllm,xai",
        VLLM_BASE_URL=f"http://127.0.0.1:{free_port()}",
        XAI_BASE_URL=llm.url,
        XAI_API_KEY="key",
        LLM_MAX_RETRIES="0",
    )
    assert await ask(service) == {"n": 8}


@pytest.mark.parametrize(
    "spoil",
    [
        lambda llm: llm.answer_with({"n": 1}, finish="length"),
        lambda llm: llm.answer_with("I am sorry, I cannot do that."),
        lambda llm: llm.answer_with(""),
        lambda llm: llm.answer_with_status(200, "<html>a login page</html>"),
        lambda llm: llm.answer_with_status(200, {"choices": []}),
        lambda llm: llm.answer_with_status(401, {"error": "Unauthorized"}),
        lambda llm: llm.answer_with_status(
            400, {"error": {"message": "This model's maximum context length is 8192"}}
        ),
        lambda llm: llm.answer_with_status(418, "no"),
    ],
    ids=["truncated", "prose", "empty", "html", "no choice", "wrong key", "too long", "refused"],
)
async def test_an_unusable_answer_is_an_error_and_never_text_of_the_minutes(
    spoil: Callable[[LlmServer], object], llm: LlmServer, configure: Configure
) -> None:
    spoil(llm)
    error = await failure(configure(LLM_PROVIDER_ORDER="vllm", VLLM_BASE_URL=llm.url, LLM_MAX_RETRIES="0"))
    assert error.message.startswith("Failed to get LLM response.")
    assert error.remedy


async def test_an_error_quotes_nothing_from_the_server(llm: LlmServer, configure: Configure) -> None:
    llm.answer_with_status(400, {"error": {"message": "cannot parse: We ship on Friday."}})
    error = await failure(configure(LLM_PROVIDER_ORDER="vllm", VLLM_BASE_URL=llm.url))
    assert "Friday" not in str(error)


async def test_local_only_contacts_no_remote_provider(configure: Configure) -> None:
    service = configure(LLM_LOCAL_ONLY="true", OPENAI_API_KEY="key", ANTHROPIC_API_KEY="key")
    assert service.names == ["vllm"]
    error = await failure(configure(LLM_LOCAL_ONLY="true", LLM_PROVIDER_ORDER="openai", OPENAI_API_KEY="key"))
    assert "may be asked" in error.message


@pytest.mark.parametrize(
    "text",
    ['{"n": 1}', '```json\n{"n": 1}\n```', '<think>{"n": 9}?</think> {"n": 1}', 'Here it is: {"n": 1} Done.'],
)
def test_the_json_object_is_found_within_surrounding_text(text: str) -> None:
    assert extract_json(text) == {"n": 1}


# --- who counts as one's own -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "is_own"),
    [
        ("http://localhost:8001", True),
        ("http://127.0.0.1:8001", True),
        ("http://[::1]:8001", True),
        ("http://10.1.2.3:8001", True),
        ("http://192.168.1.7:8001", True),
        ("http://vllm:8001", True),
        ("http://gpu.local:8001", True),
        ("http://vllm.models.svc.cluster.internal", True),
        ("https://vllm.example.com", False),
        ("http://8.8.8.8:8001", False),
        ("http://0.0.0.0:8001", False),
    ],
)
def test_a_vllm_server_is_local_by_its_address_and_not_by_its_name(
    address: str, is_own: bool, configure: Configure
) -> None:
    service = configure(LLM_PROVIDER_ORDER="vllm", VLLM_BASE_URL=address)
    assert service.may_ask(is_local_only=True) is is_own


def test_the_final_address_decides_whether_a_provider_is_local(configure: Configure) -> None:
    """The path may be a whole address."""
    service = configure(
        LLM_PROVIDER_ORDER="vllm", VLLM_COMPLETIONS_ENDPOINT="https://llm.example.com/v1/chat/completions"
    )
    assert not service.may_ask(is_local_only=True)


@pytest.mark.parametrize("is_own", [True, False])
def test_the_operator_can_declare_a_provider_local(is_own: bool, configure: Configure) -> None:
    service = configure(
        LLM_PROVIDER_ORDER="vllm",
        VLLM_BASE_URL="https://gpu.company.example" if is_own else "http://10.1.2.3",
        LLM_OPTIONS__VLLM__IS_LOCAL=str(is_own).lower(),
    )
    assert service.may_ask(is_local_only=True) is is_own


# --- many at once, and models that think -------------------------------------------------------------------


async def test_concurrent_refusals_weaken_the_form_by_one_step(llm: LlmServer, configure: Configure) -> None:
    """All three requests are refused before any of them learns of the others."""
    together = threading.Barrier(3, timeout=30)

    def refuses_schemas(request: SeenRequest) -> Answer:
        if request.body["response_format"]["type"] == "json_schema":
            together.wait()
            return Answer('{"error": {"message": "response_format is not known"}}', 400, is_raw=True)
        return Answer('{"n": 9}')

    llm.answer_by(refuses_schemas)
    service = configure(LLM_PROVIDER_ORDER="vllm", VLLM_BASE_URL=llm.url, VLLM_MODEL_ID="m")
    answers = await asyncio.gather(*(service.complete(ASK, extract_json) for _ in range(3)))
    assert [answer.value for answer in answers] == [{"n": 9}] * 3
    await ask(service)
    forms = [request.body["response_format"]["type"] for request in llm.requests]
    assert forms == ["json_schema"] * 3 + ["json_object"] * 4


async def test_a_server_without_response_formats_gets_the_schema_in_its_prompt(
    llm: LlmServer, configure: Configure
) -> None:
    def knows_none(request: SeenRequest) -> Answer:
        if "response_format" in request.body:
            return Answer('{"error": {"message": "response_format is not known"}}', 400, is_raw=True)
        return Answer('{"n": 9}')

    llm.answer_by(knows_none)
    assert await ask(configure(LLM_PROVIDER_ORDER="vllm", VLLM_BASE_URL=llm.url, VLLM_MODEL_ID="m")) == {
        "n": 9
    }
    assert '"n"' in llm.requests[-1].body["messages"][0]["content"]


async def test_a_chosen_model_at_the_default_address_is_used(
    llm: LlmServer,
) -> None:
    """At a default address the server must list its models first, but a chosen model is kept."""
    llm.serving("other", "mine").answer_with({"n": 1})
    await ask_after_probing(llm)
    assert llm.requests[0].body["model"] == "mine"
    llm.forget().serving("other").answer_with({"n": 1})
    with pytest.raises(LlmError, match="does not serve the model mine; it serves other"):
        await ask_after_probing(llm)
    assert llm.requests == [], "it may be the server of another program"


async def ask_after_probing(llm: LlmServer) -> None:
    chat = OpenAiChat(
        "vllm",
        http=JsonHttp("vllm", llm.url, {}, timeout_s=30),
        url=f"{llm.url}/v1/chat/completions",
        model=ModelChoice("mine", models_url=f"{llm.url}/v1/models", probe_first=True),
        dialect=LOCAL,
        is_local=True,
    )
    try:
        await chat.complete(ASK)
    finally:
        await chat.close()


@pytest.mark.parametrize(("name", "field"), [("openai", "max_completion_tokens"), ("vllm", "max_tokens")])
async def test_cloud_models_get_extra_tokens_for_reasoning(
    name: str, field: str, llm: LlmServer, configure: Configure
) -> None:
    llm.answer_with({"n": 4})
    env = {variable: value.format(url=llm.url) for variable, value in PROVIDERS[name].items()}
    await ask(configure(LLM_PROVIDER_ORDER=name, **env))
    room = llm.requests[0].body[field] - ASK.max_output_tokens
    assert (room > 2000) is (name == "openai")


@pytest.mark.parametrize("name", ["vllm", "xai", "openai", "azure", "gemini"])
async def test_the_reasoning_effort_can_be_configured(
    name: str, llm: LlmServer, configure: Configure
) -> None:
    llm.answer_with({"n": 4})
    env = {variable: value.format(url=llm.url) for variable, value in PROVIDERS[name].items()}
    await ask(configure(LLM_PROVIDER_ORDER=name, **{f"LLM_OPTIONS__{name.upper()}__EFFORT": "low"}, **env))
    body = llm.requests[0].body
    if name == "gemini":
        assert body["generationConfig"]["thinkingConfig"] == {"thinkingLevel": "low"}
    else:
        assert body["reasoning_effort"] == "low"


async def test_closing_the_service_closes_open_streams(llm: LlmServer, configure: Configure) -> None:
    llm.answer_with({"n": 4})
    service = configure(LLM_PROVIDER_ORDER="vllm", VLLM_BASE_URL=llm.url, VLLM_MODEL_ID="m")
    await service.complete(ASK, extract_json)
    assert llm.is_connected
    await service.close()
    await asyncio.to_thread(llm.all_gone.wait, 30)
    assert not llm.is_connected
