"""The dashboard: what an operator sees of a server, of a fleet, and of problems."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Page, Route, expect

from meeting_assistant.launcher import ServerProcess

OpenBrowser = Callable[..., BrowserContext]


def tile(page: Page, key: str) -> Any:
    return page.locator(f"[data-metric={key}]")


def answer_with(page: Page, change: Callable[[dict[str, Any], int], None]) -> None:
    """Let `change` modify the answers of the server; it also gets the number of earlier answers."""
    seen = 0

    def answer(route: Route) -> None:
        nonlocal seen
        body = route.fetch().json()
        change(body, seen)
        seen += 1
        route.fulfill(body=json.dumps(body), content_type="application/json")

    page.route("**/api/figures", answer)


def figure(body: dict[str, Any], key: str) -> dict[str, Any]:
    (found,) = [one for group in body["groups"] for one in group["figures"] if one["key"] == key]
    return dict_of(found)


def dict_of(value: Any) -> dict[str, Any]:
    assert isinstance(value, dict)
    return value


def test_the_dashboard_shows_a_meeting_to_an_operator(
    page_server: ServerProcess, open_browser: OpenBrowser
) -> None:
    page = open_browser().new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda m: errors.append(m.text) if m.type == "error" else None)
    page.goto(page_server.url)
    page.get_by_test_id("dashboard-link").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Dashboard")
    expect(tile(page, "live")).to_contain_text("0")
    expect(page.get_by_test_id("verdict")).to_have_text("Nothing needs your attention.")
    expect(tile(page, "memory")).to_contain_text("MB")

    talking = page.context.new_page()
    talking.goto(page_server.url)
    talking.get_by_test_id("try-sample").click()
    expect(talking.get_by_test_id("utterance").first).to_be_visible(timeout=30_000)
    # A hidden page requests nothing; a page that becomes visible updates at once, and then every few seconds.
    page.bring_to_front()
    expect(tile(page, "live").locator(".value")).to_have_text("1", timeout=15_000)
    expect(tile(page, "caption_lag")).to_contain_text("95 % within", timeout=15_000)
    expect(tile(page, "word_commit")).to_contain_text("95 % within", timeout=15_000)
    assert tile(page, "caption_lag").get_attribute("title").endswith("meeting_assistant_caption_lag_seconds")
    talking.get_by_test_id("stop").click()
    assert errors == []


def test_warnings_are_stated_in_words_and_not_by_colour_alone(
    page_server: ServerProcess, open_browser: OpenBrowser
) -> None:
    page = open_browser().new_page()

    def go_wrong(body: dict[str, Any], seen: int) -> None:
        figure(body, "parked")["value"] = 2
        figure(body, "gaps").update(value=1 + seen, parts={"engine failed": 1 + seen})

    answer_with(page, go_wrong)
    page.goto(f"{page_server.url}/#/dashboard")
    verdict = page.get_by_test_id("verdict")
    expect(verdict).to_contain_text(
        "Parked deliveries: meeting-assistant workflows deliveries lists the errors"
    )
    expect(tile(page, "parked")).to_contain_text("needs attention")
    # What happened before the page was opened is no news; what happens now is.
    expect(tile(page, "gaps")).not_to_contain_text("needs attention")
    expect(verdict).to_contain_text("Audio gaps", timeout=15_000)
    expect(tile(page, "gaps")).to_contain_text("engine failed: 2")


def test_the_dashboard_of_a_fleet_lists_its_workers(
    page_server: ServerProcess, open_browser: OpenBrowser
) -> None:
    page = open_browser().new_page()

    def be_a_gateway(body: dict[str, Any], seen: int) -> None:
        workers = [{"name": "gpu-1", "slots": 8, "busy": 3}, {"name": "gpu-2", "slots": 8, "busy": 8}]
        body["workers"] = workers if seen else []

    answer_with(page, be_a_gateway)
    page.goto(f"{page_server.url}/#/dashboard")
    section = page.get_by_test_id("workers")
    expect(section).to_contain_text("those of this gateway only")
    expect(section).to_contain_text("No worker is connected.")
    expect(page.get_by_test_id("worker").first).to_contain_text("3 of 8 slots", timeout=15_000)
    expect(page.get_by_test_id("worker")).to_have_count(2)


def test_only_administrators_have_the_dashboard(tmp_path: Any, open_browser: OpenBrowser) -> None:
    token = "a-token-that-is-long-enough"
    with ServerProcess(tmp_path / "data", {"API_TOKENS": f"ana:record+read:{token}"}) as server:
        page = open_browser().new_page()
        page.goto(f"{server.url}/#/dashboard")
        page.get_by_test_id("token").fill(token)
        page.get_by_test_id("sign-in").click()
        expect(page.get_by_test_id("error-banner")).to_contain_text("admin")
        expect(page.get_by_test_id("dashboard-link")).to_have_count(0)


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_dashboard_fits_its_window_and_is_accessible(
    page_server: ServerProcess, open_browser: OpenBrowser, width: int, scheme: str
) -> None:
    page = open_browser(viewport={"width": width, "height": 800}, color_scheme=scheme).new_page()
    page.goto(f"{page_server.url}/#/dashboard")
    expect(tile(page, "memory")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    # Every section has a heading, every list holds items only, no id is there twice.
    assert page.evaluate(BASICS) == []


BASICS = """() => {
  const found = [];
  for (const section of document.querySelectorAll("main section"))
    if (!document.getElementById(section.getAttribute("aria-labelledby"))) found.push("section without a heading");
  for (const list of document.querySelectorAll("main ul"))
    if ([...list.children].some((child) => child.tagName !== "LI")) found.push("list with something else in it");
  const ids = [...document.querySelectorAll("[id]")].map((one) => one.id);
  if (new Set(ids).size !== ids.length) found.push("an id twice");
  for (const one of document.querySelectorAll("a, button"))
    if (!one.textContent.trim() && !one.getAttribute("aria-label")) found.push("a control without a name");
  const levels = [...document.querySelectorAll("h1, h2, h3")].map((one) => Number(one.tagName[1]));
  if (levels.some((level, i) => level > (levels[i - 1] ?? 0) + 1)) found.push("a level of headings is left out");
  return found;
}"""
