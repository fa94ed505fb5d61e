"""Take the pictures of the documentation again, from the sample meeting on the present page.

    .venv/bin/python scripts/take_screenshots.py

Needs Chromium. Writes `docs/images/meeting-light.png`.
"""

from __future__ import annotations

import asyncio
import shutil
import sys
import tempfile
from pathlib import Path

import httpx
from playwright.sync_api import sync_playwright

from meeting_assistant.adapters.audio.trusted import read_pcm
from meeting_assistant.client import LiveClient, paced
from meeting_assistant.demo import demo_audio_path, load_demo
from meeting_assistant.launcher import ServerProcess

ROOT = Path(__file__).resolve().parents[1]
WIDTH, HEIGHT = 1280, 860


def record_sample_meeting(server: ServerProcess) -> str:
    """Stream the sample meeting, name its speakers as the script does, and return its id."""
    demo = load_demo()
    start = {"title": demo.title, "attendees": list(demo.attendees)}
    client = LiveClient(server.ws_url, start=start)
    final = asyncio.run(client.stream(paced(read_pcm(demo_audio_path()), is_fast=True)))
    address = f"{server.url}/api/meetings/{final['meeting']['id']}"
    utterances = final["transcript"]["utterances"]
    for label in dict.fromkeys(line["speaker"] for line in utterances):
        start_ms = next(line["start_ms"] for line in utterances if line["speaker"] == label)
        name = min(demo.utterances, key=lambda line: abs(line.start_ms - start_ms)).name
        httpx.patch(f"{address}/speakers/{label}", json={"name": name}).raise_for_status()
    return str(final["meeting"]["id"])


def main() -> None:
    chromium = shutil.which("chromium")
    if chromium is None:
        sys.exit("Chromium is not installed.")
    with tempfile.TemporaryDirectory() as folder, ServerProcess(Path(folder) / "data") as server:
        meeting_id = record_sample_meeting(server)
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
            page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT}, color_scheme="light")
            page.goto(f"{server.url}/#/meetings/{meeting_id}")
            # An action item leads to the words that it rests on; the picture shows both.
            page.get_by_test_id("minutes").get_by_text("0:40").first.click()
            page.get_by_text("I will update the documentation by Friday.").last.wait_for()
            page.mouse.move(WIDTH - 1, HEIGHT - 1)
            page.wait_for_timeout(1000)
            page.screenshot(path=ROOT / "docs/images/meeting-light.png")
            browser.close()


if __name__ == "__main__":
    main()
