"""What the page does without being asked, what it keeps, and what it takes from anywhere."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page, Request, expect

from meeting_assistant.demo import hello_clip
from meeting_assistant.domain.minutes import ActionItem, Evidence, Minutes
from meeting_assistant.launcher import ServerProcess
from meeting_assistant.testing.harness.meetings import MeetingFixture, seed

OpenBrowser = Callable[..., BrowserContext]

HANDFUL = 6
"""Requests a minute of a page that nobody touches."""
LINES = (
    ("S1", "The police asked for the documentation of the new gateway."),
    ("S2", "I will send the documentation by Friday."),
)
BEGAN_MS = int(datetime(2026, 11, 25, 9, tzinfo=UTC).timestamp() * 1000)
MINUTES = Minutes(
    action_items=[
        ActionItem(
            id="a1",
            text="Send the documentation.",
            evidence=[Evidence(utterance=2, quote=LINES[1][1])],
            owner="S2",
            due=datetime(2026, 11, 27).date(),
            due_phrase="by Friday",
        )
    ]
)


class Site:
    """A server with one finished meeting and no integration."""

    def __init__(self, server: ServerProcess, meeting_id: str) -> None:
        self.server = server
        self.meeting_id = meeting_id
        self.meeting_url = f"{server.url}/#/meetings/{meeting_id}"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    data = tmp_path_factory.mktemp("site") / "data"
    [meeting_id] = seed(
        data,
        MeetingFixture(
            LINES,
            title="Gateway",
            minutes=MINUTES,
            more={"created_at_ms": BEGAN_MS, "began_at_source": "upload"},
        ),
    )
    with ServerProcess(data) as server:
        yield Site(server, meeting_id)


def requests_in_a_minute(page: Page) -> list[str]:
    """Requests of a page during a minute of its own clock, and while twenty requests go to and fro."""
    seen: list[str] = []

    def note(request: Request) -> None:
        if not request.url.endswith("/health"):
            seen.append(f"{request.method} {request.url}")

    page.on("request", note)
    page.clock.run_for(60_000)
    # A chain of requests in which each answer causes the next needs no clock.
    page.evaluate("async () => { for (let i = 0; i < 20; i++) await fetch('/health'); }")
    page.remove_listener("request", note)
    return seen


def test_no_page_asks_the_server_more_than_a_handful_of_times_a_minute(
    site: Site, open_browser: OpenBrowser
) -> None:
    page = open_browser().new_page()
    page.clock.install()
    for address, sign in (
        (f"{site.server.url}/#/", "meeting-row"),
        (site.meeting_url, "minutes"),
        (f"{site.server.url}/#/dashboard", "dashboard-link"),
        (f"{site.server.url}/#/nowhere", "unknown-page"),
    ):
        page.goto(address)
        expect(page.get_by_test_id(sign).first).to_be_visible()
        page.wait_for_load_state("networkidle")
        requests = requests_in_a_minute(page)
        assert len(requests) <= HANDFUL, requests


def test_a_citation_of_all_meetings_leads_to_its_moment_and_back_to_the_answer(
    site: Site, open_browser: OpenBrowser
) -> None:
    page = open_browser().new_page()
    page.goto(site.server.url)
    page.get_by_test_id("ask-question").fill("Who asked for the documentation?")
    page.get_by_test_id("ask").click()
    citation = page.get_by_test_id("answer").get_by_role("button").first
    expect(citation).to_contain_text("Gateway, 25 November 2026 · 0:")
    answer = page.get_by_test_id("answer").inner_text()
    citation.click()
    expect(page.locator(".utterance.marked")).to_have_count(1)
    page.go_back()
    expect(page.get_by_test_id("answer")).to_have_text(answer, use_inner_text=True)
    expect(page.get_by_test_id("meeting-row")).not_to_have_count(0)


def test_the_day_of_a_meeting_is_corrected_and_its_due_dates_follow(
    site: Site, open_browser: OpenBrowser
) -> None:
    page = open_browser(timezone_id="Europe/Berlin", locale="en-GB").new_page()
    page.goto(site.meeting_url)
    due = page.get_by_test_id("action-item").locator(".due")
    expect(due).to_have_text(re.compile("27 Nov"))
    page.get_by_test_id("start").click()
    expect(page.get_by_test_id("start-source")).to_contain_text("time of the upload")
    page.get_by_test_id("began-at").fill("2026-11-02T10:00")
    page.get_by_test_id("began-offset").select_option("60")
    page.get_by_test_id("save-start").click()
    expect(due).to_have_text(re.compile("6 Nov"))
    page.get_by_test_id("start").click()
    expect(page.get_by_test_id("start-source")).to_contain_text("set by hand")


DROP = """([name, bytes]) => {
  const files = new DataTransfer();
  files.items.add(new File([Uint8Array.from(bytes)], name));
  const event = new DragEvent("drop", { dataTransfer: files, bubbles: true, cancelable: true });
  document.querySelector("header").dispatchEvent(event);
  return event.defaultPrevented;
}"""


def test_a_file_that_is_dropped_anywhere_is_uploaded_and_never_replaces_the_app(
    site: Site, open_browser: OpenBrowser, tmp_path: Path
) -> None:
    page = open_browser().new_page()
    page.goto(site.meeting_url)
    expect(page.get_by_test_id("minutes")).to_be_visible()
    assert page.evaluate(DROP, ["notes.txt", list(b"no sound")])
    expect(page.get_by_test_id("error-banner")).to_contain_text("“notes.txt” was not uploaded.")
    clip, _ = hello_clip()
    assert page.evaluate(DROP, ["Dropped.flac", list(clip.read_bytes())])
    expect(page).to_have_url(site.meeting_url)
    page.get_by_role("link", name="Meetings", exact=True).click()
    expect(page.get_by_test_id("meeting-row").filter(has_text="Dropped")).to_be_visible(timeout=20_000)


def test_a_recording_whose_tab_was_closed_is_offered_again_and_ended_from_another_device(
    site: Site, open_browser: OpenBrowser
) -> None:
    context = open_browser()
    page = context.new_page()
    page.goto(site.server.url)
    page.get_by_test_id("try-sample").click()
    expect(page.get_by_test_id("pause")).to_be_enabled(timeout=20_000)
    expect(page.get_by_test_id("status")).not_to_contain_text("Connect", timeout=20_000)
    meeting_id = site.server.get("/api/meetings?limit=1")["meetings"][0]["id"]
    page.close(run_before_unload=False)
    again = context.new_page()
    again.goto(site.server.url)
    expect(again.get_by_role("button", name="Resume recording")).to_be_visible()
    expect(again.get_by_text("Sample meeting").first).to_be_visible()

    elsewhere = open_browser().new_page()
    elsewhere.goto(f"{site.server.url}/#/meetings/{meeting_id}")
    expect(elsewhere.get_by_test_id("recording-elsewhere")).to_contain_text("Nobody is recording")
    elsewhere.get_by_test_id("end-meeting").click()
    expect(elsewhere.get_by_test_id("recording-elsewhere")).to_have_count(0)
    expect(elsewhere.get_by_test_id("export-md")).to_be_attached(timeout=30_000)
