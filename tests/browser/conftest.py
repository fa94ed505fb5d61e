"""A real Chromium whose microphone is a WAV file, and a real server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Playwright, sync_playwright

from meeting_assistant.testing.server import ServerProcess

QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="module")
def page_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """Serves the built web app."""
    with ServerProcess(tmp_path_factory.mktemp("browser") / "data") as running:
        yield running


@pytest.fixture(scope="module")
def playwright() -> Iterator[Playwright]:
    # Not for the session: while it lives, its event loop runs, and asynchronous tests could not have their own.
    with sync_playwright() as running:
        yield running


@pytest.fixture
def open_browser(playwright: Playwright, chromium: str) -> Iterator[Callable[..., BrowserContext]]:
    """`open_browser(microphone=Path)`: a context whose microphone plays that file once.

    `open_browser(microphone=Path, shares="Call")`: whoever asks for the computer's sound gets that of the tab with this
    title, really captured.
    """
    browsers: list[Browser] = []

    def launch(
        microphone: Path | None = None, *, shares: str | None = None, **options: object
    ) -> BrowserContext:
        flags = list(QUIET)
        if shares is not None:
            assert microphone is not None
            flags += [
                # A faked dialogue would fake the shared sound as well.
                "--use-fake-device-for-media-stream",
                f"--use-file-for-fake-audio-capture={microphone}%noloop",
                f"--auto-select-tab-capture-source-by-title={shares}",
                "--autoplay-policy=no-user-gesture-required",
            ]
        elif microphone is not None:
            flags += [
                "--use-fake-ui-for-media-stream",
                "--use-fake-device-for-media-stream",
                f"--use-file-for-fake-audio-capture={microphone}%noloop",
            ]
        browser = playwright.chromium.launch(
            executable_path=chromium,
            args=flags,
            # What is muted is captured as silence.
            ignore_default_args=["--mute-audio"] if shares is not None else None,
        )
        browsers.append(browser)
        return browser.new_context(**options)  # type: ignore[arg-type]

    yield launch
    for browser in browsers:
        browser.close()
