"""A call in the browser: the microphone on one channel, the captured audio of another tab on the other."""

from __future__ import annotations

import base64
import io
import re
import wave
from collections.abc import Callable
from pathlib import Path

import httpx
import numpy as np
import pytest
from playwright.sync_api import BrowserContext, Page, expect

from meeting_assistant.adapters.audio.trusted import read_pcm
from meeting_assistant.demo import demo_audio_path, load_demo
from meeting_assistant.domain.audio import Samples, pcm_to_samples
from meeting_assistant.launcher import ServerProcess, free_port

OpenBrowser = Callable[..., BrowserContext]
FIRST_S, LAST_S = 13, 62
YOU = "S1"
"""Of the script: who sits at the microphone."""


def wav(samples: Samples) -> bytes:
    target = io.BytesIO()
    with wave.open(target, "wb") as sound:
        sound.setparams((1, 2, 16_000, 0, "NONE", ""))
        sound.writeframes(samples.tobytes())
    return target.getvalue()


def said_by(is_you: bool) -> Samples:
    """A stretch of the sample meeting with the lines of one side only."""
    sample = pcm_to_samples(read_pcm(demo_audio_path()))
    sound = np.zeros(LAST_S * 16_000, np.int16)
    for line in load_demo().utterances:
        if (line.speaker == YOU) == is_you:
            span = slice(line.start_ms * 16, min(line.end_ms * 16, len(sound)))
            sound[span] = sample[span]
    return sound[FIRST_S * 16_000 :]


def words_of(is_you: bool) -> set[str]:
    lines = [line.text for line in load_demo().utterances if (line.speaker == YOU) == is_you]
    return set(re.findall(r"\w+", " ".join(lines).casefold()))


def join_call(context: BrowserContext, sound: Samples) -> Page:
    """Open another tab that plays the speech of the others."""
    call = context.new_page()
    encoded = base64.b64encode(wav(sound)).decode()
    call.set_content(f'<title>Call</title><audio loop src="data:audio/wav;base64,{encoded}"></audio>')
    call.evaluate("document.querySelector('audio').play()")
    return call


def record_call(page: Page, server: ServerProcess) -> None:
    page.goto(server.url)
    page.get_by_test_id("computer-audio").check()
    page.get_by_test_id("new-meeting").click()


@pytest.fixture
def your_voice(tmp_path: Path) -> Path:
    path = tmp_path / "you.wav"
    path.write_bytes(wav(said_by(is_you=True)))
    return path


@pytest.fixture
def silence(tmp_path: Path) -> Path:
    path = tmp_path / "silence.wav"
    path.write_bytes(wav(np.zeros(60 * 16_000, np.int16)))
    return path


def channels_of(server: ServerProcess, meeting_id: str) -> Samples:
    """Return the recording of the server, shape `(n, 2)`."""
    answer = httpx.get(f"{server.url}/api/meetings/{meeting_id}/audio.wav", timeout=60)
    assert int.from_bytes(answer.content[22:24], "little") == 2
    return np.frombuffer(answer.content[44:], "<i2").reshape(-1, 2)


def test_you_and_the_others_in_a_call_are_distinguished_by_channel(
    page_server: ServerProcess, open_browser: OpenBrowser, your_voice: Path
) -> None:
    context = open_browser(your_voice, shares="Call", permissions=["microphone"])
    call = join_call(context, said_by(is_you=False))
    page = context.new_page()
    record_call(page, page_server)
    expect(page.get_by_role("meter", name="Computer audio level")).to_be_visible(timeout=20_000)
    names = page.get_by_test_id("speaker-name")
    expect(names.filter(has_text="You").first).to_be_visible(timeout=60_000)
    expect(names.filter(has_text="Speaker").first).to_be_visible(timeout=60_000)

    call.close()
    expect(page.get_by_test_id("error-banner")).to_contain_text("no longer shared")
    recorded = page.get_by_label("Recorded")
    expect(recorded).not_to_have_text(recorded.inner_text())  # the microphone goes on
    page.get_by_test_id("stop").click()
    expect(page).to_have_url(re.compile(r"#/meetings/[0-9a-f-]{36}"), timeout=60_000)

    document = page_server.get(f"/api/meetings/{page.url.rsplit('/', 1)[1]}")
    names_of = {one["label"]: one["name"] for one in document["transcript"]["speakers"]}
    assert names_of["S1"] == "You"
    yours, theirs = words_of(is_you=True), words_of(is_you=False)
    words_by_side: dict[bool, set[str]] = {True: set(), False: set()}
    for utterance in document["transcript"]["utterances"]:
        words_by_side[utterance["speaker"] == "S1"] |= set(re.findall(r"\w+", utterance["text"].casefold()))
    assert words_by_side[True], "you said something"
    assert len(words_by_side[True] & (yours - theirs)) > len(words_by_side[True] & (theirs - yours))
    assert len(words_by_side[False] & (theirs - yours)) > len(words_by_side[False] & (yours - theirs))


def test_after_a_reload_a_call_continues_without_loss_or_swapped_channels(
    tmp_path: Path, open_browser: OpenBrowser, silence: Path
) -> None:
    server = ServerProcess(tmp_path / "data", port=free_port())
    server.start()
    try:
        context = open_browser(silence, shares="Call", permissions=["microphone"])
        join_call(context, said_by(is_you=False))
        page = context.new_page()
        page.on("dialog", lambda dialog: dialog.accept())
        record_call(page, server)
        expect(page.get_by_test_id("utterance").first).to_be_visible(timeout=60_000)
        server.kill()
        expect(page.get_by_test_id("status")).to_contain_text("Connection lost", timeout=30_000)
        kept = page.evaluate(SIX_KEPT)  # three seconds without other speech
        assert all(at % 4 == 0 and length % 4 == 0 for at, length in kept), "whole samples of both channels"
        end = max(at + length for at, length in kept)
        server.start()
        page.reload()
        page.get_by_role("button", name="Resume recording").click()
        heard = page.get_by_test_id("utterance")
        expect(heard.first).to_be_visible(timeout=60_000)
        before = heard.count()
        expect(heard.nth(before)).to_be_visible(timeout=60_000)
        page.get_by_test_id("stop").click()
        expect(page).to_have_url(re.compile(r"#/meetings/[0-9a-f-]{36}"), timeout=60_000)

        meeting_id = page.url.rsplit("/", 1)[1]
        coverage = server.get(f"/api/meetings/{meeting_id}")["meeting"]["coverage"]
        assert coverage["captured_s"] == coverage["transcribed_s"]
        assert coverage["captured_s"] > end / 64_000, "what only the page had, and what was said after it"
        sound = channels_of(server, meeting_id)
        # A microphone's own processing makes a little noise of silence.
        for part in (sound[: end // 4], sound[end // 4 :]):
            yours, theirs = np.abs(part.astype(int)).max(axis=0)
            assert theirs > 1000, "the call"
            assert yours < theirs / 20, "nothing of the call is on the channel of the microphone"
    finally:
        server.stop()


SIX_KEPT = """async () => {
  const database = await new Promise((done) => {
    const opening = indexedDB.open("meeting-assistant");
    opening.onsuccess = () => done(opening.result);
  });
  for (;;) {
    const all = await new Promise((done) => {
      const reading = database.transaction("unsafe-sound").objectStore("unsafe-sound").getAll();
      reading.onsuccess = () => done(reading.result);
    });
    if (all.length >= 6) {
      database.close();
      return all.map((piece) => [piece.at, piece.length]);
    }
  }
}"""
"""Where each piece begins and how long it is, in bytes, as soon as there are six."""


@pytest.mark.parametrize(
    ("refusal", "words"),
    [
        ("throw new DOMException('No.', 'NotAllowedError')", "was not shared"),
        ("return new MediaStream()", "without its audio"),
    ],
)
def test_without_a_shared_tab_the_page_says_so_and_offers_the_microphone_alone(
    page_server: ServerProcess, open_browser: OpenBrowser, your_voice: Path, refusal: str, words: str
) -> None:
    page = open_browser(your_voice, permissions=["microphone"]).new_page()
    page.add_init_script(f"navigator.mediaDevices.getDisplayMedia = async () => {{ {refusal}; }}")
    record_call(page, page_server)
    expect(page.get_by_test_id("error-banner")).to_contain_text(words)
    page.get_by_test_id("microphone-only").click()
    expect(page.get_by_test_id("status")).to_contain_text("Listening", timeout=20_000)
    expect(page.get_by_test_id("error-banner")).to_have_count(0)
    expect(page.get_by_role("meter")).to_have_count(1)
    page.get_by_test_id("stop").click()
    expect(page).to_have_url(re.compile(r"#/meetings/[0-9a-f-]{36}"), timeout=60_000)


@pytest.mark.parametrize(
    "lack",
    [
        "delete MediaDevices.prototype.getDisplayMedia",
        # Firefox and Safari: pictures only.
        "MediaDevices.prototype.getSupportedConstraints = () => ({ channelCount: true })",
    ],
)
def test_a_browser_that_cannot_share_audio_does_not_offer_it(
    page_server: ServerProcess, open_browser: OpenBrowser, lack: str
) -> None:
    page = open_browser().new_page()
    page.add_init_script(lack)
    page.goto(page_server.url)
    expect(page.get_by_test_id("new-meeting")).to_be_visible()
    expect(page.get_by_test_id("computer-audio")).to_have_count(0)
