"""How long faults are injected: a few cycles in `make test`, hundreds in `make chaos`, each reported with its seed."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pytest

from meeting_assistant.testing.harness.campaign import Campaign

CHAOS = "CHAOS_CYCLES"
"""Set by `make chaos`: cycles of each kind."""


@pytest.fixture
def campaign(request: pytest.FixtureRequest) -> Iterator[Campaign]:
    """A short campaign by default: `@pytest.mark.short(4)` sets the number of cycles."""
    marker = request.node.get_closest_marker("short")
    cycles = int(os.environ.get(CHAOS) or (marker.args[0] if marker else 5))
    seed = int(os.environ.get("CHAOS_SEED", "1"))
    running = Campaign(request.node.name, cycles, seed)
    began = time.monotonic()
    yield running
    failed = getattr(request.node, "has_failed", False)
    report = os.environ.get("CHAOS_REPORT")
    if report:
        line = {**asdict(running), "failed": failed, "seconds": round(time.monotonic() - began, 1)}
        with Path(report).open("a") as file:
            file.write(json.dumps(line) + "\n")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """A failure names the seed that gives it again: `CHAOS_SEED=… CHAOS_CYCLES=1`."""
    outcome = yield
    report = outcome.get_result()  # type: ignore[attr-defined]
    if report.when == "call" and report.failed:
        item.has_failed = True  # type: ignore[attr-defined]
        campaign = getattr(item, "funcargs", {}).get("campaign")
        if campaign is not None:
            again = f"CHAOS_SEED={campaign.current_seed} CHAOS_CYCLES=1 .venv/bin/pytest '{item.nodeid}'"
            report.sections.append(("The same fault again", again))
