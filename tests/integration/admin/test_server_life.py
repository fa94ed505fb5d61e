"""Starting, stopping, starting again."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import connect

from meeting_assistant.client import LiveClient, paced
from meeting_assistant.launcher import ServerProcess, free_port
from meeting_assistant.testing.harness.command import run_cli


@pytest.mark.usefixtures("cold")
def test_a_meeting_survives_a_restart(data_dir: Path, hello: bytes) -> None:
    with ServerProcess(data_dir) as server:
        final = asyncio.run(LiveClient(server.ws_url).stream(paced(hello, is_fast=True)))
        path = f"/api/meetings/{final['meeting']['id']}"
        before = server.get(path)
        assert server.stop() == 0
    with ServerProcess(data_dir) as server:
        assert server.get(path) == before


def test_a_live_meeting_continues_after_a_stop_of_the_server(data_dir: Path, hello: bytes) -> None:
    port = free_port()

    async def record() -> dict[str, Any]:
        halfway = asyncio.Event()

        async def sound() -> Any:
            yield hello
            await restarted.wait()
            yield hello

        def watch(message: Mapping[str, Any]) -> None:
            if message["type"] == "ack" and message["received_bytes"] == len(hello):
                halfway.set()

        restarted = asyncio.Event()
        client = LiveClient(f"ws://127.0.0.1:{port}", on_message=watch)
        streaming = asyncio.create_task(client.stream(sound()))
        await halfway.wait()
        assert await asyncio.to_thread(first.stop) == 0
        await asyncio.to_thread(second.start)
        restarted.set()
        return dict(await streaming)

    first, second = ServerProcess(data_dir, port=port), ServerProcess(data_dir, port=port)
    first.start()
    try:
        final = asyncio.run(record())
    finally:
        first.kill()
        second.stop()
    assert final["coverage"]["captured_s"] == pytest.approx(len(hello) * 2 / 32_000, abs=0.001)
    texts = [utterance["text"] for utterance in final["transcript"]["utterances"]]
    assert len(texts) >= 2
    ids = [utterance["utterance"] for utterance in final["transcript"]["utterances"]]
    assert ids == sorted(set(ids))


def test_a_meeting_whose_client_never_returns_is_finished(data_dir: Path, hello: bytes) -> None:
    async def leave_and_watch(server: ServerProcess) -> dict[str, Any]:
        async with connect(f"{server.ws_url}/ws/meetings", proxy=None) as socket:
            await socket.send(json.dumps({"type": "start", "sample_rate": 16000, "channels": 1}))
            started = json.loads(await socket.recv())
            await socket.send(hello[:64_000])
        events = f"{server.ws_url}/ws/meetings/{started['meeting_id']}/events"
        async with connect(events, proxy=None) as watching:
            async for text in watching:
                message: dict[str, Any] = json.loads(text)
                if message["type"] == "final":
                    return message
        raise AssertionError("no `final`")

    with ServerProcess(data_dir, {"SESSION_GRACE_SECONDS": "1"}) as server:
        final = asyncio.run(leave_and_watch(server))
    assert final["coverage"]["captured_s"] == 2.0


def test_a_port_in_use_is_reported_in_one_sentence(tmp_path: Path) -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        result = run_cli("serve", cwd=tmp_path, HTTP_PORT=port)
    assert result.returncode == 1
    assert f"HTTP_PORT={port}" in result.stderr
    assert "Traceback" not in result.stderr


def test_an_invalid_value_stops_the_server_and_names_variable_and_choices(tmp_path: Path) -> None:
    result = run_cli("serve", cwd=tmp_path, ASR_ENGINE="magic")
    assert result.returncode == 1
    assert "ASR_ENGINE" in result.stderr
    assert "magic" in result.stderr
    assert "moonshine" in result.stderr
    assert "Traceback" not in result.stderr


def test_doctor_checks_every_component(tmp_path: Path) -> None:
    result = run_cli("doctor", "--json", cwd=tmp_path)
    checks = {check["name"]: check for check in json.loads(result.stdout)}
    for name in ("Settings", "Speech recognition", "Voice activity", "Database", "Audio journal"):
        assert checks[name]["ok"], checks[name]
    assert result.returncode == 0 or not checks["Web app"]["ok"]


def test_settings_are_shown_with_secrets_masked(tmp_path: Path) -> None:
    result = run_cli("settings", cwd=tmp_path, OPENAI_API_KEY="sk-canary-123456", COLUMNS="200")
    assert result.returncode == 0
    assert "OPENAI_API_KEY" in result.stdout
    assert "canary" not in result.stdout


def test_transcribe_writes_subtitles_without_a_server(tmp_path: Path) -> None:
    from meeting_assistant.demo import hello_clip

    path, text = hello_clip()
    result = run_cli("transcribe", str(path), "--format", "srt", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("1\n00:00:0")
    assert text.split()[-1].strip(".").lower() in result.stdout.lower()
    assert not (tmp_path / "data").exists(), "nothing is kept"


def test_transcribe_refuses_a_file_without_audio(tmp_path: Path) -> None:
    (tmp_path / "notes.wav").write_text("this is not sound")
    result = run_cli("transcribe", "notes.wav", cwd=tmp_path)
    assert result.returncode == 1
    assert "Traceback" not in result.stderr
    assert result.stderr.startswith("meeting-assistant: ")


async def test_interrupted_meetings_are_resumed_before_new_ones_are_accepted(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from meeting_assistant.app import create_app, start, stop
    from meeting_assistant.config import load_settings
    from meeting_assistant.services.meetings.recovery import Recovery

    was_open_to_all: list[bool] = []
    done = asyncio.Event()

    async def resume_unfinished(recovery: Recovery) -> None:
        was_open_to_all.append(context.readiness.is_ready)
        done.set()

    monkeypatch.setattr(Recovery, "resume_unfinished", resume_unfinished)
    monkeypatch.setenv("DATA_DIR", str(data_dir))
    app = create_app(load_settings())
    services, context = app.state.services, app.state.context
    running = await start(services, context)
    await done.wait()
    await stop(services, context, running)
    assert was_open_to_all == [False]
