"""A fleet that the tests of a file share: each leaves it as it found it."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from meeting_assistant.testing.harness.fleet import Fleet
from meeting_assistant.testing.servers.redis import RedisProcess

GATEWAYS, WORKERS = 2, 3


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """With PostgreSQL run the tests about what is stored, and leave out long ones; `make chaos` runs all of them."""
    if "CHAOS_CYCLES" not in os.environ:
        items[:] = [item for item in items if "distributed/" not in item.nodeid or _is_short(item)]


def _is_short(item: pytest.Item) -> bool:
    if item.get_closest_marker("long"):
        return False
    return "[postgresql]" not in item.nodeid or item.get_closest_marker("storage") is not None


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def shared_fleet(
    request: pytest.FixtureRequest, redis_server: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Fleet]:
    """Gateways with a database each, or with one in PostgreSQL for both."""
    folder = tmp_path_factory.mktemp("fleet")
    broker = RedisProcess(redis_server, folder / "redis")
    broker.start()
    env = {}
    if request.param == "postgresql":
        env["DATABASE_URL"] = request.getfixturevalue("postgres").create("fleet")
    fleet = Fleet(folder, broker, env)
    fleet.add_gateways(GATEWAYS)
    fleet.add_workers(WORKERS)
    yield fleet
    fleet.close()
    broker.close()


@pytest.fixture
def fleet(shared_fleet: Fleet) -> Iterator[Fleet]:
    """The fleet with all of its workers; Redis is empty afterwards."""
    shared_fleet.mend(WORKERS)
    yield shared_fleet
    shared_fleet.wait_until_empty()
