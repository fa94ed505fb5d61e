"""A client that edits the minutes of one meeting over HTTP, and a model's answers about it."""

from __future__ import annotations

import asyncio
import json
from typing import Any, Self

import httpx
from websockets.asyncio.client import ClientConnection, connect

from meeting_assistant.launcher import ServerProcess
from meeting_assistant.testing.doubles.llm_server import LlmServer
from meeting_assistant.testing.harness.llm_minutes import EMPTY_ANSWER

LINES = (
    ("S1", "Let us talk about the spring release."),
    ("S2", "I finished the login page yesterday."),
    ("S1", "We decided to ship version 3 on Monday."),
    ("S2", "I will write the release notes by Friday."),
    ("S1", "The test machine is broken, so I cannot go on with the tests."),
)
MODEL_MINUTES = {
    **EMPTY_ANSWER,
    "summary": [{"lines": [3], "text": "Speaker 1 decided to ship version 3 on Monday."}],
    "decisions": [{"lines": [3], "quote": LINES[2][1], "text": "Ship version 3 on Monday."}],
    "action_items": [
        {
            "lines": [4],
            "quote": LINES[3][1],
            "text": "Speaker 2 writes the release notes.",
            "owner": "Speaker 2",
            "due": "by Friday",
        }
    ],
}
"""What the model answers about `LINES`."""
STANDUP = {
    **EMPTY_ANSWER,
    "done": [{"lines": [2], "quote": LINES[1][1], "text": "The login page is finished."}],
    "next": [],
    "blocked": [
        {"lines": [5], "quote": "The test machine is broken", "text": "The test machine is broken."},
        {"lines": [5], "quote": "nobody said this", "text": "The coffee is out."},
    ],
}
"""The same with the template `standup`; one item has no evidence."""
NO_OLD_EVENTS = 2**53
"""A sequence number after which no event is stored."""


class MinutesClient:
    """Use it as a context manager."""

    def __init__(self, server: ServerProcess, model: LlmServer, meeting_id: str) -> None:
        self.server = server
        self.model = model
        self.meeting_id = meeting_id
        self.http = httpx.Client(base_url=server.url, timeout=30)
        self.path = f"/api/meetings/{meeting_id}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.http.close()

    def minutes(self) -> dict[str, Any]:
        """Return the newest minutes."""
        found: dict[str, Any] = self.http.get(self.path).json()["minutes"]
        return found

    def change(self, item_id: str, version: int, **change: object) -> httpx.Response:
        """Change an item of that version."""
        return self.http.patch(f"{self.path}/minutes/items/{item_id}?version={version}", json=change)

    async def write_again(self, **how: object) -> dict[str, Any]:
        """Have the minutes written again, wait until viewers are notified, and return them."""
        async with self.watching() as socket:
            answer = await asyncio.to_thread(self.http.post, f"{self.path}/minutes", json=how)
            assert answer.status_code == 202, answer.text
            await wait_until_written(socket)
        return self.minutes()

    def watching(self) -> connect:
        """Connect as a viewer that wants no old events."""
        path = f"/ws/meetings/{self.meeting_id}/events?last_seq={NO_OLD_EVENTS}"
        return connect(f"{self.server.ws_url}{path}", proxy=None)


async def wait_until_written(socket: ClientConnection) -> None:
    """Wait for the first `Done` after a `Writing minutes`."""
    is_writing = False
    async with asyncio.timeout(60):
        while True:
            message = json.loads(await socket.recv())
            if message["type"] == "status":
                if is_writing and message["status"] == "Done":
                    return
                is_writing = is_writing or message["status"] == "Writing minutes"
