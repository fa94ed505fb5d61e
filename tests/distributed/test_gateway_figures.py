"""What a gateway tells an operator: its own figures, and who hears its meetings."""

from __future__ import annotations

import asyncio

from meeting_assistant.testing.harness.fleet import Fleet, check


async def test_a_gateway_tells_its_own_figures_and_names_its_workers(fleet: Fleet) -> None:
    for numbers, meeting in await fleet.hold_many(2, 2):
        check(numbers, await meeting)
    bodies = [await asyncio.to_thread(gateway.get, "/api/figures") for gateway in fleet.gateways]
    for body in bodies:
        assert len(body["workers"]) == len(fleet.workers)
        assert all(worker["slots"] > 0 for worker in body["workers"])
        groups = {group["key"]: group["figures"] for group in body["groups"]}
        assert {figure["key"] for figure in groups["fleet"]} >= {
            "waiting",
            "pending_live",
            "takeovers",
            "reoffered",
            "fenced",
            "given_up",
        }
        assert "recognition" not in groups, "that is done by workers, whose figures are theirs"
    # Captions and words are counted where they are sent to people.
    counts = [
        {figure["key"]: figure["count"] for group in body["groups"] for figure in group["figures"]}
        for body in bodies
    ]
    assert sum(one["word_commit"] for one in counts) > 0
    assert sum(one["caption_lag"] for one in counts) > 0
