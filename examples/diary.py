"""An integration that appends one line per meeting to a file; `docs/how-to/add-an-integration.md` explains it."""

import asyncio
from pathlib import Path

from meeting_assistant.domain.errors import DeliveryError
from meeting_assistant.domain.workflows import Action, Delivery, Description, MeetingOutcome, Receipt
from meeting_assistant.integrations.options import IntegrationOptions


class DiaryOptions(IntegrationOptions):
    """What stands behind `WORKFLOWS__DIARY__`."""

    file: Path
    """The file that is written to."""


class DiaryIntegration:
    name = "diary"
    Options = DiaryOptions

    def __init__(self, options: DiaryOptions) -> None:
        self._file = options.file

    def describe(self) -> Description:
        return Description("Diary", str(self._file), is_local=True, is_exactly_once=True)

    def plan(self, outcome: MeetingOutcome) -> list[Action]:
        if not outcome.has_something_to_tell:
            return []
        line = f"{outcome.began:%Y-%m-%d} {outcome.title}: {outcome.link}"
        return [Action(key="line", title=f"A line in {self._file.name}", payload={"line": line})]

    async def deliver(self, delivery: Delivery) -> Receipt:
        def append() -> None:
            known = self._file.read_text() if self._file.exists() else ""
            if delivery.id not in known:
                self._file.write_text(f"{known}{delivery.action.payload['line']} [{delivery.id}]\n")

        try:
            await asyncio.to_thread(append)
        except OSError as error:
            raise DeliveryError(
                "The diary cannot be written.", "Make its folder writable.", retryable=True
            ) from error
        return Receipt(reference=self._file.name)

    async def test(self) -> str:
        return f"{self._file} is where lines will go."

    async def close(self) -> None:
        pass
