"""Correcting speakers on the page: splitting, several lines together, enrolment, and changes by others."""

from __future__ import annotations

import re
import wave
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import BrowserContext, Page, expect

from meeting_assistant.adapters.audio.trusted import read_pcm
from meeting_assistant.demo import demo_audio_path
from meeting_assistant.domain.minutes import Evidence, Item, Minutes
from meeting_assistant.launcher import ServerProcess
from meeting_assistant.testing.harness.meetings import MeetingFixture, seed

OpenBrowser = Callable[..., BrowserContext]
LINES = (
    ("S1", "Let us begin with the fair."),
    ("S1", "Who takes the brochures? I will bring them on Friday."),
    ("S2", "The booth costs four thousand euros."),
    ("S2", "Then we rent the small booth."),
)
QUOTE = "I will bring them on Friday."
MINUTES = Minutes(
    decisions=[
        Item(id="d1", text="{S1} brings the brochures.", evidence=[Evidence(utterance=2, quote=QUOTE)])
    ]
)


@pytest.fixture
def seeded(tmp_path: Path) -> Iterator[tuple[ServerProcess, str]]:
    (meeting_id,) = seed(tmp_path / "data", MeetingFixture(LINES, title="Fair", minutes=MINUTES))
    with ServerProcess(tmp_path / "data") as server:
        yield server, meeting_id


@pytest.fixture
def page(seeded: tuple[ServerProcess, str], open_browser: OpenBrowser) -> Page:
    server, meeting_id = seeded
    page = open_browser().new_page()
    page.goto(f"{server.url}/#/meetings/{meeting_id}")
    expect(page.get_by_test_id("utterance")).to_have_count(4)
    return page


def test_an_utterance_is_split_with_the_keyboard_and_its_rest_relabelled(
    seeded: tuple[ServerProcess, str], page: Page
) -> None:
    server, meeting_id = seeded
    utterances = page.get_by_test_id("utterance")
    utterances.nth(1).get_by_test_id("split").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_test_id("split-word").first).to_be_focused()
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    expect(page.get_by_role("button", name="Split before “I”")).to_be_focused()
    page.keyboard.press("Enter")
    # Who said the rest is asked at once.
    page.get_by_test_id("speaker-new-name").fill("Ben")
    page.get_by_test_id("speaker-save").click()

    expect(utterances).to_have_count(5)
    expect(utterances.nth(1).locator("p")).to_have_text("Who takes the brochures?")
    expect(utterances.nth(2)).to_contain_text("Ben")
    expect(utterances.nth(2).locator("p")).to_have_text(QUOTE)
    # The minutes say so as well, and lead to the part that says it.
    decision = page.get_by_test_id("decision")
    expect(decision).to_contain_text("Ben brings the brochures.")
    decision.get_by_title("Show where it was said").click()
    expect(utterances.nth(2)).to_have_class(re.compile("marked"))
    page.reload()
    expect(utterances.nth(2)).to_contain_text("Ben")
    text = httpx.get(f"{server.url}/api/meetings/{meeting_id}/export?format=txt").text
    assert re.search(r"Ben\b.*\n?.*I will bring them on Friday\.", text), text


def test_a_split_can_be_cancelled(page: Page) -> None:
    utterances = page.get_by_test_id("utterance")
    utterances.nth(1).hover()
    utterances.nth(1).get_by_test_id("split").click()
    page.keyboard.press("Escape")
    expect(page.get_by_test_id("split-word")).to_have_count(0)
    expect(utterances).to_have_count(4)


def test_several_lines_are_assigned_to_one_person_at_once(page: Page) -> None:
    utterances = page.get_by_test_id("utterance")
    page.get_by_test_id("select-several").click()
    page.get_by_test_id("select").nth(1).check()
    page.get_by_test_id("select").nth(3).click(modifiers=["Shift"])
    expect(page.get_by_role("checkbox", checked=True)).to_have_count(3)
    page.get_by_test_id("select").nth(2).uncheck()
    page.get_by_test_id("correct-selected").click()
    page.get_by_test_id("speaker-new-name").fill("Cleo")
    page.get_by_test_id("speaker-save").click()
    expect(utterances.nth(1)).to_contain_text("Cleo")
    expect(utterances.nth(3)).to_contain_text("Cleo")
    expect(utterances.nth(2)).to_contain_text("Speaker 2")
    expect(page.get_by_test_id("select")).to_have_count(0)


def test_changes_after_the_end_appear_without_a_reload(seeded: tuple[ServerProcess, str], page: Page) -> None:
    server, meeting_id = seeded
    address = f"{server.url}/api/meetings/{meeting_id}"
    labels = {"utterances": [3, 4], "speaker": "S1"}
    httpx.post(f"{address}/speakers", json=labels).raise_for_status()
    expect(page.get_by_text("Speaker 2")).to_have_count(0)
    httpx.patch(f"{address}/speakers/S1", json={"name": "Zoë"}).raise_for_status()
    expect(page.get_by_test_id("decision")).to_contain_text("Zoë brings the brochures.")
    httpx.post(f"{address}/utterances/2/split", json={"word": 4}).raise_for_status()
    expect(page.get_by_test_id("utterance")).to_have_count(5)
    httpx.post(f"{address}/minutes", json={"template": "standup"}).raise_for_status()
    expect(page.get_by_test_id("rewrite")).to_be_enabled(timeout=20_000)
    # Written from the transcript, not as they were seeded.
    expect(page.get_by_test_id("summary-item").first).to_be_visible(timeout=20_000)


def test_answers_use_the_present_names_and_lines(seeded: tuple[ServerProcess, str]) -> None:
    server, meeting_id = seeded
    address = f"{server.url}/api/meetings/{meeting_id}"

    def cited(question: str) -> tuple[int, str]:
        answer = httpx.post(f"{server.url}/api/ask", json={"question": question}, timeout=30).json()
        first = answer["sentences"][0]["citations"][0]
        return first["utterance"], first["speaker"]

    assert cited("What does the booth cost?") == (3, "Speaker 2")
    httpx.patch(f"{address}/speakers/S2", json={"name": "Ben"}).raise_for_status()
    assert cited("What does the booth cost?") == (3, "Ben")
    httpx.post(f"{address}/utterances/2/split", json={"word": 4}).raise_for_status()
    assignment = {"utterances": [5], "speaker": "new", "name": "Cleo"}
    httpx.post(f"{address}/speakers", json=assignment).raise_for_status()
    assert cited("What will be brought on Friday?") == (5, "Cleo")


def test_a_voice_is_enrolled_and_forgotten_on_the_page(
    page_server: ServerProcess, open_browser: OpenBrowser, tmp_path: Path
) -> None:
    recording = tmp_path / "talk.wav"
    with wave.open(str(recording), "wb") as sound:
        sound.setparams((1, 2, 16_000, 0, "NONE", ""))
        sound.writeframes(read_pcm(demo_audio_path())[: 32_000 * 45])
    page = open_browser().new_page()
    page.goto(page_server.url)
    page.get_by_test_id("upload-input").set_input_files(recording)
    expect(page.get_by_test_id("minutes")).to_be_visible(timeout=60_000)

    def ask_who() -> None:
        first = page.get_by_test_id("utterance").first
        first.hover()
        first.get_by_test_id("correct-speaker").click()

    ask_who()
    page.get_by_test_id("remember-voice").check()
    page.get_by_test_id("voice-name").fill("Maya")
    page.get_by_test_id("speaker-save").click()
    expect(page.get_by_test_id("speaker-save")).to_have_count(0, timeout=20_000)
    assert [voice["name"] for voice in page_server.get("/api/voices")["voices"]] == ["Maya"]

    ask_who()
    page.get_by_text("Remembered voices").click()
    page.get_by_test_id("forget-voice").click()
    expect(page.get_by_test_id("forget-voice")).to_have_count(0)
    assert page_server.get("/api/voices")["voices"] == []
