"""What a gateway shows an operator: its own metrics, and the workers that transcribe its meetings."""

from __future__ import annotations

import asyncio

from meeting_assistant.testing.harness.fleet import Fleet


async def test_a_gateway_exposes_its_metrics_and_lists_its_workers(fleet: Fleet) -> None:
    for meeting in fleet.hold_many(2, 2):
        await meeting.check()
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
        assert "recognition" not in groups, "workers do that, and have metrics of their own"
    # Captions and words are counted where they are sent to people.
    counts = [
        {figure["key"]: figure["count"] for group in body["groups"] for figure in group["figures"]}
        for body in bodies
    ]
    assert sum(one["word_commit"] for one in counts) > 0
    assert sum(one["caption_lag"] for one in counts) > 0
