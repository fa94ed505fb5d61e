"""Minutes on the page: editing, rewriting, and questions about a meeting."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import BrowserContext, expect

from meeting_assistant.launcher import ServerProcess
from meeting_assistant.testing.doubles.llm_server import Answer, LlmServer, SeenRequest, lines_of
from meeting_assistant.testing.harness.meetings import MeetingFixture, seed

OpenBrowser = Callable[..., BrowserContext]
LINES = (
    ("S1", "Let us begin with the stand-up."),
    ("S2", "I finished the login page yesterday."),
    ("S1", "The test machine is broken."),
    ("S2", "The booth costs four thousand euros."),
)
EMPTY: dict[str, Any] = {
    kind: []
    for kind in ("summary", "topics", "decisions", "action_items", "open_questions", "risks", "taken_back")
}


def helpful(request: SeenRequest) -> Answer:
    """Answer with minutes of a stand-up, and answer one question."""
    if request.body["response_format"]["json_schema"]["name"] == "answer":
        line = next(number for number, words in lines_of(request) if "booth" in words)
        answer = {
            "is_found": True,
            "sentences": [{"lines": [line], "text": "The booth costs four thousand euros."}],
        }
        return Answer(json.dumps(answer))
    done = {"lines": [2], "quote": LINES[1][1], "text": "Speaker 2 finished the login page."}
    blocked = {"lines": [3], "quote": LINES[2][1], "text": "The test machine is broken."}
    return Answer(json.dumps({**EMPTY, "done": [done], "next": [], "blocked": [blocked]}))


@pytest.fixture
def seeded(tmp_path: Path) -> Iterator[tuple[ServerProcess, str]]:
    (meeting_id,) = seed(tmp_path / "data", MeetingFixture(LINES, title="Stand-up"))
    with LlmServer().serving("m").answer_by(helpful) as model:
        env = {"VLLM_BASE_URL": model.url, "VLLM_MODEL_ID": "m"}
        with ServerProcess(tmp_path / "data", env) as server:
            yield server, meeting_id


def test_minutes_are_rewritten_with_a_template_and_edited(
    seeded: tuple[ServerProcess, str], open_browser: OpenBrowser
) -> None:
    server, meeting_id = seeded
    page = open_browser().new_page()
    page.goto(f"{server.url}/#/meetings/{meeting_id}")
    page.get_by_test_id("rewrite").click()
    page.get_by_test_id("template").select_option("standup")
    expect(page.get_by_text("Adds: Done, Next, In the way.")).to_be_visible()
    page.get_by_test_id("rewrite-begin").click()
    done = page.get_by_test_id("section-done")
    expect(done).to_contain_text("Speaker 2 finished the login page.", timeout=20_000)

    page.get_by_test_id("speaker-name").nth(1).click()
    page.keyboard.type("Zoë")
    page.keyboard.press("Enter")
    expect(done).to_contain_text("Zoë finished the login page.")

    page.get_by_test_id("section-blocked").get_by_test_id("item-text").click()
    page.keyboard.type("The test machine needs a new disk.")
    page.keyboard.press("Enter")
    expect(page.get_by_test_id("section-blocked")).to_contain_text("changed by hand")
    done.hover()
    done.get_by_test_id("remove-item").click()
    expect(done).to_have_count(0)

    page.get_by_test_id("rewrite").click()
    page.get_by_test_id("rewrite-begin").click()
    expect(page.get_by_test_id("rewrite")).to_be_enabled(timeout=20_000)
    page.reload()
    expect(page.get_by_test_id("section-blocked")).to_contain_text("The test machine needs a new disk.")
    expect(done).to_have_count(0)
    page.get_by_test_id("rewrite").click()
    page.get_by_text("Earlier versions").click()
    page.get_by_test_id("restore").last.click()
    expect(page.get_by_test_id("section-blocked")).to_have_count(0)
    listed = httpx.get(f"{server.url}/api/meetings/{meeting_id}/minutes").json()
    assert [version["template"] for version in listed] == ["general", "standup", "standup", "general"]


def test_an_answer_links_to_its_utterance(
    seeded: tuple[ServerProcess, str], open_browser: OpenBrowser
) -> None:
    server, meeting_id = seeded
    page = open_browser().new_page()
    page.goto(server.url)
    page.get_by_test_id("ask-question").fill("What does the booth cost?")
    page.get_by_test_id("ask").click()
    answer = page.get_by_test_id("answer")
    expect(answer).to_contain_text("The booth costs four thousand euros.", timeout=20_000)
    answer.get_by_role("button").click()
    expect(page).to_have_url(f"{server.url}/#/meetings/{meeting_id}/4")
    page.get_by_test_id("ask-question").fill("What does the booth cost?")
    page.get_by_test_id("ask").click()
    page.get_by_test_id("answer").get_by_role("button").click()
    expect(page.locator("#utterance-4")).to_be_in_viewport()


def test_speakers_are_corrected_for_one_utterance_and_for_a_whole_label(
    seeded: tuple[ServerProcess, str], open_browser: OpenBrowser
) -> None:
    server, meeting_id = seeded
    page = open_browser().new_page()
    page.goto(f"{server.url}/#/meetings/{meeting_id}")
    utterances = page.get_by_test_id("utterance")
    utterances.nth(1).hover()
    utterances.nth(1).get_by_test_id("correct-speaker").click()
    page.get_by_test_id("speaker-new-name").fill("Ben")
    page.get_by_test_id("speaker-save").click()
    expect(utterances.nth(1)).to_contain_text("Ben")
    expect(utterances.nth(3)).to_contain_text("Speaker 2")

    utterances.nth(3).hover()
    utterances.nth(3).get_by_test_id("correct-speaker").click()
    page.get_by_test_id("speaker-merge").check()
    page.get_by_test_id("speaker-merge-into").select_option("S1")
    page.get_by_test_id("speaker-save").click()
    expect(page.get_by_text("Speaker 2")).to_have_count(0)
    page.reload()
    expect(utterances.nth(1)).to_contain_text("Ben")
    expect(page.get_by_text("Speaker 2")).to_have_count(0)


def test_model_calls_are_listed_and_a_meeting_can_be_made_local_only(
    tmp_path: Path, open_browser: OpenBrowser
) -> None:
    (meeting_id,) = seed(tmp_path / "data", MeetingFixture(LINES, title="Stand-up"))
    with LlmServer().answer_by(helpful) as model:
        elsewhere = model.url.replace("127.0.0.1", "127.1")
        env = {"OPENAI_API_KEY": "k", "OPENAI_BASE_URL": elsewhere, "LLM_PROVIDER_ORDER": "openai"}
        with ServerProcess(tmp_path / "data", env) as server:
            page = open_browser().new_page()
            page.goto(f"{server.url}/#/meetings/{meeting_id}")
            page.get_by_test_id("open-model-calls").click()
            expect(page.get_by_test_id("no-model-calls")).to_be_visible()
            page.get_by_role("button", name="Close").click()
            page.get_by_test_id("rewrite").click()
            page.get_by_test_id("template").select_option("standup")
            page.get_by_test_id("rewrite-begin").click()
            expect(page.get_by_test_id("section-done")).to_be_visible(timeout=20_000)
            page.get_by_test_id("open-model-calls").click()
            expect(page.get_by_test_id("model-calls")).to_contain_text("openai remote minutes, once")
            page.get_by_test_id("keep-local").click()
            expect(page.get_by_test_id("is-local")).to_be_visible()
            meeting = httpx.get(f"{server.url}/api/meetings/{meeting_id}").json()["meeting"]
    assert meeting["local_only"] is True


def test_a_person_can_make_all_of_their_meetings_local_only(
    seeded: tuple[ServerProcess, str], open_browser: OpenBrowser
) -> None:
    server, _ = seeded
    page = open_browser().new_page()
    page.goto(server.url)
    page.get_by_text("Title, participants and vocabulary").click()
    with page.expect_response(lambda answer: answer.request.method == "PUT"):
        page.get_by_test_id("all-local-only").check()
    page.reload()
    page.get_by_text("Title, participants and vocabulary").click()
    expect(page.get_by_test_id("all-local-only")).to_be_checked()
    assert httpx.get(f"{server.url}/api/preferences").json()["local_only"] is True
