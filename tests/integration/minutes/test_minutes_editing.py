"""What people do with minutes: write them again, change them, restore an earlier version."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from meeting_assistant.launcher import ServerProcess
from meeting_assistant.testing.doubles.llm_server import LlmServer
from meeting_assistant.testing.harness.meetings import MeetingFixture, seed
from meeting_assistant.testing.harness.minutes_client import LINES, MODEL_MINUTES, STANDUP, MinutesClient


@pytest.fixture(scope="module")
def editing_server(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[ServerProcess, LlmServer, list[str]]]:
    """One server for all tests of this file, with a meeting for each."""
    data = tmp_path_factory.mktemp("minutes") / "data"
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
def client(editing_server: tuple[ServerProcess, LlmServer, list[str]]) -> Iterator[MinutesClient]:
    server, model, ids = editing_server
    with MinutesClient(server, model.forget(), ids.pop()) as client:
        yield client


async def test_edits_survive_a_rewrite_of_the_minutes(client: MinutesClient) -> None:
    client.model.answer_with(MODEL_MINUTES)
    minutes = await client.write_again()
    version = minutes["version"]
    (decision,), (action,) = minutes["decisions"], minutes["action_items"]
    assert client.change(decision["id"], version, text="Ship version 3 on Monday at noon.").is_success
    assert client.change(action["id"], version, owner="Legal", due="2026-12-24").is_success
    again = await client.write_again()
    assert again["version"] == version + 1
    (decision,), (action,) = again["decisions"], again["action_items"]
    assert (decision["text"], decision["support"]) == ("Ship version 3 on Monday at noon.", "by_hand")
    assert (action["owner"], action["due"], action["is_edited"]) == ("Legal", "2026-12-24", True)
    assert action["evidence"][0]["quote"] in LINES[3][1], "where it was said is not lost"


async def test_deleted_and_added_items_survive_a_rewrite(client: MinutesClient) -> None:
    client.model.answer_with(MODEL_MINUTES)
    minutes = await client.write_again()
    address = f"{client.path}/minutes/items"
    item_id = minutes["decisions"][0]["id"]
    assert client.http.delete(f"{address}/{item_id}?version={minutes['version']}").json()["decisions"] == []
    added = {"kind": "risks", "text": "Nobody tests <b>on Windows</b>.", "utterance": 5}
    answer = client.http.post(f"{address}?version={minutes['version']}", json=added)
    assert answer.status_code == 201
    again = await client.write_again()
    assert again["decisions"] == []
    (risk,) = again["risks"]
    assert (risk["text"], risk["support"]) == ("Nobody tests <b>on Windows</b>.", "by_hand")
    assert risk["evidence"] == [{"utterance": 5, "quote": LINES[4][1]}]


async def test_two_people_do_not_overwrite_each_other(client: MinutesClient) -> None:
    client.model.answer_with(MODEL_MINUTES)
    minutes = await client.write_again()
    stale = client.change(minutes["decisions"][0]["id"], minutes["version"] - 1, text="x")
    assert stale.status_code == 409
    assert "newest" in stale.json()["error"]["message"]
    assert client.change("d99", minutes["version"], text="x").status_code == 404
    assert client.change("d1", minutes["version"], text="").status_code == 422
    assert client.minutes() == minutes


async def test_a_template_adds_its_sections_and_a_language(client: MinutesClient) -> None:
    client.model.answer_with(STANDUP)
    minutes = await client.write_again(template="standup", language="de")
    system = client.model.requests[0].body["messages"][0]["content"]
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
    assert minutes["provenance"]["dropped_items"] == 1, "an item without evidence is in no section either"
    exported = client.http.get(f"{client.path}/export?format=md").text
    assert "## In the way" in exported


async def test_versions_are_kept_and_an_older_one_can_be_restored(client: MinutesClient) -> None:
    client.model.answer_with(MODEL_MINUTES)
    first = await client.write_again()
    by_rules = await client.write_again(llm_provider="embedded")
    assert by_rules["provenance"]["provider"] == "embedded"
    listed = client.http.get(f"{client.path}/minutes").json()
    assert [v["provider"] for v in listed] == ["embedded", "vllm", "embedded"]
    assert client.http.get(f"{client.path}/minutes/{first['version']}").json() == first
    restored = client.http.post(f"{client.path}/minutes/{first['version']}/restore").json()
    assert restored["version"] == by_rules["version"] + 1
    assert restored["decisions"] == first["decisions"]
    assert client.http.get(f"{client.path}/minutes/99").status_code == 404


async def test_a_restored_version_follows_the_names_of_speakers(
    client: MinutesClient,
) -> None:
    client.model.answer_with(MODEL_MINUTES)
    first = await client.write_again()
    await client.write_again(llm_provider="embedded")
    restored = client.http.post(f"{client.path}/minutes/{first['version']}/restore").json()
    assert restored["action_items"][0]["text"] == "Speaker 2 writes the release notes."
    client.http.patch(f"{client.path}/speakers/S2", json={"name": "Zoë"})
    assert client.minutes()["action_items"][0]["text"] == "Zoë writes the release notes."


async def test_a_choice_of_provider_can_be_reverted(client: MinutesClient) -> None:
    client.model.answer_with(MODEL_MINUTES)
    assert (await client.write_again(llm_provider="embedded"))["provenance"]["provider"] == "embedded"
    assert (await client.write_again())["provenance"]["provider"] == "embedded", "as it was chosen before"
    assert (await client.write_again(llm_provider="auto"))["provenance"]["provider"] == "vllm"


async def test_the_id_of_a_deleted_item_is_never_reused(client: MinutesClient) -> None:
    """A ticket is created once for each id."""
    client.model.answer_with(MODEL_MINUTES)
    minutes = await client.write_again(llm_provider="auto")
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
    client.model.forget().answer_with({**MODEL_MINUTES, "action_items": []})
    assert (await client.write_again())["action_items"] == []
    client.model.forget().answer_with(other)
    (repair,) = (await client.write_again())["action_items"]
    assert repair["id"] != written["id"]


async def test_a_failing_model_does_not_replace_existing_minutes(client: MinutesClient) -> None:
    client.model.answer_with(MODEL_MINUTES)
    good = await client.write_again()
    client.model.forget().answer_with_status(400, {"error": {"message": "no"}})
    assert await client.write_again() == good
    meeting = client.http.get(client.path).json()["meeting"]
    assert meeting["errors"][-1]["message"].startswith("Failed to get LLM response.")
    client.model.forget().answer_with(MODEL_MINUTES)
    await client.write_again()
    assert client.http.get(client.path).json()["meeting"]["errors"] == [], "what is mended is no error"


@pytest.mark.parametrize(
    ("how", "code"),
    [({"template": "party"}, "unknown_template"), ({"llm_provider": "openai"}, "unknown_provider"),
     ({"language": "no language"}, "bad_input"), ({"tempalte": "x"}, "bad_input")],
)  # fmt: skip
def test_impossible_options_for_minutes_are_refused(
    client: MinutesClient, how: dict[str, str], code: str
) -> None:
    answer = client.http.post(f"{client.path}/minutes", json=how)
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, code)


async def test_naming_a_speaker_changes_the_minutes_without_a_model(client: MinutesClient) -> None:
    client.model.answer_with(MODEL_MINUTES)
    minutes = await client.write_again()
    assert minutes["action_items"][0]["text"] == "Speaker 2 writes the release notes."
    client.http.patch(f"{client.path}/speakers/S2", json={"name": "Zoë"})
    named = client.minutes()
    assert named["action_items"][0]["text"] == "Zoë writes the release notes."
    assert named["summary"][0]["text"].startswith("Speaker 1 decided")
    assert "Zoë writes the release notes" in client.http.get(f"{client.path}/export?format=md").text
    assert len(client.model.requests) == 1


@pytest.fixture
def seeded_meeting(tmp_path: Path) -> str:
    """The id of a meeting in the data directory of a server that does not run yet."""
    (meeting_id,) = seed(tmp_path / "data", MeetingFixture(LINES))
    return meeting_id


async def test_minutes_interrupted_by_a_crash_are_written_after_the_restart(
    tmp_path: Path, seeded_meeting: str
) -> None:
    with LlmServer().serving("m").never_answer() as model:
        server = ServerProcess(tmp_path / "data", {"VLLM_BASE_URL": model.url, "VLLM_MODEL_ID": "m"})
        server.start()
        try:
            with MinutesClient(server, model, seeded_meeting) as client:
                coming = client.http.post(f"{client.path}/minutes", json={"template": "standup"}).json()[
                    "version"
                ]
                assert client.http.post(f"{client.path}/minutes", json={}).status_code == 409, (
                    "it is being written"
                )
                assert await asyncio.to_thread(model.is_stuck.wait, 30)
            server.kill()
            model.forget().answer_with(STANDUP)
            server.start()
            with MinutesClient(server, model, seeded_meeting) as client:
                async with client.watching() as socket, asyncio.timeout(60):
                    while client.minutes()["version"] < coming:
                        await socket.recv()
                assert client.minutes()["template"] == "standup"
        finally:
            server.stop()


async def test_model_calls_about_a_meeting_are_recorded(client: MinutesClient) -> None:
    client.model.answer_with(MODEL_MINUTES)
    await client.write_again()
    (call,) = client.http.get(f"{client.path}/llm-calls").json()
    assert (call["provider"], call["purpose"], call["outcome"], call["is_local"]) == (
        "vllm",
        "minutes",
        "ok",
        True,
    )
    assert (call["prompt_tokens"], call["completion_tokens"], call["model"]) == (11, 7, "served-model")
    assert "release notes" not in json.dumps(call)
