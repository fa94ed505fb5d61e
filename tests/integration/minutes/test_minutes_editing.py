"""What people do with minutes: have them written again, change them, go back; and who sees a meeting on the way."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import httpx
import pytest
from websockets.asyncio.client import ClientConnection, connect

from meeting_assistant.client import LiveClient, paced
from meeting_assistant.domain.errors import MeetingRefusedError
from meeting_assistant.launcher import ServerProcess
from meeting_assistant.testing.doubles.llm_server import Answer, LlmServer, SeenRequest, user_text
from meeting_assistant.testing.harness.meetings import MeetingFixture, seed

LINES = (
    ("S1", "Let us talk about the spring release."),
    ("S2", "I finished the login page yesterday."),
    ("S1", "We decided to ship version 3 on Monday."),
    ("S2", "I will write the release notes by Friday."),
    ("S1", "The test machine is broken, so I cannot go on with the tests."),
)
NOTHING: dict[str, Any] = {
    "summary": [],
    "topics": [],
    "decisions": [],
    "action_items": [],
    "open_questions": [],
    "risks": [],
    "taken_back": [],
}
MODEL_MINUTES = {
    **NOTHING,
    "summary": [{"lines": [3], "text": "Speaker 1 decided to ship version 3 on Monday."}],
    "decisions": [{"lines": [3], "quote": LINES[2][1], "text": "Ship version 3 on Monday."}],
    "action_items": [
        {
            "lines": [4],
            "quote": LINES[3][1],
            "text": "Speaker 2 writes the release notes.",
            "owner": "Speaker 2",
            "due": "by Friday",
        }
    ],
}
STANDUP = {
    **NOTHING,
    "done": [{"lines": [2], "quote": LINES[1][1], "text": "The login page is finished."}],
    "next": [],
    "blocked": [
        {"lines": [5], "quote": "The test machine is broken", "text": "The test machine is broken."},
        {"lines": [5], "quote": "nobody said this", "text": "The coffee is out."},
    ],
}


AFTER_FINAL = 2**53


class Desk:
    """A server, a model, and a person with one meeting."""

    def __init__(self, server: ServerProcess, model: LlmServer, meeting_id: str) -> None:
        self.server = server
        self.model = model
        self.meeting_id = meeting_id
        self.http = httpx.Client(base_url=server.url, timeout=30)
        self.path = f"/api/meetings/{meeting_id}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.http.close()

    def minutes(self) -> dict[str, Any]:
        found: dict[str, Any] = self.http.get(self.path).json()["minutes"]
        return found

    def change(self, item_id: str, version: int, **change: object) -> httpx.Response:
        return self.http.patch(f"{self.path}/minutes/items/{item_id}?version={version}", json=change)

    async def write_again(self, **how: object) -> dict[str, Any]:
        """Ask for it, and wait until everybody is told that it is done."""
        async with self.watching() as socket:
            answer = await asyncio.to_thread(self.http.post, f"{self.path}/minutes", json=how)
            assert answer.status_code == 202, answer.text
            await until_done(socket)
        return self.minutes()

    def watching(self) -> connect:
        return connect(
            f"{self.server.ws_url}/ws/meetings/{self.meeting_id}/events?last_seq={AFTER_FINAL}", proxy=None
        )


async def until_done(socket: ClientConnection) -> None:
    """The first `Done` after a `Writing minutes`."""
    is_writing = False
    async with asyncio.timeout(60):
        while True:
            message = json.loads(await socket.recv())
            if message["type"] == "status":
                if is_writing and message["status"] == "Done":
                    return
                is_writing = is_writing or message["status"] == "Writing minutes"


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[ServerProcess, LlmServer, list[str]]]:
    """One server for all tests here, with a meeting for each of them."""
    data = tmp_path_factory.mktemp("desk") / "data"
    ids = seed(
        data,
        *(
            MeetingFixture(LINES, title=f"Release {n}", more={"created_at_ms": 1_795_000_000_000})
            for n in range(16)
        ),
    )
    with LlmServer().serving("m") as model:
        env = {
            "VLLM_BASE_URL": model.url,
            "VLLM_MODEL_ID": "m",
            "LLM_BACKOFF_SECONDS": "0",
            "LLM_MAX_RETRIES": "0",
        }
        with ServerProcess(data, env) as server:
            yield server, model, ids


@pytest.fixture
def desk(house: tuple[ServerProcess, LlmServer, list[str]]) -> Iterator[Desk]:
    server, model, ids = house
    with Desk(server, model.forget(), ids.pop()) as desk:
        yield desk


# --- by hand ----------------------------------------------------------------------------------------------


async def test_what_a_person_changed_stays_when_the_minutes_are_written_again(desk: Desk) -> None:
    desk.model.answer_with(MODEL_MINUTES)
    minutes = await desk.write_again()
    version = minutes["version"]
    (decision,), (action,) = minutes["decisions"], minutes["action_items"]
    assert desk.change(decision["id"], version, text="Ship version 3 on Monday at noon.").is_success
    assert desk.change(action["id"], version, owner="Legal", due="2026-12-24").is_success
    again = await desk.write_again()
    assert again["version"] == version + 1
    (decision,), (action,) = again["decisions"], again["action_items"]
    assert (decision["text"], decision["support"]) == ("Ship version 3 on Monday at noon.", "by_hand")
    assert (action["owner"], action["due"], action["is_edited"]) == ("Legal", "2026-12-24", True)
    assert action["evidence"][0]["quote"] in LINES[3][1], "where it was said is not lost"


async def test_what_a_person_took_out_or_added_stays_out_or_in(desk: Desk) -> None:
    desk.model.answer_with(MODEL_MINUTES)
    minutes = await desk.write_again()
    address = f"{desk.path}/minutes/items"
    item_id = minutes["decisions"][0]["id"]
    assert desk.http.delete(f"{address}/{item_id}?version={minutes['version']}").json()["decisions"] == []
    added = {"kind": "risks", "text": "Nobody tests <b>on Windows</b>.", "utterance": 5}
    answer = desk.http.post(f"{address}?version={minutes['version']}", json=added)
    assert answer.status_code == 201
    again = await desk.write_again()
    assert again["decisions"] == []
    (risk,) = again["risks"]
    assert (risk["text"], risk["support"]) == ("Nobody tests <b>on Windows</b>.", "by_hand")
    assert risk["evidence"] == [{"utterance": 5, "quote": LINES[4][1]}]


async def test_two_people_do_not_overwrite_each_other(desk: Desk) -> None:
    desk.model.answer_with(MODEL_MINUTES)
    minutes = await desk.write_again()
    stale = desk.change(minutes["decisions"][0]["id"], minutes["version"] - 1, text="x")
    assert stale.status_code == 409
    assert "newest" in stale.json()["error"]["message"]
    assert desk.change("d99", minutes["version"], text="x").status_code == 404
    assert desk.change("d1", minutes["version"], text="").status_code == 422
    assert desk.minutes() == minutes


# --- written again ----------------------------------------------------------------------------------------


async def test_a_template_asks_for_its_own_sections_and_a_language(desk: Desk) -> None:
    desk.model.answer_with(STANDUP)
    minutes = await desk.write_again(template="standup", language="de")
    system = desk.model.requests[0].body["messages"][0]["content"]
    assert 'in the language "de"' in system
    assert "what keeps somebody from going on" in system
    assert (minutes["template"], minutes["language"]) == ("standup", "de")
    sections = {
        section["title"]: [item["text"] for item in section["items"]] for section in minutes["sections"]
    }
    assert sections == {
        "Done": ["The login page is finished."],
        "Next": [],
        "In the way": ["The test machine is broken."],
    }
    assert minutes["provenance"]["dropped_items"] == 1, "what nobody said is in no section either"
    exported = desk.http.get(f"{desk.path}/export?format=md").text
    assert "## In the way" in exported


async def test_versions_are_kept_and_an_older_one_can_be_taken_back(desk: Desk) -> None:
    desk.model.answer_with(MODEL_MINUTES)
    first = await desk.write_again()
    by_rules = await desk.write_again(llm_provider="embedded")
    assert by_rules["provenance"]["provider"] == "embedded"
    listed = desk.http.get(f"{desk.path}/minutes").json()
    assert [v["provider"] for v in listed] == ["embedded", "vllm", "embedded"]
    assert desk.http.get(f"{desk.path}/minutes/{first['version']}").json() == first
    restored = desk.http.post(f"{desk.path}/minutes/{first['version']}/restore").json()
    assert restored["version"] == by_rules["version"] + 1
    assert restored["decisions"] == first["decisions"]
    assert desk.http.get(f"{desk.path}/minutes/99").status_code == 404


async def test_a_version_that_was_taken_back_still_learns_what_speakers_are_called(desk: Desk) -> None:
    desk.model.answer_with(MODEL_MINUTES)
    first = await desk.write_again()
    await desk.write_again(llm_provider="embedded")
    restored = desk.http.post(f"{desk.path}/minutes/{first['version']}/restore").json()
    assert restored["action_items"][0]["text"] == "Speaker 2 writes the release notes."
    desk.http.patch(f"{desk.path}/speakers/S2", json={"name": "Zoë"})
    assert desk.minutes()["action_items"][0]["text"] == "Zoë writes the release notes."


async def test_a_choice_of_provider_can_be_taken_back(desk: Desk) -> None:
    desk.model.answer_with(MODEL_MINUTES)
    assert (await desk.write_again(llm_provider="embedded"))["provenance"]["provider"] == "embedded"
    assert (await desk.write_again())["provenance"]["provider"] == "embedded", "as it was chosen before"
    assert (await desk.write_again(llm_provider="auto"))["provenance"]["provider"] == "vllm"


async def test_an_id_that_was_taken_out_is_never_the_id_of_something_else(desk: Desk) -> None:
    """Tickets are made once for each id."""
    desk.model.answer_with(MODEL_MINUTES)
    minutes = await desk.write_again(llm_provider="auto")
    (written,) = minutes["action_items"]
    other = {
        **MODEL_MINUTES,
        "action_items": [
            {
                "lines": [5],
                "quote": "The test machine is broken",
                "text": "Repair the test machine.",
                "owner": "Speaker 1",
                "due": "",
            }
        ],
    }
    desk.model.forget().answer_with({**MODEL_MINUTES, "action_items": []})
    assert (await desk.write_again())["action_items"] == []
    desk.model.forget().answer_with(other)
    (repair,) = (await desk.write_again())["action_items"]
    assert repair["id"] != written["id"]


async def test_a_model_that_fails_does_not_replace_minutes_that_are_there(desk: Desk) -> None:
    desk.model.answer_with(MODEL_MINUTES)
    good = await desk.write_again()
    desk.model.forget().answer_with_status(400, {"error": {"message": "no"}})
    assert await desk.write_again() == good
    meeting = desk.http.get(desk.path).json()["meeting"]
    assert meeting["errors"][-1]["message"].startswith("Failed to get LLM response.")
    desk.model.forget().answer_with(MODEL_MINUTES)
    await desk.write_again()
    assert desk.http.get(desk.path).json()["meeting"]["errors"] == [], "what is mended is no error"


@pytest.mark.parametrize(
    ("how", "code"),
    [({"template": "party"}, "unknown_template"), ({"llm_provider": "openai"}, "unknown_provider"),
     ({"language": "no language"}, "bad_input"), ({"tempalte": "x"}, "bad_input")],
)  # fmt: skip
def test_wishes_that_nobody_can_fulfil_are_refused(desk: Desk, how: dict[str, str], code: str) -> None:
    answer = desk.http.post(f"{desk.path}/minutes", json=how)
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, code)


async def test_naming_a_speaker_changes_the_minutes_without_asking_a_model(desk: Desk) -> None:
    desk.model.answer_with(MODEL_MINUTES)
    minutes = await desk.write_again()
    assert minutes["action_items"][0]["text"] == "Speaker 2 writes the release notes."
    desk.http.patch(f"{desk.path}/speakers/S2", json={"name": "Zoë"})
    named = desk.minutes()
    assert named["action_items"][0]["text"] == "Zoë writes the release notes."
    assert named["summary"][0]["text"].startswith("Speaker 1 decided")
    assert "Zoë writes the release notes" in desk.http.get(f"{desk.path}/export?format=md").text
    assert len(desk.model.requests) == 1


@pytest.fixture
def held(tmp_path: Path) -> str:
    """A meeting in the data directory of a server that does not run yet."""
    (meeting_id,) = seed(tmp_path / "data", MeetingFixture(LINES))
    return meeting_id


async def test_minutes_that_were_being_written_when_the_server_died_are_written_by_the_next(
    tmp_path: Path, held: str
) -> None:
    with LlmServer().serving("m").never_answer() as model:
        server = ServerProcess(tmp_path / "data", {"VLLM_BASE_URL": model.url, "VLLM_MODEL_ID": "m"})
        server.start()
        try:
            with Desk(server, model, held) as desk:
                coming = desk.http.post(f"{desk.path}/minutes", json={"template": "standup"}).json()[
                    "version"
                ]
                assert desk.http.post(f"{desk.path}/minutes", json={}).status_code == 409, (
                    "it is being written"
                )
                assert await asyncio.to_thread(model.is_stuck.wait, 30)
            server.kill()
            model.forget().answer_with(STANDUP)
            server.start()
            with Desk(server, model, held) as desk:
                async with desk.watching() as socket, asyncio.timeout(60):
                    while desk.minutes()["version"] < coming:
                        await socket.recv()
                assert desk.minutes()["template"] == "standup"
        finally:
            server.stop()


# --- who sees it ------------------------------------------------------------------------------------------


async def test_who_was_asked_about_a_meeting_is_written_down(desk: Desk) -> None:
    desk.model.answer_with(MODEL_MINUTES)
    await desk.write_again()
    (call,) = desk.http.get(f"{desk.path}/llm-calls").json()
    assert (call["provider"], call["purpose"], call["outcome"], call["is_local"]) == (
        "vllm",
        "minutes",
        "ok",
        True,
    )
    assert (call["prompt_tokens"], call["completion_tokens"], call["model"]) == (11, 7, "served-model")
    assert "release notes" not in json.dumps(call)


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[tuple[ServerProcess, LlmServer, str]]:
    """A server whose only model runs elsewhere: an address that is none of this machine's usual ones."""
    (meeting_id,) = seed(tmp_path / "data", MeetingFixture(LINES))
    with LlmServer().answer_with(MODEL_MINUTES) as model:
        elsewhere = model.url.replace("127.0.0.1", "127.1")
        env = {"OPENAI_API_KEY": "k", "OPENAI_BASE_URL": elsewhere, "LLM_PROVIDER_ORDER": "openai"}
        with ServerProcess(tmp_path / "data", env) as server:
            yield server, model, meeting_id


async def test_a_meeting_that_is_local_only_is_seen_by_nobody_elsewhere(
    cloud: tuple[ServerProcess, LlmServer, str], hello: bytes
) -> None:
    server, model, _ = cloud
    client = LiveClient(server.ws_url, start={"local_only": True})
    final = await client.stream(paced(hello, is_fast=True))
    assert final["minutes"]["provenance"]["provider"] == "embedded"
    assert final["errors"][0]["message"].startswith(
        "Failed to get LLM response. No language model may be asked."
    )
    assert model.requests == []
    with Desk(server, model, final["meeting"]["id"]) as desk:
        assert desk.http.get(f"{desk.path}/llm-calls").json() == []


async def test_a_meeting_can_be_made_local_only_and_never_the_other_way(
    cloud: tuple[ServerProcess, LlmServer, str],
) -> None:
    server, model, meeting_id = cloud
    with Desk(server, model, meeting_id) as desk:
        assert (await desk.write_again())["provenance"]["provider"] == "openai"
        (call,) = desk.http.get(f"{desk.path}/llm-calls").json()
        assert call["is_local"] is False
        assert desk.http.post(f"{desk.path}/local-only", json={"local_only": False}).status_code == 422
        assert (
            desk.http.post(f"{desk.path}/local-only", json={"local_only": True}).json()["local_only"] is True
        )
        await desk.write_again()
    assert len(model.requests) == 1


async def test_what_is_forbidden_while_minutes_are_written_stays_from_then_on(
    cloud: tuple[ServerProcess, LlmServer, str],
) -> None:
    server, model, meeting_id = cloud

    def forbids(request: SeenRequest) -> Answer:
        """Somebody makes the meeting local only while the first part is read; the rest is then to be asked for."""
        answer = httpx.post(f"{server.url}/api/meetings/{meeting_id}/local-only", json={"local_only": True})
        assert answer.is_success
        return Answer(json.dumps(NOTHING), finish="length")

    model.forget().answer_by(forbids)
    with Desk(server, model, meeting_id) as desk:
        await desk.write_again()
        assert len(model.requests) == 1
        (call,) = desk.http.get(f"{desk.path}/llm-calls").json()
        assert call["outcome"] == "llm_truncated"
        (error,) = desk.http.get(desk.path).json()["meeting"]["errors"]
    assert "local only" in error["message"]


async def test_a_person_can_keep_all_of_their_meetings_local(
    cloud: tuple[ServerProcess, LlmServer, str],
) -> None:
    server, model, meeting_id = cloud
    chosen = {"local_only": True, "template": "standup"}
    with Desk(server, model, meeting_id) as desk:
        assert desk.http.put("/api/preferences", json=chosen).is_success
        assert desk.http.get("/api/preferences").json()["template"] == "standup"
        await desk.write_again()
        assert desk.http.put("/api/preferences", json={"template": "party"}).status_code == 422
    assert model.requests == []


async def test_a_meeting_may_name_its_provider_its_template_and_its_language(
    tmp_path: Path, hello: bytes
) -> None:
    with LlmServer().serving("m").answer_with(STANDUP) as model, LlmServer() as unused:
        env = {
            "VLLM_BASE_URL": unused.url,
            "VLLM_MODEL_ID": "m",
            "OPENAI_API_KEY": "k",
            "OPENAI_BASE_URL": model.url,
            "NOTES_INTERVAL_SECONDS": "0",
        }
        with ServerProcess(tmp_path / "data", env) as server:
            wishes = {"llm_provider": "openai", "template": "standup", "minutes_language": "fr"}
            final = await LiveClient(server.ws_url, start=wishes).stream(paced(hello, is_fast=True))
            with pytest.raises(MeetingRefusedError) as refused:
                await LiveClient(server.ws_url, start={"template": "party"}).stream(paced(b"", is_fast=True))
        assert unused.requests == []
        assert "customers" in user_text(model.requests[0])
    assert refused.value.code == "unknown_template"
    assert final["minutes"]["provenance"]["provider"] == "openai"
    assert (final["minutes"]["template"], final["minutes"]["language"]) == ("standup", "fr")
