"""Speakers from audio to corrections: voices, two channels, names, enrolment."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from websockets.asyncio.client import connect

from meeting_assistant.adapters.audio.trusted import read_pcm
from meeting_assistant.client import LiveClient, paced
from meeting_assistant.demo import demo_audio_path, load_demo
from meeting_assistant.domain.audio import Samples, pcm_to_samples
from meeting_assistant.launcher import ServerProcess

SECONDS = 62
"""Of the sample meeting: all three voices, several times."""


@pytest.fixture
async def http(server: ServerProcess) -> Any:
    async with httpx.AsyncClient(base_url=server.url, timeout=60, trust_env=False) as client:
        yield client


@pytest.fixture(scope="module")
def sample() -> Samples:
    return pcm_to_samples(read_pcm(demo_audio_path()))[: SECONDS * 16_000]


async def record_meeting(
    server: ServerProcess, sound: Samples, **start: object
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Record a live meeting; return its `final` and all messages before it."""
    await wait_for_capacity(server)
    seen: list[dict[str, Any]] = []
    client = LiveClient(server.ws_url, on_message=lambda message: seen.append(dict(message)), start=start)
    return dict(await client.stream(paced(sound.tobytes(), is_fast=True))), seen


async def wait_for_capacity(server: ServerProcess) -> None:
    """Wait until the server can take another meeting: audio sent at full speed makes it busy."""
    async with asyncio.timeout(60):
        while (await asyncio.to_thread(server.get, "/api/capacity"))["more"] == 0:  # noqa: ASYNC110 - asked over HTTP
            await asyncio.sleep(0.2)


def reference_speaker(start_ms: int, end_ms: int) -> str:
    """Return the main speaker of that time by the script."""
    shared: Counter[str] = Counter()
    for line in load_demo().utterances:
        shared[line.speaker] += max(0, min(end_ms, line.end_ms) - max(start_ms, line.start_ms))
    return shared.most_common(1)[0][0]


async def test_three_voices_get_three_labels_and_corrections_apply_everywhere(
    server: ServerProcess, http: httpx.AsyncClient, sample: Samples
) -> None:
    final, seen = await record_meeting(server, sample, title="Speakers", attendees=["Maya", "Tom", "Lena"])
    meeting = f"/api/meetings/{final['meeting']['id']}"
    utterances = final["transcript"]["utterances"]
    pairs = {(u["speaker"], reference_speaker(u["start_ms"], u["end_ms"])) for u in utterances}
    assert len(pairs) == 3, f"each label is one person, and each person one label: {pairs}"
    assert not any(u["speaker"] in (None, "S?") for u in utterances)
    partials = {message["speaker"] for message in seen if message["type"] == "partial_transcript"}
    assert partials <= {None, "S?", "S1", "S2", "S3"}

    # EventListener again by the client's own reading of events, the labels are those of the transcript.
    sent: dict[int, str] = {}
    for message in seen:
        if message["type"] == "transcript":
            sent[message["utterance"]] = message["speaker"]
        if message["type"] == "speakers":
            sent.update({line["utterance"]: line["speaker"] for line in message["utterances"]})
    assert sent == {u["utterance"]: u["speaker"] for u in utterances}

    one = next(u for u in utterances if u["speaker"] == "S2")
    answer = await http.post(
        f"{meeting}/speakers", json={"utterances": [one["utterance"]], "speaker": "new", "name": "Zoe"}
    )
    changed = next(u for u in answer.json()["utterances"] if u["utterance"] == one["utterance"])
    assert (changed["speaker"], changed["is_assigned"]) == ("P1", True)
    await http.patch(f"{meeting}/speakers/S1", json={"name": "Maya"})
    joined = (await http.post(f"{meeting}/speakers/S3/merge", json={"into": "S1"})).json()
    assert {(s["label"], s["name"]) for s in joined["speakers"]} == {
        ("S1", "Maya"),
        ("S2", None),
        ("P1", "Zoe"),
    }
    text = (await http.get(f"{meeting}/export", params={"format": "txt"})).text
    assert "Zoe" in text
    assert "Maya" in text
    assert "Speaker 3" not in text
    assert "Speaker 3" not in (await http.get(meeting)).text


@pytest.mark.parametrize(
    ("path", "body", "status", "words"),
    [
        ("/speakers", {"utterances": [999], "speaker": "S1"}, 404, "no such utterances"),
        ("/speakers", {"utterances": [1], "speaker": "S9"}, 422, "Nobody in this meeting is called S9"),
        ("/speakers", {"utterances": [], "speaker": "S1"}, 422, "utterances"),
        ("/speakers/S1/merge", {"into": "S1"}, 409, "merged with itself"),
        ("/speakers/S8/merge", {"into": "S1"}, 404, "has the label S8"),
        ("/voices", {"speaker": "S1", "name": "Ana"}, 409, "Too little of this voice"),
        ("/voices", {"speaker": "S7", "name": "Ana"}, 404, "called S7"),
        ("/utterances/99/split", {"word": 1}, 404, "no such utterance"),
        ("/utterances/1/split", {"word": 99}, 422, "cannot be cut before number 99"),
        ("/utterances/1/split", {"word": 0}, 422, "word"),
    ],
)
async def test_impossible_corrections_are_refused_with_a_message(
    server: ServerProcess,
    http: httpx.AsyncClient,
    hello: bytes,
    path: str,
    body: dict[str, Any],
    status: int,
    words: str,
) -> None:
    final, _ = await record_meeting(server, pcm_to_samples(hello))
    answer = await http.post(f"/api/meetings/{final['meeting']['id']}{path}", json=body)
    assert answer.status_code == status, answer.text
    assert words in answer.text


async def test_without_a_voice_engine_nothing_claims_that_the_speech_was_too_short(
    tmp_path: Path, sample: Samples
) -> None:
    with ServerProcess(tmp_path / "data", {"DIARIZATION_ENGINE": "off"}) as server:
        final, _ = await record_meeting(server, sample[: 20 * 16_000])
        meeting = f"/api/meetings/{final['meeting']['id']}"
        ids = [u["utterance"] for u in final["transcript"]["utterances"]]
        async with httpx.AsyncClient(base_url=server.url, timeout=60, trust_env=False) as http:
            assigned = await http.post(f"{meeting}/speakers", json={"utterances": ids, "speaker": "new"})
            assigned.raise_for_status()
            answer = await http.post(f"{meeting}/voices", json={"speaker": "P1", "name": "Ana"})
    assert answer.status_code == 409
    assert answer.json()["error"]["code"] == "no_voices"
    assert "DIARIZATION_ENGINE" in answer.text


# --- two channels


def on_two_channels(sample: Samples) -> Samples:
    """The first speaker of the script on channel 0, the others on channel 1; shape `(n, 2)`."""
    sound = np.zeros((len(sample), 2), np.int16)
    for line in load_demo().utterances:
        start, end = line.start_ms * 16, min(line.end_ms * 16, len(sample))
        sound[start:end, 0 if line.speaker == "S1" else 1] = sample[start:end]
    return sound


async def test_the_first_of_two_live_channels_is_you(
    server: ServerProcess, http: httpx.AsyncClient, sample: Samples
) -> None:
    final, _ = await record_meeting(server, on_two_channels(sample), channels=2)
    utterances = final["transcript"]["utterances"]
    names = {s["label"]: s["name"] for s in final["transcript"]["speakers"]}
    assert names == {"S1": "You", "S2": None, "S3": None}
    for utterance in utterances:
        is_you = reference_speaker(utterance["start_ms"], utterance["end_ms"]) == "S1"
        assert (utterance["speaker"] == "S1") == is_you, utterance["text"]
    assert final["meeting"]["duration_ms"] == SECONDS * 1000
    assert final["coverage"]["transcribed_s"] == final["coverage"]["captured_s"] == SECONDS
    sound = await http.get(f"/api/meetings/{final['meeting']['id']}/audio.wav")
    assert int.from_bytes(sound.content[22:24], "little") == 2, "both channels can be played"
    assert sound.content[44:] == on_two_channels(sample).tobytes()


async def test_the_echo_of_a_loudspeaker_is_removed_once_and_recorded(
    server: ServerProcess, sample: Samples
) -> None:
    clean = on_two_channels(sample)
    delay = 1600
    with_echo = clean.copy()
    with_echo[delay:, 0] += (clean[:-delay, 1] * 0.3).astype(np.int16)
    final, _ = await record_meeting(server, with_echo, channels=2)
    for utterance in final["transcript"]["utterances"]:
        if utterance["speaker"] == "S1":
            assert reference_speaker(utterance["start_ms"], utterance["end_ms"]) == "S1", utterance["text"]
    echoes = [u for u in final["transcript"]["utterances"] if u["echo"]]
    assert echoes, "the removed utterance names its original"
    assert all(u["speaker"] != "S1" for u in echoes)


async def test_a_resumed_meeting_keeps_its_number_of_channels(
    server: ServerProcess, http: httpx.AsyncClient
) -> None:
    await wait_for_capacity(server)
    start = '{"type": "start", "sample_rate": 16000, "channels": %d%s}'
    async with connect(f"{server.ws_url}/ws/meetings", proxy=None) as socket:
        await socket.send(start % (2, ""))
        meeting_id = json.loads(await socket.recv())["meeting_id"]
        async with connect(f"{server.ws_url}/ws/meetings", proxy=None) as second:
            await second.send(start % (1, f', "meeting_id": "{meeting_id}"'))
            refusal = json.loads(await second.recv())
        assert refusal["type"] == "error"
        assert "2 channel(s), not 1" in refusal["message"]
        await socket.send('{"type": "stop"}')


# --- voices that are known again


async def test_a_voice_is_identified_only_after_enrolment_and_can_be_forgotten(
    server: ServerProcess, http: httpx.AsyncClient, sample: Samples
) -> None:
    first, _ = await record_meeting(server, sample, title="One")
    assert all(speaker["name"] is None for speaker in first["transcript"]["speakers"]), (
        "nothing is enrolled yet"
    )
    label = first["transcript"]["utterances"][0]["speaker"]
    kept = await http.post(
        f"/api/meetings/{first['meeting']['id']}/voices", json={"speaker": label, "name": "Maya"}
    )
    assert kept.status_code == 201, kept.text
    voices = (await http.get("/api/voices")).json()["voices"]
    assert [(voice["id"], voice["name"]) for voice in voices] == [(kept.json()["id"], "Maya")]
    with sqlite3.connect(server.data_dir / "meetings.db") as database:
        (stored,) = database.execute("SELECT vector FROM voice_profiles").fetchone()
    assert b"gAAAA" in stored, "a Fernet token"

    second, _ = await record_meeting(server, sample, title="Two")
    names = {speaker["label"]: speaker["name"] for speaker in second["transcript"]["speakers"]}
    assert names == {"S1": "Maya", "S2": None, "S3": None}

    assert (await http.delete(f"/api/voices/{kept.json()['id']}")).status_code == 204
    assert (await http.delete(f"/api/voices/{kept.json()['id']}")).status_code == 404
    assert (await http.get("/api/voices")).json()["voices"] == []
    third, _ = await record_meeting(server, sample[: 30 * 16_000], title="Three")
    assert all(speaker["name"] is None for speaker in third["transcript"]["speakers"])
