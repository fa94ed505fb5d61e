"""Packets of MPEG transport streams (ISO/IEC 13818-1): where some were lost, and where the streams change.

FFmpeg passes over lost packets without a word, and reads a stream that changes its codec with the first one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

ReadAt = Callable[[int, int], bytes]
"""Return up to so many bytes (second) from a position (first), fewer only at the end of the file."""

PACKET_BYTES = 188
_STRIDES = (188, 192, 204)
"""Plain packets; with a time stamp before each (Blu-ray, AVCHD); with error correction after each (DVB)."""
_SYNC = 0x47
_BLOCK_PACKETS = 8192
_SYNCED_PACKETS = 5
_PAT_PID = 0
_MAP_TABLE_ID = 2

Rows = tuple[int, int, NDArray[np.uint8]]
"""Position of the first packet, distance between two, and packets in an array `(n, 188)`."""


@dataclass(frozen=True, slots=True)
class Loss:
    """Packets of one stream are missing before the packet at this position."""

    position: int
    is_within_unit: bool
    """False when a new unit (PES packet) begins there: in joined files the count begins anew, and nothing is lost."""


def is_transport_stream(read_at: ReadAt) -> bool:
    """Return whether a file begins with packets of a transport stream."""
    return _find_sync(read_at(0, 204 * (_SYNCED_PACKETS + 1))) is not None


def find_losses(read_at: ReadAt, size: int, pid: int) -> Iterator[Loss]:
    """Yield where the continuity counter of a stream shows that packets are missing."""
    last: int | None = None
    for position, stride, rows in _packets(read_at, size):
        has_payload = rows[:, 3] & 0x10 != 0
        for index in np.flatnonzero((_pids(rows) == pid) & has_payload):
            row = rows[index]
            count, is_start = int(row[3] & 15), bool(row[1] & 0x40)
            is_announced = bool(row[3] & 0x20) and row[4] > 0 and bool(row[5] & 0x80)
            is_next = last is None or is_announced or (count - last) % 16 in (0, 1)  # 0: sent twice
            if not is_next or row[1] & 0x80:
                yield Loss(position + int(index) * stride, not is_start)
            last = count


def find_changes(read_at: ReadAt, size: int) -> Iterator[int]:
    """Yield where a program map begins to name other streams than before, with other codecs."""
    programs: dict[int, tuple[bytes, ...]] = {}
    for position, stride, rows in _packets(read_at, size):
        pids = _pids(rows)
        is_start = rows[:, 1] & 0xC0 == 0x40
        map_pids = {*programs} | {
            pid for index in np.flatnonzero(is_start & (pids == _PAT_PID)) for pid in _map_pids(rows[index])
        }
        for index in np.flatnonzero(is_start & np.isin(pids, [*map_pids])):
            streams, pid = _streams(rows[index]), int(pids[index])
            if streams and programs.setdefault(pid, streams) != streams:
                programs[pid] = streams
                is_after_pat = index > 0 and pids[index - 1] == _PAT_PID
                yield position + int(index - is_after_pat) * stride


def _packets(read_at: ReadAt, size: int) -> Iterator[Rows]:
    """Yield all packets; what lies between two that are damaged is passed over."""
    position, stride = 0, 0
    while position + PACKET_BYTES <= size:
        block = read_at(position, _BLOCK_PACKETS * _STRIDES[-1])
        found = (0, stride) if stride and block[0] == _SYNC else _find_sync(block)
        if found is None:
            position += max(1, len(block) - _STRIDES[-1] * _SYNCED_PACKETS)
            continue
        start, stride = found
        count = max(1, (len(block) - start - PACKET_BYTES) // stride + 1)
        padded = block[start : start + count * stride].ljust(count * stride, b"\0")
        rows = np.frombuffer(padded, np.uint8).reshape(count, stride)[:, :PACKET_BYTES]
        bad = np.flatnonzero(rows[:, 0] != _SYNC)
        good = int(bad[0]) if len(bad) else count
        yield position + start, stride, rows[:good]
        position += start + good * stride


def _find_sync(block: bytes) -> tuple[int, int] | None:
    """Return where packets begin, and the distance between two; None when there are none."""
    at = block.find(_SYNC)
    while at >= 0:
        for stride in _STRIDES:
            if block[at : at + stride * _SYNCED_PACKETS : stride].count(_SYNC) == _SYNCED_PACKETS:
                return at, stride
        at = block.find(_SYNC, at + 1)
    return None


def _pids(rows: NDArray[np.uint8]) -> NDArray[np.int64]:
    pids: NDArray[np.int64] = (rows[:, 1].astype(np.int64) & 0x1F) << 8 | rows[:, 2]
    return pids


def _section(row: NDArray[np.uint8]) -> bytes:
    """Return the table in a packet, or nothing when it is damaged or fills more than one packet."""
    packet = row.tobytes()
    start = 4 + (1 + packet[4] if packet[3] & 0x20 else 0)
    if start >= PACKET_BYTES:
        return b""
    table = packet[start + 1 + packet[start] :]
    length = 3 + (int.from_bytes(table[1:3], "big") & 0xFFF)
    return table[:length] if 12 <= length <= len(table) and _crc32(table[:length]) == 0 else b""


def _map_pids(row: NDArray[np.uint8]) -> list[int]:
    """Return where the program maps are that an association table names."""
    entries = _section(row)[8:-4]
    return [
        int.from_bytes(entries[at + 2 : at + 4], "big") & 0x1FFF
        for at in range(0, len(entries) - 3, 4)
        if entries[at : at + 2] != b"\0\0"
    ]


def _streams(row: NDArray[np.uint8]) -> tuple[bytes, ...]:
    """Return type, PID and descriptors of each stream in a program map."""
    section = _section(row)
    if not section or section[0] != _MAP_TABLE_ID:
        return ()
    at = 12 + (int.from_bytes(section[10:12], "big") & 0xFFF)
    streams: list[bytes] = []
    while at + 5 <= len(section) - 4:
        length = 5 + (int.from_bytes(section[at + 3 : at + 5], "big") & 0xFFF)
        streams.append(section[at : at + length])
        at += length
    return tuple(streams)


def _crc32(section: bytes) -> int:
    """Return the checksum of a table (annex A); 0 when the table ends with its own."""
    crc = 0xFFFFFFFF
    for byte in section:
        crc ^= byte << 24
        for _ in range(8):
            crc = (crc << 1 ^ 0x04C11DB7 if crc & 0x80000000 else crc << 1) & 0xFFFFFFFF
    return crc
