"""What `doctor` says about the Redis of a fleet."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import cast

from meeting_assistant.bootstrap import Services
from meeting_assistant.cli.doctor import check_redis
from meeting_assistant.domain.errors import BrokerError
from meeting_assistant.testing.doubles.memory_broker import MemoryBroker, MemoryGatewayLink


def services(link: MemoryGatewayLink | None) -> Services:
    remote = None if link is None else SimpleNamespace(link=link)
    return cast(Services, SimpleNamespace(speech=SimpleNamespace(remote=remote)))


async def test_a_redis_that_should_be_configured_differently_is_noted_and_fails_nothing() -> None:
    broker = MemoryBroker(warnings=["Redis writes to its disk.", "REDIS_URL has no password."])
    reached, *notes = await check_redis(services(broker.gateway("north")))
    assert reached.ok
    assert [note.detail for note in notes] == broker.warnings
    assert all(note.optional and not note.ok and note.remedy for note in notes)


async def test_a_redis_that_does_not_answer_fails() -> None:
    class Away(MemoryGatewayLink):
        async def warnings(self) -> Sequence[str]:
            raise BrokerError("Redis does not answer.", "Start it.")

    (check,) = await check_redis(services(Away(MemoryBroker(), "north")))
    assert not check.ok
    assert not check.optional
    assert (check.detail, check.remedy) == ("Redis does not answer.", "Start it.")


async def test_without_a_fleet_there_is_no_redis_to_check() -> None:
    assert await check_redis(services(None)) == []
