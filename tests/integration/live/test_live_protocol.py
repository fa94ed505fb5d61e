"""The live protocol over a real socket: the order of messages, and every kind of bad input."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from meeting_assistant.adapters.audio.trusted import read_pcm
from meeting_assistant.client import LiveClient, Message, paced
from meeting_assistant.demo import demo_audio_path
from meeting_assistant.launcher import ServerProcess
from meeting_assistant.web.protocol import server_message

START = {"type": "start", "sample_rate": 16000, "channels": 1}
SECOND_OF_SILENCE = bytes(32_000)


def socket_of(server: ServerProcess, **options: Any) -> connect:
    return connect(f"{server.ws_url}/ws/meetings", proxy=None, max_size=None, **options)


async def send_message(socket: ClientConnection, **message: object) -> None:
    await socket.send(json.dumps(message))


async def receive(socket: ClientConnection, *kinds: str) -> dict[str, Any]:
    """Return the next message of one of these kinds."""
    while True:
        message: dict[str, Any] = json.loads(await socket.recv())
        assert next(iter(message)) == "type"
        server_message.validate_python(message)
        if message["type"] in kinds:
            return message


async def open_meeting(socket: ClientConnection, **fields: object) -> dict[str, Any]:
    await send_message(socket, **{**START, **fields})
    return await receive(socket, "started")


async def refusal(socket: ClientConnection) -> dict[str, Any]:
    """Return the fatal error after which the server closes the socket."""
    error = await receive(socket, "error")
    assert error["fatal"]
    assert error["message"]
    assert error["remedy"]
    with pytest.raises(ConnectionClosed):
        while True:
            await socket.recv()
    return error


async def test_a_meeting_of_silence_ends_with_empty_minutes_and_no_invented_words(
    server: ServerProcess,
) -> None:
    messages: list[str] = []
    client = LiveClient(server.ws_url, on_message=lambda message: messages.append(message["type"]))
    final = await client.stream(paced(bytes(32_000 * 20), is_fast=True))
    assert messages[0] == "started"
    assert messages[-1] == "final"
    assert "transcript" not in messages
    assert "partial_transcript" not in messages
    assert final["transcript"]["utterances"] == []
    assert final["minutes"]["summary"] == []
    assert final["errors"] == []
    coverage = final["coverage"]
    assert coverage["captured_s"] == coverage["stored_s"] == coverage["transcribed_s"] == 20.0


async def test_a_meeting_without_audio_is_a_meeting(server: ServerProcess) -> None:
    async with socket_of(server) as socket:
        started = await open_meeting(socket, title="No audio")
        await send_message(socket, type="stop")
        final = await receive(socket, "final")
    assert final["meeting"]["id"] == started["meeting_id"]
    assert final["meeting"]["title"] == "No audio"
    assert final["meeting"]["state"] == "done"
    assert final["coverage"]["captured_s"] == 0


async def test_audio_is_acknowledged_when_it_is_safe(server: ServerProcess) -> None:
    async with socket_of(server) as socket:
        started = await open_meeting(socket)
        assert started["received_bytes"] == 0
        assert started["storage"] == "journal"
        await socket.send(SECOND_OF_SILENCE)
        assert (await receive(socket, "ack"))["received_bytes"] == 32_000
        await send_message(socket, type="stop")
        await receive(socket, "final")


async def test_ping_is_answered(server: ServerProcess) -> None:
    async with socket_of(server) as socket:
        await open_meeting(socket)
        await send_message(socket, type="ping")
        assert (await receive(socket, "pong"))["seq"] == 0


async def test_other_sample_rates_are_resampled(server: ServerProcess) -> None:
    async with socket_of(server) as socket:
        await open_meeting(socket, sample_rate=48_000)
        for _ in range(10):
            await socket.send(bytes(9600))
        await send_message(socket, type="stop")
        final = await receive(socket, "final")
    assert final["coverage"]["captured_s"] == pytest.approx(1.0, abs=0.01)


# --- bad input --------------------------------------------------------------------------------------------


async def test_text_before_start_is_refused(server: ServerProcess) -> None:
    async with socket_of(server) as socket:
        await send_message(socket, type="stop")
        assert "before `start`" in (await refusal(socket))["message"]


async def test_audio_before_start_is_refused(server: ServerProcess) -> None:
    async with socket_of(server) as socket:
        await socket.send(SECOND_OF_SILENCE)
        assert "before `start`" in (await refusal(socket))["message"]


@pytest.mark.parametrize("text", ["hello", "{", "[]", '{"type": 7}', '{"type": "dance"}', "null"])
async def test_a_malformed_message_is_refused(server: ServerProcess, text: str) -> None:
    async with socket_of(server) as socket:
        await socket.send(text)
        assert (await refusal(socket))["code"] == "protocol_violation"


@pytest.mark.parametrize("rate", [0, 4000, 96_000, -16_000, "fast"])
async def test_a_wrong_sample_rate_is_refused_with_the_range(server: ServerProcess, rate: object) -> None:
    async with socket_of(server) as socket:
        await send_message(socket, **{**START, "sample_rate": rate})
        assert "sample_rate" in (await refusal(socket))["message"]


async def test_a_misspelt_field_is_refused_by_name(server: ServerProcess) -> None:
    async with socket_of(server) as socket:
        await send_message(socket, **START, langauge="en")
        assert "langauge" in (await refusal(socket))["message"]


async def test_a_language_that_the_engine_does_not_know_is_refused(server: ServerProcess) -> None:
    async with socket_of(server) as socket:
        await send_message(socket, **START, language="de")
        assert (await refusal(socket))["code"] == "language_unsupported"


async def test_an_unknown_meeting_cannot_be_resumed(server: ServerProcess) -> None:
    async with socket_of(server) as socket:
        await send_message(socket, **START, meeting_id="01890000-0000-7000-8000-000000000000")
        assert (await refusal(socket))["code"] == "not_found"


async def test_mistakes_during_a_meeting_are_answered_and_the_meeting_continues(
    server: ServerProcess,
) -> None:
    async with socket_of(server) as socket:
        await open_meeting(socket)
        mistakes = {
            "{": "protocol_violation",
            '{"type": "dance"}': "protocol_violation",
            json.dumps(START): "protocol_violation",  # a second start
            '{"type": "rename_speaker", "speaker": "S9", "name": "Ana"}': "not_found",
        }
        for text, code in mistakes.items():
            await socket.send(text)
            error = await receive(socket, "error")
            assert (error["code"], error["fatal"]) == (code, False)
            assert error["remedy"]
        await socket.send(SECOND_OF_SILENCE)
        await send_message(socket, type="stop")
        assert (await receive(socket, "final"))["coverage"]["captured_s"] == 1.0


async def test_odd_frames_are_joined_and_an_odd_total_is_reported(server: ServerProcess) -> None:
    async with socket_of(server) as socket:
        await open_meeting(socket)
        for size in (1, 3199, 3201, 25_598, 2):  # 32 001 bytes
            await socket.send(bytes(size))
        await send_message(socket, type="stop")
        error = await receive(socket, "error")
        assert (error["code"], error["fatal"]) == ("odd_length_audio", False)
        assert (await receive(socket, "final"))["coverage"]["captured_s"] == 1.0


async def test_audio_while_paused_is_refused_and_not_recorded(server: ServerProcess) -> None:
    async with socket_of(server) as socket:
        await open_meeting(socket)
        await send_message(socket, type="pause")
        await socket.send(SECOND_OF_SILENCE)
        assert (await receive(socket, "error"))["code"] == "conflict"
        await send_message(socket, type="resume")
        await socket.send(SECOND_OF_SILENCE)
        await send_message(socket, type="stop")
        assert (await receive(socket, "final"))["coverage"]["captured_s"] == 1.0


async def test_a_frame_of_a_hundred_megabytes_closes_only_its_socket(
    server: ServerProcess,
) -> None:
    async with socket_of(server) as socket:
        started = await open_meeting(socket)
        with pytest.raises(ConnectionClosed) as closed:
            await socket.send(bytes(100_000_000))
            while True:
                await socket.recv()
        assert closed.value.rcvd is None or closed.value.rcvd.code == 1009
    async with socket_of(server) as socket:
        again = await open_meeting(socket, meeting_id=started["meeting_id"])
        assert again["resumed"]
        assert again["received_bytes"] == 0
        await send_message(socket, type="stop")
        await receive(socket, "final")


async def test_a_page_of_another_site_is_refused_before_the_handshake(server: ServerProcess) -> None:
    for origin in ("https://evil.example", "http://127.0.0.1", "null", f"{server.url}.evil.example"):
        with pytest.raises(InvalidStatus) as refused:
            async with socket_of(server, origin=origin):
                pass
        assert refused.value.response.status_code == 403
    async with socket_of(server, origin=server.url) as socket:
        await open_meeting(socket)


# --- coming back and watching -----------------------------------------------------------------------------


async def test_a_client_that_reconnects_continues_where_it_was(server: ServerProcess) -> None:
    async with socket_of(server) as socket:
        started = await open_meeting(socket)
        await socket.send(SECOND_OF_SILENCE)
        await receive(socket, "ack")
    async with socket_of(server) as socket:
        again = await open_meeting(socket, meeting_id=started["meeting_id"])
        assert (again["resumed"], again["received_bytes"]) == (True, 32_000)
        assert again["epoch"] == started["epoch"] + 1
        await socket.send(SECOND_OF_SILENCE)
        await send_message(socket, type="stop")
        assert (await receive(socket, "final"))["coverage"]["captured_s"] == 2.0


async def test_a_second_connection_fences_the_first(server: ServerProcess) -> None:
    async with socket_of(server) as first, socket_of(server) as second:
        started = await open_meeting(first)
        await open_meeting(second, meeting_id=started["meeting_id"])
        with pytest.raises(ConnectionClosed) as closed:
            while True:
                await first.recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 4409
        await send_message(second, type="stop")
        await receive(second, "final")


async def test_a_client_that_lost_its_socket_after_stop_still_gets_the_final_message(
    server: ServerProcess,
) -> None:
    async with socket_of(server) as socket:
        started = await open_meeting(socket)
        await send_message(socket, type="stop")
        final = await receive(socket, "final")
    async with socket_of(server) as socket:
        await open_meeting(socket, meeting_id=started["meeting_id"])
        await send_message(socket, type="stop")
        assert await receive(socket, "final") == final


async def test_a_finished_meeting_accepts_no_more_audio(server: ServerProcess) -> None:
    async with socket_of(server) as socket:
        started = await open_meeting(socket)
        await send_message(socket, type="stop")
        await receive(socket, "final")
    async with socket_of(server) as socket:
        await send_message(socket, **START, meeting_id=started["meeting_id"])
        await socket.send(bytes(3200))
        with pytest.raises(ConnectionClosed) as closed:
            while True:
                await socket.recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1000
    assert server.get(f"/api/meetings/{started['meeting_id']}")["meeting"]["coverage"]["captured_s"] == 0


async def test_viewers_can_join_late_and_get_all_events(server: ServerProcess) -> None:
    async with socket_of(server) as socket:
        started = await open_meeting(socket)
        events = f"{server.ws_url}/ws/meetings/{started['meeting_id']}/events"
        async with connect(events, proxy=None) as watching:
            await send_message(socket, type="stop")
            live = await receive(watching, "final")
    async with connect(events, proxy=None) as late:
        assert await receive(late, "final") == live


async def test_finals_keep_stable_words_or_count_the_changes(
    server: ServerProcess,
) -> None:
    shown: dict[int, str] = {}
    kept: list[bool] = []

    def watch(message: Message) -> None:
        if message["type"] == "partial_transcript":
            before, now = shown.get(message["utterance"], ""), message["stable"]
            assert not now or now.startswith(before), "stable text only grows"
            shown[message["utterance"]] = now
        elif message["type"] == "transcript":
            stable = plain(shown.get(message["utterance"], ""))
            stands = plain(message["text"])[: len(stable)] == stable
            assert message["takes_back"] is not stands
            kept.append(stands)

    pcm = read_pcm(demo_audio_path())[: 32_000 * 20]
    await LiveClient(server.ws_url, on_message=watch).stream(paced(pcm, speed=2.0))
    assert any(shown.values())
    assert sum(kept) > len(kept) / 2


def plain(text: str) -> list[str]:
    return [re.sub(r"\W+", "", word.casefold()) for word in text.split()]
