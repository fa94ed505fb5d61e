"""Holding an entry of a Redis stream for as long as one works on it.

FastStream delivers; what it leaves to its users is done here. Without a renewed lease a job that takes long is
delivered again while it runs; without a check of the owner somebody who was thought dead takes it off the list of
somebody else; without a limit a job that kills its worker kills them all. Each step is one script, so that nothing
comes between looking and doing. Only commands of Redis 7.0 and Valkey 8 are used."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis

_OWNED = """
local held = redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[2], ARGV[2], 1)
if #held == 0 or held[1][2] ~= ARGV[3] then return 0 end
"""
_RENEW = _OWNED + "redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[3], 0, ARGV[2], 'JUSTID') return 1"
_END = _OWNED + "redis.call('XACK', KEYS[1], ARGV[1], ARGV[2]) redis.call('XDEL', KEYS[1], ARGV[2]) return 1"
_RELEASE = (
    _OWNED
    + "redis.call('XCLAIM', KEYS[1], ARGV[1], 'released', 0, ARGV[2], 'IDLE', 86400000, 'JUSTID') return 1"
)
_LEAVE = (
    _OWNED
    + "redis.call('XCLAIM', KEYS[1], ARGV[1], 'released', 0, ARGV[2], 'IDLE', 0, 'RETRYCOUNT', ARGV[4], 'JUSTID') "
    "return 1"
)
_BURY = (
    _OWNED
    + """
local found = redis.call('XRANGE', KEYS[1], ARGV[2], ARGV[2])
if #found == 1 then redis.call('XADD', KEYS[2], '*', 'id', ARGV[2], 'reason', ARGV[4], unpack(found[1][2])) end
redis.call('XACK', KEYS[1], ARGV[1], ARGV[2]) redis.call('XDEL', KEYS[1], ARGV[2]) return 1
"""
)


@dataclass(frozen=True, slots=True)
class Lease:
    """One entry that one consumer holds."""

    client: Redis
    stream: str
    group: str
    consumer: str
    entry: str

    async def deliveries(self) -> int:
        """How often it was delivered, this time included; 0 when it is not ours (a consumer may be handed an entry that
        another one has taken over meanwhile)."""
        found: list[dict[str, Any]] = await self.client.xpending_range(
            self.stream, self.group, self.entry, self.entry, 1
        )
        if not found or found[0]["consumer"].decode() != self.consumer:
            return 0
        return int(found[0]["times_delivered"])

    async def renew(self) -> bool:
        """Begin the time anew without counting as a delivery; False when it is somebody else's, or gone."""
        return await self._run(_RENEW)

    async def end(self) -> bool:
        """Take it off the stream, if it is ours."""
        return await self._run(_END)

    async def release(self) -> bool:
        """To whoever claims next, at once."""
        return await self._run(_RELEASE)

    async def leave(self, deliveries: int) -> bool:
        """To whoever claims next, after the time of a lease: this one is in no hurry to have it again. `deliveries`:
        how often it was delivered to somebody who could do it."""
        return await self._run(_LEAVE, arguments=(str(deliveries),))

    async def bury(self, dead: str, reason: str) -> bool:
        """Move it to the stream of those that nobody can do."""
        return await self._run(_BURY, dead, arguments=(reason,))

    async def _run(self, script: str, *keys: str, arguments: tuple[str, ...] = ()) -> bool:
        values = (self.group, self.entry, self.consumer, *arguments)
        answer: Any = await self.client.eval(script, 1 + len(keys), self.stream, *keys, *values)
        return bool(answer)
