"""Log lines carry the id of the meeting that they are about."""

from __future__ import annotations

import asyncio
import io
import json
import logging
from collections.abc import Iterator

import pytest

from meeting_assistant.observability import about, configure_logging, log_fields

logger = logging.getLogger("meeting_assistant.test")


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """Configure logging as a server with LOG_FORMAT=json does, and restore it afterwards."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    configure_logging("info", "json")
    (handler,) = root.handlers
    assert isinstance(handler, logging.StreamHandler)
    written = io.StringIO()
    handler.setStream(written)
    yield written
    root.handlers[:] = handlers
    root.setLevel(level)


def lines(log: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in log.getvalue().splitlines()]


def test_log_lines_about_a_meeting_carry_its_id(log: io.StringIO) -> None:
    async def deep_down() -> None:
        logger.warning("The disk is slow.", extra=log_fields(seconds=2.5))

    async def serve() -> None:
        with about("m1"):
            task = asyncio.create_task(deep_down())
        await task
        logger.info("Ready.")

    asyncio.run(serve())
    of_meeting, of_server = lines(log)
    assert (of_meeting["meeting"], of_meeting["seconds"]) == ("m1", 2.5)
    assert "meeting" not in of_server
    assert "trace_id" not in of_meeting, "nothing is traced here"


def test_an_explicit_meeting_id_in_a_log_line_wins(log: io.StringIO) -> None:
    with about("m1"):
        logger.info("Meeting deleted.", extra=log_fields(meeting="m2"))
    assert [line["meeting"] for line in lines(log)] == ["m2"]
