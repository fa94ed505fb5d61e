"""A real Chromium whose microphone is a WAV file, and a real server."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Playwright, sync_playwright

from meeting_assistant.launcher import ServerProcess

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


@pytest.fixture(scope="session")
def headless(chromium: str) -> str:
    """Chromium without the desktop around it where that is installed: a context costs an eighth of the time."""
    return shutil.which("chromium-headless-shell") or chromium


@pytest.fixture(scope="module")
def plain_browser(playwright: Playwright, headless: str) -> Iterator[Browser]:
    """Without a microphone; for every context that needs none."""
    browser = playwright.chromium.launch(executable_path=headless, args=QUIET)
    yield browser
    browser.close()


@pytest.fixture
def open_browser(
    playwright: Playwright, plain_browser: Browser, headless: str, chromium: str
) -> Iterator[Callable[..., BrowserContext]]:
    """`open_browser(microphone=Path)`: a context whose microphone plays that file once.

    `open_browser(microphone=Path, shares="Call")`: whoever asks for the computer's sound gets that of the tab with this
    title, really captured.
    """
    opened: list[Browser | BrowserContext] = []

    def launch(
        microphone: Path | None = None, *, shares: str | None = None, **options: object
    ) -> BrowserContext:
        if microphone is None and shares is None:
            context = plain_browser.new_context(**options)  # type: ignore[arg-type]
            opened.append(context)
            return context
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
        else:
            flags += [
                "--use-fake-ui-for-media-stream",
                "--use-fake-device-for-media-stream",
                f"--use-file-for-fake-audio-capture={microphone}%noloop",
            ]
        browser = playwright.chromium.launch(
            # Only the desktop can share a tab.
            executable_path=headless if shares is None else chromium,
            args=flags,
            # What is muted is captured as silence.
            ignore_default_args=["--mute-audio"] if shares is not None else None,
        )
        opened.append(browser)
        return browser.new_context(**options)  # type: ignore[arg-type]

    yield launch
    for one in opened:
        one.close()
