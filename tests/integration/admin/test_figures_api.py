"""`/api/figures`: the metrics for the dashboard."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from meeting_assistant.client import LiveClient, paced
from meeting_assistant.launcher import ServerProcess


def figures(body: dict[str, Any]) -> dict[str, Any]:
    return {figure["key"]: figure for group in body["groups"] for figure in group["figures"]}


def test_a_meeting_changes_the_metrics_and_is_not_named_in_them(server: ServerProcess, hello: bytes) -> None:
    before = figures(server.get("/api/figures"))
    start = {"title": "Canary title", "attendees": ["Canary Person"]}
    final = asyncio.run(LiveClient(server.ws_url, start=start).stream(paced(hello)))
    text = server.get_text("/api/figures")
    after = figures(json.loads(text))
    for key in ("caption_lag", "word_commit", "asr_final", "batch_size", "stall", "llm_embedded"):
        assert after[key]["count"] > (before[key]["count"] if key in before else 0), key
    assert after["jobs"]["value"] > before["jobs"]["value"]
    assert after["word_commit"]["p50"] <= after["word_commit"]["p95"]
    assert after["memory"]["value"] > 10_000_000
    assert final["meeting"]["id"] not in text
    assert "anary" not in text
    assert len(text) < 30_000, "the report is bounded"


def test_the_dashboard_agrees_with_the_metrics(server: ServerProcess) -> None:
    shown = figures(server.get("/api/figures"))
    metrics = server.get_text("/metrics")
    for key in ("live", "degradation", "suppressed", "queue", "parked", "coalesced"):
        name = shown[key]["metric"]
        values = [
            float(line.split()[-1])
            for line in metrics.splitlines()
            if line.startswith((f"{name}{{", f"{name} "))
        ]
        assert key in {"parked", "suppressed"} or shown[key]["value"] == sum(values), key
        assert f"# TYPE {name}" in metrics


def test_a_server_without_a_fleet_shows_capacity_and_no_workers(server: ServerProcess) -> None:
    body = server.get("/api/figures")
    assert body["workers"] is None
    assert body["room"]["more"] == body["room"]["total"] - body["room"]["live"]
    assert "fleet" not in {group["key"] for group in body["groups"]}
    assert body["started_at_ms"] <= body["at_ms"]


@pytest.mark.parametrize(("scopes", "status"), [("record+read", 403), ("admin", 200)])
def test_the_dashboard_is_for_administrators(tmp_path: Path, scopes: str, status: int) -> None:
    token = "a-token-that-is-long-enough"
    with ServerProcess(tmp_path / "data", {"API_TOKENS": f"ana:{scopes}:{token}"}) as server:
        headers = {"Authorization": f"Bearer {token}"}
        assert httpx.get(f"{server.url}/api/figures", headers=headers).status_code == status
