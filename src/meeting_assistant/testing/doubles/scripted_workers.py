"""Workers that send what a test says, as soon as a gateway offers a job."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from meeting_assistant.domain.jobs import InferenceJob, JobKind
from meeting_assistant.services.fleet.messages import (
    DeadLettered,
    Hello,
    NumberedBody,
    TransientBody,
    WorkerMessage,
    encode,
)
from meeting_assistant.testing.doubles.memory_broker import MemoryBroker, MemoryGatewayLink


class ScriptedLink(MemoryGatewayLink):
    """A gateway's link on which workers that hold a lease send what the test says, as soon as a job is offered."""

    def __init__(self, *messages: WorkerMessage) -> None:
        self._messages = messages
        self.is_submitted = asyncio.Event()
        self.offered: list[InferenceJob] = []
        self.leases = {"lease"}
        """Those that exist."""
        self.has_missed_a_lease = asyncio.Event()
        super().__init__(MemoryBroker(), "north")

    async def submit(self, job: InferenceJob) -> None:
        await super().submit(job)
        self.offered.append(job)
        self.is_submitted.set()

    async def is_held(self, job: InferenceJob, lease: str) -> bool:
        if lease not in self.leases:
            self.has_missed_a_lease.set()
        return lease in self.leases

    async def messages(self) -> AsyncIterator[str]:
        await self.is_submitted.wait()
        for message in self._messages:
            yield encode(self.about_the_newest_offer(message))

    def about_the_newest_offer(self, message: WorkerMessage) -> WorkerMessage:
        if not isinstance(message.body, Hello | DeadLettered) or message.body.offer:
            return message
        body = message.body.model_copy(update={"offer": self.offered[-1].offer})
        return message.model_copy(update={"body": body})


def message(
    attempt: str, number: int, body: TransientBody | NumberedBody, *, sequence: int | None = None
) -> WorkerMessage:
    """`sequence`: unless the test says otherwise, that of an attempt that sends results only, after its hello."""
    return WorkerMessage(
        meeting_id="m",
        attempt=attempt,
        sequence=number + 1 if sequence is None else sequence,
        number=number,
        body=body,
    )


def hello(attempt: str, **fields: object) -> WorkerMessage:
    """About the newest offer, unless the test says otherwise."""
    known = {"worker": "w", "job": JobKind.LIVE_SESSION, "offer": "", "lease": "lease", "engines": {}}
    return message(attempt, 0, Hello.model_validate({**known, **fields}))
