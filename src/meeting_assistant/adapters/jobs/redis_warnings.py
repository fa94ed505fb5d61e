"""What an operator should change about the Redis of a fleet."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs, urlsplit

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from meeting_assistant.adapters.jobs.redis_link import broker_errors
from meeting_assistant.net.addresses import is_loopback


async def broker_warnings(client: Redis, url: str) -> list[str]:
    """Return a sentence for each thing that should be changed. Raises BrokerError."""
    return [*address_warnings(url), *await _persistence_warnings(client)]


def address_warnings(url: str) -> list[str]:
    """Return what the address of a Redis on another machine lacks: TLS, a password."""
    parts = urlsplit(url)
    if parts.scheme == "unix" or is_loopback(url):
        return []
    found = []
    if parts.scheme != "rediss":
        found.append(
            "REDIS_URL reaches another machine without TLS: its password can be read on the way. Use rediss://."
        )
    if not parts.password and "password" not in parse_qs(parts.query):
        found.append(
            "REDIS_URL has no password: whoever reaches Redis can stop the fleet. Set `requirepass` in Redis."
        )
    return found


async def _persistence_warnings(client: Redis) -> list[str]:
    async with broker_errors():
        try:
            settings: Any = await client.config_get("save", "appendonly")
        except ResponseError:
            settings = {}
    if not {"save", "appendonly"} <= settings.keys():
        problem = (
            "Redis does not say whether it writes to its disk (CONFIG GET is refused). Make sure that it has neither "
            "snapshots (`save`) nor an append-only file (`appendonly`): what is deleted would stay there, sealed."
        )
        return [problem]
    is_on = [
        f"{name} {value}" for name, value in sorted(settings.items()) if value not in ("", "no", b"", b"no")
    ]
    problem = (
        f"Redis writes to its disk ({', '.join(is_on)}): what is deleted stays there, sealed. Nothing in Redis has to "
        'survive; start it with `--save "" --appendonly no`, and delete its old files.'
    )
    return [problem] if is_on else []
