"""Times of packets in Ogg after a page that was lost.

A page states where its last packet ends (RFC 3533, granule position); FFmpeg counts on from the page before it until
then, so that the first page after a loss comes too early, and the jump is seen behind it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

TOLERANCE_S = 0.05


def with_times_of_pages(packets: Iterator[Any]) -> Iterator[Any]:
    """Yield the packets (None for a fault) with their time stamps counted back from the end of their page."""
    page: list[Any] = []
    for packet in packets:
        if page and (packet is None or packet.pos != page[0].pos):
            _count_back(page, packet)
            yield from page
            page = []
        if packet is None:
            yield None
        else:
            page.append(packet)
    yield from page


def _count_back(page: list[Any], following: Any) -> None:
    """Move the packets before the last jump up to it."""
    for index in range(len(page), 0, -1):
        before, after = page[index - 1], following if index == len(page) else page[index]
        if after is None or after.pts is None or before.pts is None or not before.duration:
            continue
        jump = after.pts - before.pts - before.duration
        if float(jump * before.time_base) > TOLERANCE_S:
            for packet in page[:index]:
                if packet.pts is not None:
                    packet.pts += jump
            return
