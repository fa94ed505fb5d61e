"""A finished meeting, an outbox and integrations without a server, and a clock that a test moves."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any, Self

from meeting_assistant.bootstrap.storage import build_storage
from meeting_assistant.bootstrap.workflows import connect_outbox
from meeting_assistant.domain.jobs import InferenceJob, JobKind
from meeting_assistant.domain.minutes import ActionItem, Evidence, Item, Minutes
from meeting_assistant.domain.ports import Integration
from meeting_assistant.domain.workflows import Delivery
from meeting_assistant.integrations import registry
from meeting_assistant.integrations.dispatcher import DispatchPolicy
from meeting_assistant.testing.doubles.targets import TargetServer
from meeting_assistant.testing.harness.database import sqlite_url
from meeting_assistant.testing.harness.meetings import MeetingFixture, put
from meeting_assistant.testing.harness.parts import settings_for

LINES = (
    ("S1", "We decided to ship the new search on Monday."),
    ("S2", "I will send the release notes by Friday."),
    ("S1", "<!channel> @channel please [click](https://evil.example) *now* <script>alert(1)</script>"),
    ("S1", "Let's meet again on Thursday at three."),
)
MINUTES = Minutes(
    summary=[
        Item(
            id="s1",
            text="The new search ships on Monday.",
            evidence=[Evidence(utterance=1, quote=LINES[0][1])],
        )
    ],
    decisions=[
        Item(
            id="d1",
            text="Ship the new search on Monday.",
            evidence=[Evidence(utterance=1, quote=LINES[0][1])],
        ),
        Item(id="d2", text=LINES[2][1], evidence=[Evidence(utterance=3, quote=LINES[2][1])]),
    ],
    action_items=[
        ActionItem(
            id="a1",
            text="Send the release notes.",
            evidence=[Evidence(utterance=2, quote=LINES[1][1])],
            owner="S2",
            due=date(2026, 11, 27),
            due_phrase="by Friday",
        ),
        ActionItem(id="a2", text=LINES[2][1], evidence=[Evidence(utterance=3, quote=LINES[2][1])]),
    ],
)
DELIVERY_LIMIT_S = 60.0
"""What a delivery to a server of the tests may take at the most."""
BEGAN_MS = 1_795_514_400_000
"""Tuesday, 24 November 2026, 10:00 UTC."""


def github_options(
    server: TargetServer, *, assignees: str | None = "Ben=ben-on-github"
) -> dict[str, dict[str, str]]:
    """Return the options of an integration with the repository of the double."""
    options = {"repository": "acme/plans", "token": "github-token", "api_url": server.url}
    return {"github": options if assignees is None else {**options, "assignees": assignees}}


def slack_options(server: TargetServer) -> dict[str, dict[str, str]]:
    """Return the options of an integration with the webhook of the double."""
    return {"slack": {"webhook_url": f"{server.url}/services/T/B/secret"}}


class OutboxHarness:
    """Use it as an async context manager."""

    def __init__(
        self,
        folder: Path,
        configured: Mapping[str, Mapping[str, str]] | Mapping[str, Integration],
        *,
        approved: Collection[str] | None = None,
        policy: DispatchPolicy | None = None,
    ) -> None:
        """`configured`: options by integration, or integrations; all are approved unless it is said which."""
        integrations: dict[str, Integration] = {}
        for name, given in configured.items():
            if isinstance(given, Mapping):
                integrations |= registry.build({name: given})
            else:
                integrations[name] = given
        self.integrations = integrations
        self.now_ms = BEGAN_MS
        sqlite_url(folder)
        self._storage = build_storage(settings_for(folder, audio_storage="memory"))
        outbox = connect_outbox(
            integrations,
            self._storage,
            page_address="https://notes.example",
            approved=integrations if approved is None else approved,
            policy=policy,
            now_ms=lambda: self.now_ms,
        )
        self.store = self._storage.store
        self.deliveries, self.dispatcher, self.workflows = (
            outbox.deliveries,
            outbox.dispatcher,
            outbox.workflows,
        )

    async def __aenter__(self) -> Self:
        await self.store.open()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.workflows.close()
        await self._storage.close(5)

    async def meeting(self, fixture: MeetingFixture | None = None, **more: Any) -> str:
        """Store one that is over, and plan what follows from it. Returns its id."""
        fixture = fixture or MeetingFixture(LINES, title="Weekly & <search>", minutes=MINUTES)
        meeting_id = await put(
            self.store, replace(fixture, more={"created_at_ms": BEGAN_MS, **fixture.more, **more})
        )
        await self.store.rename_speaker(meeting_id, "S2", "Ben")
        await self.workflows.handle(InferenceJob(kind=JobKind.WORKFLOWS, meeting_id=meeting_id))
        return meeting_id

    async def deliver_all(self) -> None:
        """Deliver everything that is due now, to its end."""
        while await self.dispatcher.start_due():
            await self.dispatcher.drain(DELIVERY_LIMIT_S)

    async def expire_leases(self) -> None:
        """Leave deliveries as a killed process leaves them, and begin as the next process does."""
        delays_ms = {
            name: int(integration.describe().dedup_delay_s * 1000)
            for name, integration in self.integrations.items()
        }
        await self.deliveries.end_leases(self.now_ms, delays_ms)

    async def later(self, seconds: float = 24 * 3600) -> None:
        """Move the clock, and deliver what is due then."""
        self.now_ms += int(seconds * 1000)
        await self.deliver_all()

    async def of(self, meeting_id: str) -> list[Delivery]:
        """Return the deliveries of a meeting."""
        return await self.workflows.of_meeting(meeting_id)

    async def run(self, **more: Any) -> Delivery:
        """A meeting, everything delivered that can be. Returns the first delivery."""
        meeting_id = await self.meeting(**more)
        await self.deliver_all()
        return (await self.of(meeting_id))[0]
