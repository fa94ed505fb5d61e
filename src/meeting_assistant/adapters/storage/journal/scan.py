"""Reading a journal from its start: what is good, and what exactly is wrong with the rest."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import BinaryIO

from meeting_assistant.adapters.storage.journal.format import (
    HEAD_BYTES,
    HEADER_BYTES,
    MAX_PAYLOAD_BYTES,
    TAG_BYTES,
    BadRecordError,
    Finding,
    JournalCodec,
    Place,
    parse_head,
)

INDEX_EVERY_BYTES = 1 << 20
"""About half a minute of audio between two places from which reading can begin: 110 of them per hour."""
TORN_LIMIT_BYTES = HEAD_BYTES + MAX_PAYLOAD_BYTES + TAG_BYTES + 4096
"""Each record is synced before the next is written, so no more than one can be torn, and a page of noise after it."""
_CERTAIN = {Finding.AFTER_END}
"""A torn write cannot look like this. It can look like a missing record (a tear inside a head leaves the first bytes
of an offset) and like a foreign one (a tear inside the salt of an epoch). What was acknowledged is known from elsewhere
and is never left out as torn."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A place and its position in the file."""

    position: int
    place: Place


@dataclass(frozen=True, slots=True)
class Damage:
    """Damage found after the good part."""

    position: int
    """Position in the file."""
    offset: int
    """Position in the audio: bytes of PCM before it."""
    finding: Finding
    is_torn: bool
    """True when an interrupted write explains it; such bytes were never acknowledged."""


@dataclass(slots=True)
class Scan:
    """The good part of a journal."""

    end: Checkpoint
    index: list[Checkpoint] = field(default_factory=list)
    damage: Damage | None = None

    def remember(self, checkpoint: Checkpoint) -> None:
        """Move the end, and keep a sparse index of the ends so far."""
        if checkpoint.place.offset - self.index[-1].place.offset >= INDEX_EVERY_BYTES:
            self.index.append(checkpoint)
        self.end = checkpoint


def scan(file: BinaryIO, size: int, codec: JournalCodec) -> Scan:
    """Verify every record up to `size`, from the first one. Reads the file once, a record at a time."""
    start = Checkpoint(HEADER_BYTES, codec.start())
    found = Scan(end=start, index=[start])
    file.seek(HEADER_BYTES)
    while found.end.position < size:
        raw_head = file.read(HEAD_BYTES)
        head = parse_head(raw_head)
        body = file.read(head.body_bytes) if head is not None else b""
        try:
            _, place = codec.read(found.end.place, raw_head, body)
        except BadRecordError as error:
            found.damage = _classify(error.finding, file, size, found.end)
            return found
        found.remember(Checkpoint(found.end.position + HEAD_BYTES + len(body), place))
    return found


def _classify(finding: Finding, file: BinaryIO, size: int, end: Checkpoint) -> Damage:
    """Decide between torn and damaged: a head of a later record shows that the bad one had been synced."""
    rest = size - end.position
    is_torn = finding not in _CERTAIN and rest <= TORN_LIMIT_BYTES
    if is_torn:
        file.seek(end.position + 1)
        is_torn = not _holds_head(file.read(rest - 1), end.place.offset)
    return Damage(end.position, end.place.offset, finding, is_torn)


def _holds_head(noise: bytes, offset: int) -> bool:
    """Return whether a record of about that offset begins somewhere in the bytes; by chance in one of 10^9 files."""
    heads = (parse_head(noise[start : start + HEAD_BYTES]) for start in range(len(noise) - HEAD_BYTES + 1))
    return any(offset <= head.offset <= offset + TORN_LIMIT_BYTES for head in heads if head is not None)
