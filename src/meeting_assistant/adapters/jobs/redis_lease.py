"""Leases on entries of a Redis stream.

FastStream delivers entries; the rest is left to its users and done here. Without a renewed lease a long job would be
delivered again while it runs; without a check of the owner, a worker that lost its lease could complete the job of its
successor; without a limit of deliveries, a job that kills its worker would kill them all. Each step is one script, so
that nothing comes between the check and the change. Only commands of Redis 7.0 and Valkey 8 are used.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis

MAX_DEAD = 1000
DEAD_SECONDS = 7 * 86_400

_OWNED = """
local held = redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[2], ARGV[2], 1)
if #held == 0 or held[1][2] ~= ARGV[3] then return 0 end
"""
_RENEW = _OWNED + "redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[3], 0, ARGV[2], 'JUSTID') return 1"
_ACK = _OWNED + "redis.call('XACK', KEYS[1], ARGV[1], ARGV[2]) redis.call('XDEL', KEYS[1], ARGV[2]) return 1"
_RELEASE = (
    _OWNED
    + "redis.call('XCLAIM', KEYS[1], ARGV[1], 'released', 0, ARGV[2], 'IDLE', 86400000, 'JUSTID') return 1"
)
_NACK = (
    _OWNED
    + "redis.call('XCLAIM', KEYS[1], ARGV[1], 'released', 0, ARGV[2], 'IDLE', 0, 'RETRYCOUNT', ARGV[4], 'JUSTID') "
    "return 1"
)
_DEAD_LETTER = (
    _OWNED
    + """
local found = redis.call('XRANGE', KEYS[1], ARGV[2], ARGV[2])
if #found == 1 then
  redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[5], '*', 'id', ARGV[2], 'reason', ARGV[4], unpack(found[1][2]))
  redis.call('EXPIRE', KEYS[2], ARGV[6])
end
redis.call('XACK', KEYS[1], ARGV[1], ARGV[2]) redis.call('XDEL', KEYS[1], ARGV[2]) return 1
"""
)


def lease_name(entry: str, consumer: str, deliveries: int) -> str:
    """Return the name of the lease that a delivery gives; each delivery of an entry gives another one."""
    return f"{entry}/{deliveries}/{consumer}"


async def is_lease(client: Redis, stream: str, group: str, entry: str, name: str) -> bool:
    """Return True when the lease of this name on an entry exists."""
    found: list[dict[str, Any]] = await client.xpending_range(stream, group, entry, entry, 1)
    names = [lease_name(entry, one["consumer"].decode(), one["times_delivered"]) for one in found]
    return name in names


@dataclass(frozen=True, slots=True)
class Lease:
    """The claim of one consumer on one entry."""

    client: Redis
    stream: str
    group: str
    consumer: str
    entry: str

    async def deliveries(self) -> int:
        """Return how often the entry was delivered, this time included; 0 when another consumer holds it (one may be
        handed an entry that another has claimed meanwhile)."""
        found: list[dict[str, Any]] = await self.client.xpending_range(
            self.stream, self.group, self.entry, self.entry, 1
        )
        if not found or found[0]["consumer"].decode() != self.consumer:
            return 0
        return int(found[0]["times_delivered"])

    async def renew(self) -> bool:
        """Restart the time of the lease, which does not count as a delivery; False when it was lost."""
        return await self._run(_RENEW)

    async def ack(self) -> bool:
        """Delete the entry; False when the lease was lost."""
        return await self._run(_ACK)

    async def release(self) -> bool:
        """Return the entry for immediate delivery; False when the lease was lost."""
        return await self._run(_RELEASE)

    async def nack(self, deliveries: int) -> bool:
        """Return the entry for delivery after the time of a lease, with this count of deliveries; False when the lease
        was lost."""
        return await self._run(_NACK, arguments=(str(deliveries),))

    async def dead_letter(self, reason: str) -> bool:
        """Move the entry to the dead letters of its stream, with the reason; False when the lease was lost. The newest
        thousand or so are kept, and none for longer than a week after the last."""
        limits = (str(MAX_DEAD), str(DEAD_SECONDS))
        return await self._run(_DEAD_LETTER, f"{self.stream}.dead", arguments=(reason, *limits))

    async def _run(self, script: str, *keys: str, arguments: tuple[str, ...] = ()) -> bool:
        values = (self.group, self.entry, self.consumer, *arguments)
        answer: Any = await self.client.eval(script, 1 + len(keys), self.stream, *keys, *values)
        return bool(answer)
