"""The sample meeting, from the command line to the minutes: what a new user tries first."""

from __future__ import annotations

import io
import json
import re
from typing import Any

import jiwer
import pytest
from rich.console import Console

from meeting_assistant.cli.demo import print_minutes, server_for_demo
from meeting_assistant.client import LiveClient, paced
from meeting_assistant.demo import DemoMeeting, load_demo
from meeting_assistant.domain.minutes import Minutes
from meeting_assistant.domain.transcript import Transcript
from meeting_assistant.launcher import ServerProcess, free_port
from meeting_assistant.testing.harness.command import run_cli


def plain(text: str) -> str:
    return " ".join(re.sub(r"[^a-z0-9' ]", " ", text.lower().replace("-", " ")).split())


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The output of `meeting-assistant demo --fast --json`, which starts its own server."""
    folder = tmp_path_factory.mktemp("demo")
    result = run_cli("demo", "--fast", "--json", cwd=folder, HTTP_PORT=str(free_port()))
    assert result.returncode == 0, result.stderr
    assert "starting one for the demo" in result.stderr
    document: dict[str, Any] = json.loads(result.stdout)
    return document


@pytest.fixture(scope="module")
def demo() -> DemoMeeting:
    return load_demo()


@pytest.fixture(scope="module")
def transcript(outcome: dict[str, Any]) -> Transcript:
    return Transcript.model_validate(outcome["transcript"])


@pytest.fixture(scope="module")
def minutes(outcome: dict[str, Any]) -> Minutes:
    return Minutes.model_validate(outcome["minutes"])


def test_at_most_one_word_in_ten_is_wrong(demo: DemoMeeting, transcript: Transcript) -> None:
    script = plain(" ".join(utterance.text for utterance in demo.utterances))
    transcribed = plain(" ".join(utterance.text for utterance in transcript.utterances))
    assert jiwer.wer(script, transcribed) <= 0.10


def test_three_speakers_are_distinguished(demo: DemoMeeting, transcript: Transcript) -> None:
    by_label: dict[str | None, dict[str, int]] = {}
    for utterance in transcript.utterances:
        middle = (utterance.start_ms + utterance.end_ms) // 2
        spoken = min(
            demo.utterances, key=lambda scripted: abs((scripted.start_ms + scripted.end_ms) // 2 - middle)
        )
        counts = by_label.setdefault(utterance.speaker, {})
        counts[spoken.speaker] = counts.get(spoken.speaker, 0) + 1
    right = sum(max(counts.values()) for counts in by_label.values())
    assert {max(counts, key=lambda name: counts[name]) for counts in by_label.values()} == {"S1", "S2", "S3"}
    assert right / len(transcript.utterances) >= 0.8


@pytest.mark.parametrize("kind", ["decisions", "action_items"])
def test_every_expected_item_is_in_the_minutes(demo: DemoMeeting, minutes: Minutes, kind: str) -> None:
    found = [
        " ".join([item.text, *(evidence.quote for evidence in item.evidence)]).casefold()
        for item in getattr(minutes, kind)
    ]
    missing = [
        expected.text
        for expected in getattr(demo.expected, kind)
        if not any(all(word.casefold() in text for word in expected.keywords) for text in found)
    ]
    assert missing == []


def test_action_items_name_their_owner_and_the_stated_time(demo: DemoMeeting, minutes: Minutes) -> None:
    for expected in demo.expected.action_items:
        item = next(
            item
            for item in minutes.action_items
            if all(
                word.casefold() in f"{item.text} {item.evidence[0].quote}".casefold()
                for word in expected.keywords
            )
        )
        assert item.owner is not None, expected.text
        if expected.due_phrase:
            assert item.due_phrase is not None, expected.text
            assert plain(expected.due_phrase).split()[-1] in plain(item.due_phrase)


def test_soft_cues_are_not_presented_as_action_items(demo: DemoMeeting, minutes: Minutes) -> None:
    agreed = " | ".join(item.text for item in (*minutes.action_items, *minutes.decisions)).casefold()
    for soft in demo.expected.not_action_items:
        assert not all(word.casefold() in agreed for word in soft.keywords), soft.text


def test_every_item_quotes_the_transcript(minutes: Minutes, transcript: Transcript) -> None:
    texts = {utterance.utterance: utterance.text for utterance in transcript.utterances}
    items = [
        *minutes.summary, *minutes.decisions, *minutes.action_items,
        *minutes.open_questions, *minutes.risks, *minutes.possible_follow_ups,
    ]  # fmt: skip
    assert items
    for item in items:
        assert item.evidence
        for evidence in item.evidence:
            assert evidence.quote in texts[evidence.utterance]


def test_all_audio_was_stored_transcribed_and_covered_by_the_minutes(outcome: dict[str, Any]) -> None:
    coverage = outcome["coverage"]
    assert coverage["captured_s"] == coverage["stored_s"]
    assert coverage["captured_s"] == pytest.approx(coverage["transcribed_s"], abs=0.01)
    assert coverage["in_minutes_s"] == coverage["spoken_s"] > 0
    assert outcome["errors"] == []


def test_words_carry_times_that_are_flagged_as_estimates(transcript: Transcript) -> None:
    for utterance in transcript.utterances:
        assert utterance.timing == "estimated"
        assert [word.text for word in utterance.words] == utterance.text.split()
        moments = [moment for word in utterance.words for moment in (word.start_ms, word.end_ms)]
        assert moments == sorted(moments)
        assert utterance.start_ms <= moments[0]
        assert moments[-1] <= utterance.end_ms


def test_the_web_app_offers_the_same_meeting(server: ServerProcess, demo: DemoMeeting) -> None:
    assert server.get("/api/demo")["title"] == demo.title


async def test_no_transcript_text_is_in_the_log(server: ServerProcess, hello: bytes) -> None:
    client = LiveClient(server.ws_url, start={"title": "A title that says too much"})
    final = await client.stream(paced(hello, is_fast=True))
    log = server.log_path.read_text()
    assert "Ready." in log
    assert final["transcript"]["utterances"]
    for utterance in final["transcript"]["utterances"]:
        assert utterance["text"] not in log
    assert "A title that says too much" not in log


def test_the_demo_uses_the_server_that_it_is_given(server: ServerProcess) -> None:
    out = io.StringIO()
    with server_for_demo(server.url, Console(file=out)) as url:
        assert url == server.url
    assert "Using the server at" in out.getvalue()


def test_the_demo_prints_minutes_that_a_person_can_read(outcome: dict[str, Any], minutes: Minutes) -> None:
    out = io.StringIO()
    print_minutes(outcome, Console(file=out, width=400))
    assert "Action items" in out.getvalue()
    for item in (*minutes.decisions, *minutes.action_items):
        assert item.text in out.getvalue()
