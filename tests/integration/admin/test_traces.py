"""A meeting's trace, as an OpenTelemetry receiver gets it from a real server: from the socket to the minutes, and to
what follows from them."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import pytest

from meeting_assistant import tracing
from meeting_assistant.bootstrap.traces import traced
from meeting_assistant.client import LiveClient, paced
from meeting_assistant.config import Settings
from meeting_assistant.domain.errors import ConfigurationError, EngineError
from meeting_assistant.launcher import ServerProcess, free_port
from meeting_assistant.testing.doubles.llm_server import LlmServer
from meeting_assistant.testing.harness.llm_minutes import EMPTY_ANSWER
from meeting_assistant.testing.servers.traces import ReceivedSpan, TraceReceiver

DELIVERED = 'meeting_assistant_deliveries_total{integration="log",outcome="done"}'
MEETING = "01932d3c-7a10-7cc3-9d5e-5c3f0e8a1b2c"


def test_one_trace_covers_a_meeting_from_the_socket_to_its_deliveries(tmp_path: Path, hello: bytes) -> None:
    with TraceReceiver() as receiver, LlmServer().serving("m").answer_with(EMPTY_ANSWER) as model:
        env = {
            **receiver.env,
            "LOG_FORMAT": "json",
            "VLLM_BASE_URL": model.url,
            "VLLM_MODEL_ID": "m",
            "NOTES_INTERVAL_SECONDS": "0",
            "MEETING_LOG_PATH": str(tmp_path / "meetings.jsonl"),
        }
        with ServerProcess(tmp_path / "data", env) as server:
            start = {"title": "Canary title", "attendees": ["Canary Person"]}
            client = LiveClient(server.ws_url, start=start)
            final = asyncio.run(client.stream(paced(hello, is_fast=True)))
            meeting_id = final["meeting"]["id"]
            spans = receiver.wait_for(meeting_id, "meeting", "delivery", "job.workflows")
            figures = ""
            while DELIVERED not in figures:  # counted once it is recorded, after its span has ended
                figures = server.get_text("/metrics")
        log = [json.loads(line) for line in server.log_path.read_text().splitlines() if line[:1] == "{"]
        everything = receiver.all()

    assert {one.trace_id for one in everything} == {meeting_id.replace("-", "")}, (
        "one trace, named as the meeting"
    )
    assert {one.service for one in spans} == {"meeting-assistant-server"}
    tree = parents_of(spans)
    assert tree == {
        "meeting": None,
        "start": "meeting",
        "session": "meeting",
        "utterance": "session",
        "job.finish_meeting": "meeting",
        "speakers": "job.finish_meeting",
        "minutes": "job.finish_meeting",
        "llm": "minutes",
        "job.workflows": "meeting",
        "delivery": "meeting",
    }
    named = {one.name: one for one in spans}
    top = named["meeting"]
    assert all(top.start_ns <= one.start_ns <= one.end_ns for one in spans)
    assert [one.failed for one in spans] == [None] * len(spans)
    assert named["utterance"].attributes["meeting_assistant.engine"] == "moonshine"
    assert named["llm"].attributes["meeting_assistant.provider"] == "vllm"
    assert int(named["llm"].attributes["gen_ai.usage.input_tokens"]) > 0
    assert named["delivery"].attributes["meeting_assistant.integration"] == "log"
    assert "anary" not in str(everything)
    assert "Monday" not in str(everything)

    for series in (
        DELIVERED,
        'meeting_assistant_delivery_seconds_count{integration="log"}',
        'meeting_assistant_llm_latency_seconds_count{provider="vllm"}',
        'meeting_assistant_diarization_latency_seconds_count{engine="embedded"}',
        "process_resident_memory_bytes",
        "process_cpu_seconds_total",
        'python_gc_collections_total{generation="0"}',
    ):
        (line,) = [line for line in figures.splitlines() if line.startswith(series)]
        assert float(line.split()[-1]) > 0, series

    finished = next(line for line in log if line["message"] == "Meeting finished.")
    assert finished["meeting"] == meeting_id
    assert finished["trace_id"] == top.trace_id
    assert finished["span_id"] == named["job.finish_meeting"].span_id


def parents_of(spans: list[ReceivedSpan]) -> dict[str, str | None]:
    """Map the name of each span to that of its parent."""
    names = {one.span_id: one.name for one in spans}
    assert all(not one.parent_id or one.parent_id in names for one in spans), "every link leads somewhere"
    return {one.name: names.get(one.parent_id) for one in spans}


def test_a_traced_error_has_a_code_and_no_message() -> None:
    with TraceReceiver() as receiver:
        tracing.start(receiver.endpoint, service="test", instance="here")
        with pytest.raises(EngineError), tracing.span("session", meeting=MEETING):
            raise EngineError("Canary words.", "Try again.", code="engine_broken")
        with pytest.raises(KeyError), tracing.span("session", meeting=MEETING):
            raise KeyError("Canary words.")
        tracing.stop()
        assert sorted(str(one.failed) for one in receiver.all()) == ["KeyError", "engine_broken"]
        assert "anary" not in str(receiver.all())


def test_spans_after_a_restart_are_in_the_same_trace() -> None:
    """The root span is exported when the meeting ends, by the process that ends it."""
    with TraceReceiver() as receiver:
        for name in ("session", "job.finish_meeting"):
            tracing.start(receiver.endpoint, service="test", instance="here")
            with tracing.span(name, meeting=MEETING):
                pass
            if name == "job.finish_meeting":
                tracing.record_meeting(MEETING, began_ms=1_700_000_000_000)
            tracing.stop()
        spans = receiver.all()
    assert parents_of(spans) == {"session": "meeting", "job.finish_meeting": "meeting", "meeting": None}
    assert {one.trace_id for one in spans} == {MEETING.replace("-", "")}
    assert next(one for one in spans if one.name == "meeting").start_ns == 1_700_000_000_000 * 1_000_000


def test_an_ended_span_has_no_later_children() -> None:
    """A task that was made while a meeting was opened belongs to the meeting, not to its opening."""
    with TraceReceiver() as receiver:
        tracing.start(receiver.endpoint, service="test", instance="here")

        async def notes(opened: asyncio.Event) -> None:
            await opened.wait()
            with tracing.span("llm", meeting=MEETING):
                pass

        async def run_meeting() -> None:
            opened = asyncio.Event()
            with tracing.span("start", meeting=MEETING):
                later = asyncio.create_task(notes(opened))
            opened.set()
            await later

        asyncio.run(run_meeting())
        tracing.record_meeting(MEETING, began_ms=0)
        tracing.stop()
        assert parents_of(receiver.all()) == {"start": "meeting", "llm": "meeting", "meeting": None}


def test_without_the_setting_nothing_is_traced_and_opentelemetry_is_not_imported() -> None:
    code = (
        "import sys; sys.modules['opentelemetry.sdk'] = sys.modules['opentelemetry.exporter'] = None\n"
        "import meeting_assistant.app, meeting_assistant.worker\n"
        "from meeting_assistant import tracing\n"
        "with tracing.span('session', meeting='m') as span: span.set(n=1)\n"
        "tracing.record_meeting('m', began_ms=0)\n"
        "assert tracing.traceparent_of('m') is None and tracing.ids('m') == {}\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_without_the_extra_the_setting_is_refused_with_its_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    monkeypatch.delitem(sys.modules, "meeting_assistant.tracing.otel", raising=False)
    settings = Settings(otel_exporter_otlp_endpoint="http://127.0.0.1:4318", _env_file=None)
    with (
        pytest.raises(ConfigurationError, match="the extra `otel` is not installed"),
        traced(settings, "server"),
    ):
        pass


def test_an_unreachable_receiver_delays_nothing(tmp_path: Path, hello: bytes) -> None:
    env = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{free_port()}", "OTEL_BSP_SCHEDULE_DELAY": "100"}
    with ServerProcess(tmp_path / "data", env) as server:
        final = asyncio.run(LiveClient(server.ws_url).stream(paced(hello, is_fast=True)))
        assert final["transcript"]["utterances"]
        assert server.stop() == 0
    assert "Monday" not in server.log_path.read_text()
