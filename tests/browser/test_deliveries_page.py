"""Deliveries on the page of a meeting: proposed, approved, done, parked, retried."""

from __future__ import annotations

import io
import re
import wave
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import BrowserContext, Locator, expect

from meeting_assistant.launcher import ServerProcess
from meeting_assistant.testing.doubles.targets import GitHub, TargetServer, slack
from meeting_assistant.testing.harness.meetings import MeetingFixture, seed
from meeting_assistant.testing.harness.outbox import BEGAN_MS, LINES, MINUTES

OpenBrowser = Callable[..., BrowserContext]


class Delivered:
    """A server with a finished meeting, a repository, and a channel that refuses the first message."""

    def __init__(
        self, server: ServerProcess, meeting_id: str, repository: GitHub, channel: TargetServer
    ) -> None:
        self.server, self.meeting_id, self.repository, self.channel = server, meeting_id, repository, channel


@pytest.fixture
def delivered(tmp_path: Path) -> Iterator[Delivered]:
    meeting = MeetingFixture(LINES, title="Weekly", minutes=MINUTES, more={"created_at_ms": BEGAN_MS})
    (meeting_id,) = seed(tmp_path / "data", meeting)
    repository = GitHub()
    with (
        TargetServer(repository) as tracker,
        TargetServer(slack).fail_with(410, "channel_is_archived") as channel,
    ):
        env = {
            "MEETING_SLACK_WEBHOOK_URL": f"{channel.url}/services/secret",
            "WORKFLOWS__GITHUB__REPOSITORY": "acme/plans",
            "WORKFLOWS__GITHUB__TOKEN": "github-token",
            "WORKFLOWS__GITHUB__API_URL": tracker.url,
        }
        with ServerProcess(tmp_path / "data", env) as server:
            yield Delivered(server, meeting_id, repository, channel)


def test_tickets_are_approved_and_a_parked_delivery_is_retried(
    delivered: Delivered, open_browser: OpenBrowser
) -> None:
    page = open_browser().new_page()
    page.goto(f"{delivered.server.url}/#/meetings/{delivered.meeting_id}/2")
    expect(page.locator("#utterance-2")).to_have_class(re.compile(r"\bmarked\b"))
    rows = page.get_by_test_id("delivery")

    def named(title: str) -> Locator:
        return rows.filter(has=page.locator(".what", has_text=title))

    expect(rows).to_have_count(3)
    parked = named("Minutes to the channel")
    expect(parked).to_contain_text("gone for good (HTTP 410, channel_is_archived)")
    first = named("Send the release notes.")
    first.get_by_text("What is sent").click()
    expect(first.locator("pre")).to_contain_text('"title": "Send the release notes."')
    second = named("<!channel>")
    second.get_by_test_id("dismiss").click()
    expect(second).to_contain_text("dismissed")
    assert delivered.repository.issues == []
    first.get_by_test_id("approve").click()
    expect(first.get_by_role("link", name="acme/plans#1")).to_have_attribute(
        "href", "https://github.example/acme/plans/issues/1"
    )
    expect(first).to_contain_text("delivered")
    parked.get_by_test_id("retry-delivery").click()
    expect(parked).to_have_attribute("data-state", "done")
    assert [issue["title"] for issue in delivered.repository.issues] == ["Send the release notes."]


def test_a_delivery_decided_by_somebody_else_does_not_block_other_approvals(
    delivered: Delivered, open_browser: OpenBrowser
) -> None:
    page = open_browser().new_page()
    page.goto(f"{delivered.server.url}/#/meetings/{delivered.meeting_id}")
    rows = page.get_by_test_id("delivery")
    expect(rows).to_have_count(3)
    of_it = f"{delivered.server.url}/api/meetings/{delivered.meeting_id}"
    first = next(one for one in httpx.get(f"{of_it}/deliveries").json() if one["state"] == "proposed")
    httpx.post(f"{of_it}/deliveries/{first['id']}/dismiss").raise_for_status()
    page.get_by_test_id("approve-all").click()
    expect(page.get_by_text("This does not wait for anybody.")).to_be_visible()
    expect(rows.and_(page.locator("[data-state=dismissed]"))).to_have_count(1)
    expect(rows.and_(page.locator("[data-state=done]"))).to_have_count(1)
    assert len(delivered.repository.issues) == 1


def test_an_item_added_by_hand_is_proposed_on_the_next_planning(
    delivered: Delivered, open_browser: OpenBrowser
) -> None:
    page = open_browser().new_page()
    page.goto(f"{delivered.server.url}/#/meetings/{delivered.meeting_id}")
    rows = page.get_by_test_id("delivery")
    expect(rows).to_have_count(3)
    added = {"kind": "action_items", "text": "Book a room."}
    version = delivered.server.get(f"/api/meetings/{delivered.meeting_id}/minutes")[-1]["version"]
    url = f"{delivered.server.url}/api/meetings/{delivered.meeting_id}/minutes/items"
    httpx.post(url, params={"version": version}, json=added).raise_for_status()
    page.get_by_test_id("look-again").click()
    expect(rows).to_have_count(4)
    expect(rows.filter(has=page.locator(".what", has_text="Book a room."))).to_contain_text(
        "awaiting approval"
    )


def test_an_integration_can_be_tested_and_deselected_for_a_meeting(
    delivered: Delivered, open_browser: OpenBrowser
) -> None:
    page = open_browser().new_page()
    page.goto(delivered.server.url)
    page.get_by_text("Title, participants and vocabulary").click()
    page.get_by_test_id("integrations").click()
    expect(page.get_by_test_id("integration")).to_have_count(2)
    page.get_by_test_id("test-github").click()
    expect(page.get_by_text("Issues can be made in acme/plans.")).to_be_visible()
    page.get_by_test_id("test-slack").click()
    expect(page.get_by_text("A line was posted to the channel.")).to_be_visible()
    page.get_by_role("button", name="Close").click()
    page.get_by_test_id("include-slack").uncheck()
    sound = io.BytesIO()
    with wave.open(sound, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(bytes(32_000))
    page.get_by_test_id("upload-input").set_input_files(
        {"name": "quiet.wav", "mimeType": "audio/wav", "buffer": sound.getvalue()}
    )
    expect(page.get_by_test_id("delete-meeting")).to_be_visible()
    assert delivered.server.get("/api/meetings")["meetings"][0]["workflows"] == ["github"]
    page.goto(delivered.server.url)
    page.get_by_test_id("try-sample").click()
    expect(page.get_by_test_id("status")).to_contain_text("Listening")
    newest = delivered.server.get("/api/meetings")["meetings"][0]
    assert (newest["title"], newest["workflows"]) == ("Sample meeting", [])
