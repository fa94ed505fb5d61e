"""Which language models a meeting may be sent to: local only, and by the choice of a meeting."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from meeting_assistant.client import LiveClient, paced
from meeting_assistant.domain.errors import MeetingRefusedError
from meeting_assistant.launcher import ServerProcess
from meeting_assistant.testing.doubles.llm_server import Answer, LlmServer, SeenRequest, user_text
from meeting_assistant.testing.harness.llm_minutes import EMPTY_ANSWER
from meeting_assistant.testing.harness.meetings import MeetingFixture, seed
from meeting_assistant.testing.harness.minutes_client import LINES, MODEL_MINUTES, STANDUP, MinutesClient


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[tuple[ServerProcess, LlmServer, str]]:
    """A server whose only model counts as remote: its address is not a usual one of this machine."""
    (meeting_id,) = seed(tmp_path / "data", MeetingFixture(LINES))
    with LlmServer().answer_with(MODEL_MINUTES) as model:
        elsewhere = model.url.replace("127.0.0.1", "127.1")
        env = {"OPENAI_API_KEY": "k", "OPENAI_BASE_URL": elsewhere, "LLM_PROVIDER_ORDER": "openai"}
        with ServerProcess(tmp_path / "data", env) as server:
            yield server, model, meeting_id


async def test_a_local_only_meeting_is_sent_to_no_remote_provider(
    cloud: tuple[ServerProcess, LlmServer, str], hello: bytes
) -> None:
    server, model, _ = cloud
    live = LiveClient(server.ws_url, start={"local_only": True})
    final = await live.stream(paced(hello, is_fast=True))
    assert final["minutes"]["provenance"]["provider"] == "embedded"
    assert final["errors"][0]["message"].startswith(
        "Failed to get LLM response. No language model may be asked."
    )
    assert model.requests == []
    with MinutesClient(server, model, final["meeting"]["id"]) as client:
        assert client.http.get(f"{client.path}/llm-calls").json() == []


async def test_local_only_can_be_set_but_not_cleared(
    cloud: tuple[ServerProcess, LlmServer, str],
) -> None:
    server, model, meeting_id = cloud
    with MinutesClient(server, model, meeting_id) as client:
        assert (await client.write_again())["provenance"]["provider"] == "openai"
        (call,) = client.http.get(f"{client.path}/llm-calls").json()
        assert call["is_local"] is False
        assert client.http.post(f"{client.path}/local-only", json={"local_only": False}).status_code == 422
        assert (
            client.http.post(f"{client.path}/local-only", json={"local_only": True}).json()["local_only"]
            is True
        )
        await client.write_again()
    assert len(model.requests) == 1


async def test_local_only_set_while_minutes_are_written_stops_further_requests(
    cloud: tuple[ServerProcess, LlmServer, str],
) -> None:
    server, model, meeting_id = cloud

    def forbids(request: SeenRequest) -> Answer:
        """Make the meeting local only while the first part is read; the rest would be requested next."""
        answer = httpx.post(f"{server.url}/api/meetings/{meeting_id}/local-only", json={"local_only": True})
        assert answer.is_success
        return Answer(json.dumps(EMPTY_ANSWER), finish="length")

    model.forget().answer_by(forbids)
    with MinutesClient(server, model, meeting_id) as client:
        await client.write_again()
        assert len(model.requests) == 1
        (call,) = client.http.get(f"{client.path}/llm-calls").json()
        assert call["outcome"] == "llm_truncated"
        (error,) = client.http.get(client.path).json()["meeting"]["errors"]
    assert "local only" in error["message"]


async def test_a_person_can_keep_all_of_their_meetings_local(
    cloud: tuple[ServerProcess, LlmServer, str],
) -> None:
    server, model, meeting_id = cloud
    chosen = {"local_only": True, "template": "standup"}
    with MinutesClient(server, model, meeting_id) as client:
        assert client.http.put("/api/preferences", json=chosen).is_success
        assert client.http.get("/api/preferences").json()["template"] == "standup"
        await client.write_again()
        assert client.http.put("/api/preferences", json={"template": "party"}).status_code == 422
    assert model.requests == []


async def test_a_meeting_can_choose_its_provider_template_and_language(tmp_path: Path, hello: bytes) -> None:
    with LlmServer().serving("m").answer_with(STANDUP) as model, LlmServer() as unused:
        env = {
            "VLLM_BASE_URL": unused.url,
            "VLLM_MODEL_ID": "m",
            "OPENAI_API_KEY": "k",
            "OPENAI_BASE_URL": model.url,
            "NOTES_INTERVAL_SECONDS": "0",
        }
        with ServerProcess(tmp_path / "data", env) as server:
            options = {"llm_provider": "openai", "template": "standup", "minutes_language": "fr"}
            final = await LiveClient(server.ws_url, start=options).stream(paced(hello, is_fast=True))
            with pytest.raises(MeetingRefusedError) as refused:
                await LiveClient(server.ws_url, start={"template": "party"}).stream(paced(b"", is_fast=True))
        assert unused.requests == []
        assert "customers" in user_text(model.requests[0])
    assert refused.value.code == "unknown_template"
    assert final["minutes"]["provenance"]["provider"] == "openai"
    assert (final["minutes"]["template"], final["minutes"]["language"]) == ("standup", "fr")
