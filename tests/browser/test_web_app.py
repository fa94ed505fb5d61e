"""The web app in a real browser: speech, captions, minutes."""

from __future__ import annotations

import re
import wave
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import BrowserContext, Page, expect

from meeting_assistant.launcher import ServerProcess, free_port

OpenBrowser = Callable[..., BrowserContext]


def watch_for_problems(page: Page) -> list[str]:
    """Errors of the page and violations of its security policy."""
    problem: list[str] = []
    page.on("pageerror", lambda error: problem.append(str(error)))
    page.on("console", lambda m: problem.append(m.text) if m.type == "error" else None)
    return problem


def test_speech_into_the_microphone_gives_captions_and_then_minutes(
    page_server: ServerProcess, open_browser: OpenBrowser, excerpt: Path
) -> None:
    page = open_browser(excerpt, permissions=["microphone"]).new_page()
    problem = watch_for_problems(page)
    page.goto(page_server.url)
    page.get_by_test_id("new-meeting").click()

    # Captions grow while the utterance is still open, the stable part apart from the unstable tail.
    partial = page.get_by_test_id("partial-stable")
    expect(partial).to_have_text(re.compile(r"\w+"), timeout=20_000)
    expect(page.get_by_test_id("partial-unstable")).to_be_attached()
    # They turn into finished utterances.
    expect(page.get_by_test_id("utterance").nth(2)).to_be_visible(timeout=30_000)

    page.get_by_test_id("stop").click()
    minutes = page.get_by_test_id("minutes")
    expect(minutes).to_be_visible(timeout=30_000)
    expect(minutes.get_by_test_id("summary-item").first).to_be_visible()
    expect(page).to_have_url(re.compile(r"#/meetings/[0-9a-f-]{36}"))
    assert problem == []


def test_the_sample_meeting_runs_without_a_microphone(
    page_server: ServerProcess, open_browser: OpenBrowser
) -> None:
    page = open_browser().new_page()
    problem = watch_for_problems(page)
    page.goto(page_server.url)
    page.get_by_test_id("try-sample").click()
    expect(page.get_by_test_id("utterance").first).to_be_visible(timeout=30_000)
    page.get_by_test_id("stop").click()
    expect(page.get_by_test_id("minutes")).to_be_visible(timeout=30_000)
    assert problem == []


def test_an_upload_shows_progress_and_its_minutes_link_to_the_recording(
    page_server: ServerProcess, open_browser: OpenBrowser, excerpt: Path
) -> None:
    page = open_browser().new_page()
    problem = watch_for_problems(page)
    page.goto(page_server.url)
    page.get_by_test_id("upload-input").set_input_files(excerpt)
    expect(page.get_by_test_id("minutes")).to_be_visible(timeout=60_000)
    actions = page.get_by_test_id("action-item")
    expect(actions.first).to_be_visible()
    expect(page.get_by_test_id("decision").first).to_be_visible()

    # A speaker is named once and everywhere.
    name = page.get_by_test_id("speaker-name").first
    name.click()
    page.keyboard.press("ControlOrMeta+A")
    page.keyboard.type("Ana <b>")
    page.keyboard.press("Enter")
    expect(page.get_by_test_id("utterance").filter(has_text="Ana <b>").first).to_be_visible()
    page.reload()
    expect(page.get_by_test_id("utterance").filter(has_text="Ana <b>").first).to_be_visible()
    assert problem == []


def test_a_file_without_audio_gives_a_message_and_a_way_back(
    page_server: ServerProcess, open_browser: OpenBrowser, tmp_path: Path
) -> None:
    notes = tmp_path / "notes.wav"
    notes.write_text("this is not sound")
    page = open_browser().new_page()
    page.goto(page_server.url)
    page.get_by_test_id("upload-input").set_input_files(notes)
    expect(page.get_by_test_id("error-banner")).to_contain_text(re.compile(r"\w+ \w+"))


def test_a_denied_microphone_is_explained(page_server: ServerProcess, open_browser: OpenBrowser) -> None:
    page = open_browser(permissions=[]).new_page()
    page.goto(page_server.url)
    page.get_by_test_id("new-meeting").click()
    expect(page.get_by_test_id("error-banner")).to_contain_text(re.compile("microphone", re.IGNORECASE))


def test_a_meeting_can_be_deleted(page_server: ServerProcess, open_browser: OpenBrowser) -> None:
    page = open_browser().new_page()
    page.on("dialog", lambda dialog: dialog.accept())
    page.goto(page_server.url)
    page.get_by_test_id("upload-input").set_input_files(
        {"name": "Short talk.wav", "mimeType": "audio/wav", "buffer": tone_wav()}
    )
    expect(page.get_by_text("No speech was heard").first).to_be_visible(timeout=30_000)
    rows = page_server.get("/api/meetings?limit=200")["meetings"]
    page.get_by_test_id("delete-meeting").first.click()
    confirm = page.get_by_test_id("confirm-delete")
    if confirm.count():
        confirm.click()
    expect(page.get_by_test_id("new-meeting")).to_be_visible()
    expect(page.get_by_text("Short talk")).to_have_count(0)
    assert len(page_server.get("/api/meetings?limit=200")["meetings"]) == len(rows) - 1


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_fits_its_window(
    page_server: ServerProcess, open_browser: OpenBrowser, width: int, scheme: str
) -> None:
    page = open_browser(viewport={"width": width, "height": 800}, color_scheme=scheme).new_page()
    page.goto(page_server.url)
    expect(page.get_by_test_id("new-meeting")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def tone_wav() -> bytes:
    """Return two seconds of a quiet tone: audio without speech."""
    import io

    import numpy as np

    tone = (np.sin(np.arange(32_000) * 2 * np.pi * 220 / 16_000) * 300).astype("<i2").tobytes()
    target = io.BytesIO()
    with wave.open(target, "wb") as sound:
        sound.setparams((1, 2, 16_000, 0, "NONE", ""))
        sound.writeframes(tone)
    return target.getvalue()


def test_a_reload_while_the_server_is_down_loses_no_audio(
    tmp_path: Path, open_browser: OpenBrowser, excerpt: Path
) -> None:
    server = ServerProcess(tmp_path / "data", port=free_port())
    server.start()
    try:
        page = open_browser(excerpt, permissions=["microphone"]).new_page()
        page.on("dialog", lambda dialog: dialog.accept())
        page.goto(server.url)
        page.get_by_test_id("new-meeting").click()
        expect(page.get_by_test_id("utterance").first).to_be_visible(timeout=30_000)
        server.kill()
        expect(page.get_by_test_id("status")).to_contain_text("Connection lost", timeout=30_000)
        page.wait_for_function(
            f"() => {KEPT}.then((all) => all.length >= 6)"
        )  # three seconds without other speech
        kept = page.evaluate(KEPT_BYTES)
        server.start()
        page.reload()
        page.get_by_role("button", name="End meeting").click()
        expect(page).to_have_url(re.compile(r"#/meetings/[0-9a-f-]{36}"), timeout=60_000)
        meeting = page.url.rsplit("/", 1)[1]
        record = server.get(f"/api/meetings/{meeting}")["meeting"]
        assert record["coverage"]["captured_s"] == record["coverage"]["transcribed_s"]
        assert record["coverage"]["captured_s"] > kept / 96_000  # 48 kHz, two bytes
        page.wait_for_function(
            f"() => {KEPT}.then((all) => all.length === 0)"
        )  # what is safe is kept no longer
    finally:
        server.stop()


KEPT = """new Promise((done) => {
  const opening = indexedDB.open("meeting-assistant");
  opening.onsuccess = () => {
    const all = opening.result.transaction("unsafe-sound").objectStore("unsafe-sound").getAll();
    all.onsuccess = () => { opening.result.close(); done(all.result); };
  };
})"""
KEPT_BYTES = f"{KEPT}.then((all) => Math.max(...all.map((piece) => piece.at + piece.length)))"


def test_signing_in_sharing_and_off_the_record_work_on_the_page(
    tmp_path: Path, open_browser: OpenBrowser, excerpt: Path
) -> None:
    token = "a-token-that-is-long-enough"
    with ServerProcess(tmp_path / "data", {"API_TOKENS": f"ana:{token}"}) as server:
        page = open_browser().new_page()
        page.goto(server.url)
        page.get_by_test_id("token").fill("wrong")
        page.get_by_test_id("sign-in").click()
        expect(page.get_by_test_id("error-banner")).to_be_visible()
        page.get_by_test_id("token").fill(token)
        page.get_by_test_id("sign-in").click()
        page.get_by_test_id("upload-input").set_input_files(excerpt)
        expect(page.get_by_test_id("minutes")).to_be_visible(timeout=60_000)

        utterances = page.get_by_test_id("utterance")
        words = utterances.first.locator("p").inner_text()
        before = utterances.count()
        utterances.first.hover()
        utterances.first.get_by_test_id("redact").click()
        page.get_by_test_id("confirm-delete").click()
        expect(utterances).to_have_count(before - 1, timeout=20_000)
        expect(page.get_by_text("off the record")).to_be_visible()
        expect(page.get_by_text(words)).to_have_count(0)

        page.get_by_test_id("share").click()
        page.get_by_test_id("make-link").click()
        link = page.get_by_test_id("share-link").input_value()

        guest = open_browser().new_page()
        guest.goto(link)
        expect(guest.get_by_test_id("minutes")).to_be_visible(timeout=20_000)
        assert "shared" not in guest.url, "the token leaves the address bar"
        for forbidden in ("delete-meeting", "share", "redact", "speaker-name"):
            expect(guest.get_by_test_id(forbidden)).to_have_count(0)
        page.reload()
        page.get_by_test_id("sign-out").click()
        expect(page.get_by_test_id("token")).to_be_visible()


PAYLOADS = [
    "<img src=x onerror=alert(1)>",
    "<script>alert(1)</script>",
    '"><svg onload=alert(1)>',
    "[x](javascript:alert(1))",
    "{@html alert(1)}",
]


def test_input_and_speech_are_shown_as_text(
    page_server: ServerProcess, open_browser: OpenBrowser, excerpt: Path
) -> None:
    with excerpt.open("rb") as file:
        made = httpx.post(
            f"{page_server.url}/api/meetings",
            files={"file": ("a.wav", file)},
            data={"title": PAYLOADS[0], "attendees": ",".join(PAYLOADS[1:])},
        ).json()
    address = f"{page_server.url}/api/meetings/{made['id']}"
    page = open_browser().new_page()
    problem = watch_for_problems(page)
    page.on("dialog", lambda dialog: problem.append(dialog.message))
    page.goto(f"{page_server.url}/#/meetings/{made['id']}")
    expect(page.get_by_test_id("minutes")).to_be_visible(timeout=60_000)
    for label, name in zip(("S1", "S2"), PAYLOADS[1:], strict=False):
        httpx.patch(f"{address}/speakers/{label}", json={"name": name}).raise_for_status()
    for payload in (*PAYLOADS[3:], PAYLOADS[0]):
        httpx.patch(address, json={"title": payload}).raise_for_status()
        page.reload()
        expect(page.get_by_text(payload, exact=True).first).to_be_visible(timeout=20_000)
    expect(page.get_by_text(PAYLOADS[1]).first).to_be_visible()
    page.goto(page_server.url)
    expect(page.get_by_text(PAYLOADS[0]).first).to_be_visible()
    assert problem == []
