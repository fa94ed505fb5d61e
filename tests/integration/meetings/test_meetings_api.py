"""Meetings over HTTP: what is stored can be read, changed, taken away, played and deleted."""

from __future__ import annotations

import asyncio
import io
import json
import wave
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import connect

from meeting_assistant.client import LiveClient, paced
from meeting_assistant.domain.meeting import Meeting
from meeting_assistant.launcher import ServerProcess


@pytest.fixture
async def http(server: ServerProcess) -> Any:
    async with httpx.AsyncClient(base_url=server.url, timeout=60, trust_env=False) as client:
        yield client


@pytest.fixture
async def spoken(server: ServerProcess, hello: bytes) -> dict[str, Any]:
    """A short live meeting that is over."""
    client = LiveClient(server.ws_url, start={"title": "Röadmap / Q1", "attendees": ["Ana"]})
    return dict(await client.stream(paced(hello, is_fast=True)))


async def wait_until_done(
    server: ServerProcess, meeting_id: str
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Watch a meeting until `final`; returns it and everything before."""
    seen: list[dict[str, Any]] = []
    async with connect(
        f"{server.ws_url}/ws/meetings/{meeting_id}/events", proxy=None, max_size=None
    ) as socket:
        async for text in socket:
            message = json.loads(text)
            if message["type"] == "final":
                return message, seen
            seen.append(message)
    raise AssertionError("the socket closed before `final`")


async def test_a_finished_meeting_can_be_read_and_is_listed_first(
    http: httpx.AsyncClient, spoken: dict[str, Any]
) -> None:
    meeting_id = spoken["meeting"]["id"]
    document = (await http.get(f"/api/meetings/{meeting_id}")).json()
    assert document["transcript"] == spoken["transcript"]
    assert document["minutes"] == spoken["minutes"]
    assert document["meeting"]["state"] == "done"
    listed = (await http.get("/api/meetings?limit=1")).json()
    assert listed["meetings"][0]["id"] == meeting_id
    if listed["next"]:
        older = (await http.get(f"/api/meetings?before={listed['next']}")).json()
        assert meeting_id not in [meeting["id"] for meeting in older["meetings"]]


async def test_a_title_can_be_changed_but_not_emptied(
    http: httpx.AsyncClient, spoken: dict[str, Any]
) -> None:
    path = f"/api/meetings/{spoken['meeting']['id']}"
    assert (await http.patch(path, json={"title": "  Plans   for spring "})).json()[
        "title"
    ] == "Plans for spring"
    assert (await http.patch(path, json={"title": "   "})).status_code == 422
    assert (await http.patch(path, json={"titel": "x"})).status_code == 422


async def test_the_start_of_a_meeting_can_be_corrected_but_not_to_the_future(
    http: httpx.AsyncClient, spoken: dict[str, Any]
) -> None:
    path = f"/api/meetings/{spoken['meeting']['id']}"
    assert spoken["meeting"]["began_at_source"] == "clock"
    changed = (await http.patch(path, json={"began_at": "2026-11-02T09:30:00+05:30"})).json()
    assert changed["began_at_ms"] == 1_793_592_000_000
    assert changed["began_at_source"] == "person"
    assert changed["utc_offset_minutes"] == 330
    assert changed["created_at_ms"] == spoken["meeting"]["created_at_ms"]
    assert "02 November 2026, 09:30" in (await http.get(f"{path}/export?format=md")).text
    refused = await http.patch(path, json={"began_at": "2999-01-01T00:00"})
    assert refused.status_code == 422
    assert "cannot have begun" in refused.json()["error"]["message"]


async def test_naming_a_speaker_changes_transcript_and_exports_and_notifies_viewers(
    http: httpx.AsyncClient, server: ServerProcess, spoken: dict[str, Any]
) -> None:
    meeting_id = spoken["meeting"]["id"]
    label = spoken["transcript"]["utterances"][0]["speaker"]
    answer = await http.patch(f"/api/meetings/{meeting_id}/speakers/{label}", json={"name": "Ana <b>"})
    assert answer.json()["speakers"] == [{"label": label, "name": "Ana <b>"}]
    assert "Ana" in (await http.get(f"/api/meetings/{meeting_id}/export?format=txt")).text
    final, seen = await wait_until_done(server, meeting_id)
    assert final["transcript"]["speakers"][0]["name"] == "Ana <b>"
    assert (
        await http.patch(f"/api/meetings/{meeting_id}/speakers/S9", json={"name": "x"})
    ).status_code == 404
    assert seen


@pytest.mark.parametrize(
    ("fmt", "media_type"),
    [("md", "text/markdown"), ("json", "application/json"), ("srt", "application/x-subrip"),
     ("vtt", "text/vtt"), ("txt", "text/plain")],
)  # fmt: skip
async def test_exports_are_served_as_files(
    http: httpx.AsyncClient, spoken: dict[str, Any], fmt: str, media_type: str
) -> None:
    answer = await http.get(f"/api/meetings/{spoken['meeting']['id']}/export?format={fmt}")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith(media_type)
    assert "attachment" in answer.headers["content-disposition"]
    first_word = spoken["transcript"]["utterances"][0]["words"][0]["text"]
    assert first_word in answer.text


async def test_an_unknown_export_format_is_refused(http: httpx.AsyncClient, spoken: dict[str, Any]) -> None:
    answer = await http.get(f"/api/meetings/{spoken['meeting']['id']}/export?format=docx")
    assert answer.status_code == 422
    assert set(answer.json()["error"]) == {"code", "message", "remedy"}


async def test_the_recording_can_be_played_from_any_position(
    http: httpx.AsyncClient, spoken: dict[str, Any], hello: bytes
) -> None:
    path = f"/api/meetings/{spoken['meeting']['id']}/audio.wav"
    whole = await http.get(path)
    assert whole.headers["accept-ranges"] == "bytes"
    with wave.open(io.BytesIO(whole.content)) as sound:
        assert (sound.getframerate(), sound.getnchannels(), sound.getsampwidth()) == (16_000, 1, 2)
        assert sound.readframes(sound.getnframes()) == hello
    part = await http.get(path, headers={"Range": "bytes=1044-2043"})
    assert part.status_code == 206
    assert part.content == whole.content[1044:2044]
    assert (await http.get(path, headers={"Range": "bytes=99999999-"})).status_code == 416


async def test_a_deleted_meeting_is_removed_completely(
    http: httpx.AsyncClient, server: ServerProcess, spoken: dict[str, Any]
) -> None:
    meeting_id = spoken["meeting"]["id"]
    assert (await http.delete(f"/api/meetings/{meeting_id}")).status_code == 204
    for path in ("", "/export", "/audio.wav"):
        assert (await http.get(f"/api/meetings/{meeting_id}{path}")).status_code == 404
    assert (await http.delete(f"/api/meetings/{meeting_id}")).status_code == 404
    data = server.log_path.with_suffix("")
    assert [path for path in data.rglob("*") if meeting_id in path.name] == []


@pytest.mark.parametrize(
    "bad", ["nope", "..%2f..%2fetc", "01890000-0000-7000-8000-000000000000", "%00", "x" * 300]
)
async def test_unknown_ids_of_meetings_are_not_found(http: httpx.AsyncClient, bad: str) -> None:
    answer = await http.get(f"/api/meetings/{bad}")
    assert answer.status_code == 404
    assert answer.json()["error"]["code"] in ("not_found", "http_404")


async def test_a_recording_whose_client_is_gone_is_ended_from_anywhere(
    http: httpx.AsyncClient, server: ServerProcess, hello: bytes
) -> None:
    async with connect(f"{server.ws_url}/ws/meetings", proxy=None) as socket:
        await socket.send('{"type":"start","sample_rate":16000,"channels":1}')
        meeting_id = json.loads(await socket.recv())["meeting_id"]
        path = f"/api/meetings/{meeting_id}"
        assert (await http.get(path)).json()["has_client"]
        await socket.send(hello[:32_000])
        await socket.send('{"type":"interrupted","lasted_ms":90000}')
        while json.loads(await socket.recv())["type"] != "gap":
            pass
    assert (await http.post(f"{path}/end")).status_code == 202
    final, _ = await wait_until_done(server, meeting_id)
    assert final["coverage"]["captured_s"] == 1.0
    assert final["transcript"]["gaps"] == [
        {"start_ms": 1000, "end_ms": 1000, "reason": "interrupted", "unrecorded_ms": 90_000}
    ]
    assert (await http.get(f"{path}/export?format=md")).text.count("interrupted at 00:01 for 01:30") == 1
    assert (await http.post(f"{path}/end")).status_code == 409
    assert not (await http.get(path)).json()["has_client"]


# --- uploads ----------------------------------------------------------------------------------------------


async def test_an_uploaded_file_goes_through_the_same_pipeline_with_progress(
    http: httpx.AsyncClient, server: ServerProcess, excerpt: Path
) -> None:
    with excerpt.open("rb") as file:
        answer = await http.post(
            "/api/meetings",
            files={"file": ("Planning.wav", file, "audio/wav")},
            data={
                "attendees": "Ana, Ben",
                "vocabulary": "Kubernetes, etcd",
                "began_at": "2026-07-02T09:00",
                "time_zone": "Europe/Berlin",
            },
        )
    assert answer.status_code == 201
    meeting = Meeting.model_validate(answer.json())
    assert (meeting.source, meeting.title, meeting.attendees) == ("upload", "Planning", ["Ana", "Ben"])
    assert meeting.vocabulary == ["Kubernetes", "etcd"]
    assert (meeting.began_at_source, meeting.utc_offset_minutes) == ("client", 120)
    final, seen = await wait_until_done(server, meeting.id)
    progress = [m["progress"] for m in seen if m["type"] == "status" and m["progress"] is not None]
    assert progress == sorted(progress)
    assert final["minutes"]["action_items"]
    assert final["errors"] == []
    assert final["coverage"]["captured_s"] == pytest.approx(final["coverage"]["transcribed_s"], abs=0.01)


@pytest.mark.parametrize(
    "content",
    [b"", b"hello", b"\x00" * 5000, b"%PDF-1.7 not sound", b"ffconcat version 1.0\nfile /etc/hostname\n"],
)
async def test_an_upload_without_audio_is_refused_and_leaves_nothing(
    http: httpx.AsyncClient, server: ServerProcess, content: bytes
) -> None:
    before = (await http.get("/api/meetings?limit=200")).json()
    answer = await http.post("/api/meetings", files={"file": ("talk.wav", content)})
    assert answer.status_code == 415
    assert answer.json()["error"]["remedy"]
    assert (await http.get("/api/meetings?limit=200")).json() == before
    incoming = server.log_path.with_suffix("") / "uploads" / "incoming"
    assert list(incoming.iterdir()) == []


async def test_a_file_above_the_limit_is_refused_with_the_name_of_the_limit(http: httpx.AsyncClient) -> None:
    answer = await http.post("/api/meetings", files={"file": ("talk.wav", bytes(5_000_001))})
    assert answer.status_code == 413
    assert "MAX_UPLOAD_BYTES" in answer.json()["error"]["remedy"]


async def test_a_request_from_another_site_cannot_change_anything(
    http: httpx.AsyncClient, spoken: dict[str, Any]
) -> None:
    path = f"/api/meetings/{spoken['meeting']['id']}"
    assert (await http.delete(path, headers={"Origin": "https://evil.example"})).status_code == 403
    assert (await http.get(path, headers={"Host": "rebound.example"})).status_code == 403
    assert (await http.get(path)).status_code == 200


# --- what the server says about itself ---------------------------------------------------------------------


async def test_health_names_the_engines_and_the_reasons(http: httpx.AsyncClient) -> None:
    health = (await http.get("/health")).json()
    assert health["status"] == "ok"
    assert set(health["engines"]) == {"asr", "vad", "diarization", "minutes"}
    assert health["engine_reason"]
    assert (await http.get("/ready")).json() == {"ready": True, "waiting_for": []}


async def test_metrics_change_with_a_meeting(http: httpx.AsyncClient, spoken: dict[str, Any]) -> None:
    text = (await http.get("/metrics")).text
    assert spoken["meeting"]["id"] not in text
    for series in (
        'meeting_assistant_asr_latency_seconds_count{engine="moonshine",kind="final"}',
        'meeting_assistant_inference_jobs_total{kind="finish_meeting"}',
        'meeting_assistant_inference_job_duration_seconds_count{kind="finish_meeting"}',
        'meeting_assistant_llm_latency_seconds_count{provider="embedded"}',
        "meeting_assistant_event_loop_stall_seconds_count",
        "meeting_assistant_batch_size_count",
    ):
        (line,) = [line for line in text.splitlines() if line.startswith(series)]
        assert float(line.split()[-1]) > 0


async def test_pages_have_a_strict_content_security_policy(http: httpx.AsyncClient) -> None:
    answer = await http.get("/api/info")
    assert "script-src 'self'" in answer.headers["content-security-policy"]
    assert answer.headers["x-content-type-options"] == "nosniff"


async def test_concurrent_meetings_get_their_own_words(server: ServerProcess, hello: bytes) -> None:
    clients = [LiveClient(server.ws_url) for _ in range(4)]
    finals = await asyncio.gather(*(client.stream(paced(hello, is_fast=True)) for client in clients))
    texts = {" ".join(u["text"] for u in final["transcript"]["utterances"]) for final in finals}
    assert len(texts) == 1
    assert next(iter(texts))


def test_the_data_directory_is_private(server: ServerProcess) -> None:
    data: Path = server.log_path.with_suffix("")
    assert data.stat().st_mode & 0o077 == 0
