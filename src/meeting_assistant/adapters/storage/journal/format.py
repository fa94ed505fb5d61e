"""MAJ1, the format of a stored recording. Pure: bytes in, bytes out; `docs/reference/journal-format.md` is its page.

A random data key per meeting, wrapped by an operator's Fernet key, opens a chain of records. Each record is
AES-256-GCM under the key of its epoch; its associated data hold the chain, a running hash of all records before,
so that order, deletion, splicing and single bits are held by the tag. Every opening for writing begins an epoch
with fresh randomness: after a crash a counter may be used again with other bytes, and under the same key that
would give both away (the framing follows age's STREAM and C2SP chunked-encryption).
"""

from __future__ import annotations

import hashlib
import hmac
import struct
import uuid
from dataclasses import dataclass, field
from enum import Enum, IntEnum

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from meeting_assistant.domain.audio import SAMPLE_RATE_HZ

MAGIC = b"MAJ1"
VERSION = 1
CIPHER_AES_256_GCM = 1
DATA_KEY_BYTES = 32
SALT_BYTES = 24
TAG_BYTES = 16
SECTOR_BYTES = 512
HEADER_BYTES = 3 * SECTOR_BYTES
"""Identity, key slot A, key slot B: a torn write of one sector leaves the other two."""
MAX_PAYLOAD_BYTES = 1 << 17
"""About 4 s of audio: the most that one write and one sync carry."""
MAX_OFFSET = 1 << 48
"""Far beyond any meeting; a larger start offset is noise, not a record."""

_IDENTITY = struct.Struct(">4sBBBxI16s")
_SLOT = struct.Struct(">I8s140s")
_HEAD = struct.Struct(">IBQ")
_LENGTH = struct.Struct(">Q")
HEAD_BYTES = _HEAD.size
EPOCH_BODY_BYTES = SALT_BYTES + 32
_INFO = b"MAJ1 AES-256-GCM\0"


class Finding(Enum):
    """Faults found where the next record should have been good, as words that follow "at byte n"."""

    CUT_OFF = "the recording breaks off inside a record"
    UNREADABLE = "there is no record header where one must be"
    ALTERED = "a record was altered"
    MISSING = "records are missing"
    OUT_OF_ORDER = "a record is repeated or out of order"
    FOREIGN = "records of another recording begin"
    AFTER_END = "bytes follow the final record"
    SHORT = "the recording ends before sound that was acknowledged"


class BadHeaderError(ValueError):
    """The first bytes of the file are not a header that this version reads; the message says why."""


class BadRecordError(ValueError):
    """The next record is not good; everything before it is."""

    def __init__(self, finding: Finding) -> None:
        super().__init__(finding.value)
        self.finding = finding


# --- header -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class WrappedKey:
    """A data key that only its operator's key opens."""

    fingerprint: str
    """Of the Fernet key: 16 hex digits."""
    token: bytes
    """A genuine Fernet token of 140 bytes."""


@dataclass(frozen=True, slots=True)
class Header:
    """Part of a recording that can be read without any key."""

    meeting_id: str
    identity: bytes
    """The packed first fields; never change in the life of a recording, so the chain begins with them."""
    wrapped_key: WrappedKey | None
    """The newest of the two slots; None when both are empty, that is when the key was destroyed."""
    generation: int
    slot: int
    """Which slot holds it, 0 or 1."""


def encode_header(meeting_id: str, wrapped_key: WrappedKey) -> bytes:
    """Return the first `HEADER_BYTES` of a new recording."""
    identity = _IDENTITY.pack(
        MAGIC, VERSION, CIPHER_AES_256_GCM, 1, SAMPLE_RATE_HZ, uuid.UUID(meeting_id).bytes
    )
    slots = _encode_slot(identity, 1, wrapped_key) + bytes(SECTOR_BYTES)
    return (identity + _checksum(identity)).ljust(SECTOR_BYTES, b"\0") + slots


def decode_header(raw: bytes) -> Header:
    """Read a header. Raises BadHeaderError."""
    if len(raw) < HEADER_BYTES or not raw.startswith(MAGIC):
        raise BadHeaderError("this is not a recording of Meeting Assistant")
    identity = raw[: _IDENTITY.size]
    if raw[len(identity) : len(identity) + 32] != _checksum(identity):
        raise BadHeaderError("its header is damaged")
    _, version, cipher, channels, rate_hz, meeting = _IDENTITY.unpack(identity)
    if (version, cipher, channels, rate_hz) != (VERSION, CIPHER_AES_256_GCM, 1, SAMPLE_RATE_HZ):
        raise BadHeaderError("it was written by a newer version of Meeting Assistant")
    slots = [raw[start : start + SECTOR_BYTES] for start in (SECTOR_BYTES, 2 * SECTOR_BYTES)]
    valid = [
        (generation, index, key)
        for index, slot in enumerate(slots)
        for generation, key in _decode_slot(identity, slot)
    ]
    if not valid and any(slot.strip(b"\0") for slot in slots):
        raise BadHeaderError("both of its key slots are damaged")
    generation, index, key = max(valid, default=(0, 0, None), key=lambda entry: entry[0])
    return Header(str(uuid.UUID(bytes=meeting)), identity, key, generation, index)


def next_key_slot(header: Header, wrapped_key: WrappedKey) -> tuple[int, bytes]:
    """Return position and contents of the sector that changes the key. The present key stays until it is synced."""
    slot = 1 - header.slot
    return (1 + slot) * SECTOR_BYTES, _encode_slot(header.identity, header.generation + 1, wrapped_key)


def _encode_slot(identity: bytes, generation: int, key: WrappedKey) -> bytes:
    packed = _SLOT.pack(generation, bytes.fromhex(key.fingerprint), key.token)
    return (packed + _checksum(identity + packed)).ljust(SECTOR_BYTES, b"\0")


def _decode_slot(identity: bytes, raw: bytes) -> list[tuple[int, WrappedKey]]:
    """Return the generation and key of a slot, or nothing when it is empty or damaged."""
    packed = raw[: _SLOT.size]
    if raw[_SLOT.size : _SLOT.size + 32] != _checksum(identity + packed):
        return []
    generation, fingerprint, token = _SLOT.unpack(packed)
    return [(generation, WrappedKey(fingerprint.hex(), token))]


def _checksum(content: bytes) -> bytes:
    return hashlib.sha256(content).digest()


# --- records ----------------------------------------------------------------------------------------------


class RecordType(IntEnum):
    """Kinds of records by their content. All but EPOCH are encrypted."""

    EPOCH = 1
    """Salt and key commitment of the records that follow."""
    AUDIO = 2
    """Canonical PCM."""
    GAP = 3
    """u64: so many bytes of PCM were never received or were taken off the record; they read as silence."""
    MARK = 4
    """A note that takes no time; readers that do not know it skip it."""
    FINAL = 5
    """u64: the length of the recording in bytes of PCM. Nothing follows."""


@dataclass(frozen=True, slots=True)
class Head:
    """The 13 bytes before each body: `len u32 | type u8 | start_offset u64`, big-endian."""

    type: RecordType
    body_bytes: int
    offset: int
    """Bytes of PCM before this record."""


def parse_head(raw: bytes) -> Head | None:
    """Read a head; None when these bytes cannot be one (noise passes once in 1e11)."""
    if len(raw) < HEAD_BYTES:
        return None
    body_bytes, kind, offset = _HEAD.unpack_from(raw)
    if not RecordType.EPOCH <= kind <= RecordType.FINAL or offset > MAX_OFFSET or offset % 2:
        return None
    if not TAG_BYTES <= body_bytes <= MAX_PAYLOAD_BYTES + TAG_BYTES:
        return None
    return Head(RecordType(kind), body_bytes, offset)


@dataclass(frozen=True, slots=True)
class Epoch:
    """Keys from one opening for writing to the next."""

    cipher: AESGCM = field(compare=False)
    base_nonce: int


@dataclass(frozen=True, slots=True)
class Place:
    """A point between two records, with everything that the next one depends on. Cheap to keep."""

    chain: bytes
    offset: int = 0
    """Bytes of PCM before it."""
    epoch: Epoch | None = None
    counter: int = 0
    """Records of this epoch before it."""
    is_sealed: bool = False


@dataclass(frozen=True, slots=True)
class Content:
    """A verified record."""

    type: RecordType
    payload: bytes
    sound_bytes: int
    """Bytes of PCM that it stands for."""

    def pcm(self, start: int, end: int) -> bytes:
        """Return the audio between two positions counted from its own start; silence for a gap."""
        if self.type is RecordType.GAP:
            return bytes(max(0, min(end, self.sound_bytes) - start))
        return self.payload[start:end]


class JournalCodec:
    """Writes and verifies the records of one recording. Holds no position: that is a `Place`."""

    def __init__(self, header: Header, data_key: bytes) -> None:
        self._identity = header.identity
        self._data_key = data_key

    def start(self) -> Place:
        """Return the place before the first record."""
        return Place(chain=_checksum(self._identity))

    def begin_epoch(self, place: Place, salt: bytes) -> tuple[bytes, Place]:
        """Return the record that begins an epoch; `salt` is `SALT_BYTES` of fresh randomness, never used before."""
        head = _HEAD.pack(EPOCH_BODY_BYTES, RecordType.EPOCH, place.offset)
        epoch, commitment = self._derive(place, head, salt)
        body = salt + commitment
        return head + body, Place(_link(place, head, body), place.offset, epoch)

    def write(self, place: Place, kind: RecordType, payload: bytes) -> tuple[bytes, Place]:
        """Return an encrypted record. A place must never be written from twice with different bytes."""
        assert place.epoch is not None, "an epoch comes first"
        assert not place.is_sealed, "nothing follows the final record"
        assert len(payload) <= MAX_PAYLOAD_BYTES
        head = _HEAD.pack(len(payload) + TAG_BYTES, kind, place.offset)
        body = place.epoch.cipher.encrypt(_nonce(place), payload, place.chain + head)
        return head + body, self._after(
            place, head, body, Content(kind, payload, _sound_bytes(kind, payload))
        )

    def seal(self, place: Place) -> tuple[bytes, Place]:
        """Return the final record."""
        return self.write(place, RecordType.FINAL, _LENGTH.pack(place.offset))

    def read(self, place: Place, raw_head: bytes, body: bytes) -> tuple[Content, Place]:
        """Verify the record at this place. Raises BadRecordError."""
        head = parse_head(raw_head)
        if place.is_sealed:
            raise BadRecordError(Finding.AFTER_END)
        if head is None:
            raise BadRecordError(Finding.CUT_OFF if len(raw_head) < HEAD_BYTES else Finding.UNREADABLE)
        if head.offset != place.offset:
            raise BadRecordError(Finding.MISSING if head.offset > place.offset else Finding.OUT_OF_ORDER)
        if len(body) < head.body_bytes:
            raise BadRecordError(Finding.CUT_OFF)
        if head.type is RecordType.EPOCH:
            return Content(head.type, b"", 0), self._enter_epoch(place, raw_head, body)
        if place.epoch is None:
            raise BadRecordError(Finding.MISSING)
        try:
            payload = place.epoch.cipher.decrypt(_nonce(place), body, place.chain + raw_head)
            content = Content(head.type, payload, _sound_bytes(head.type, payload))
        except (InvalidTag, struct.error) as error:
            raise BadRecordError(Finding.ALTERED) from error
        return content, self._after(place, raw_head, body, content)

    def _enter_epoch(self, place: Place, head: bytes, body: bytes) -> Place:
        if len(body) != EPOCH_BODY_BYTES:
            raise BadRecordError(Finding.ALTERED)
        epoch, commitment = self._derive(place, head, body[:SALT_BYTES])
        if not hmac.compare_digest(commitment, body[SALT_BYTES:]):
            raise BadRecordError(Finding.FOREIGN)
        return Place(_link(place, head, body), place.offset, epoch)

    def _derive(self, place: Place, head: bytes, salt: bytes) -> tuple[Epoch, bytes]:
        """Derive key, base nonce and commitment from the data key, the salt, all records before and the meeting.

        The commitment is needed because a GCM tag can be made to fit under two keys (invisible salamanders).
        """
        info = _INFO + place.chain + self._identity + head
        secret = HKDF(algorithm=SHA256(), length=76, salt=salt, info=info).derive(self._data_key)
        return Epoch(AESGCM(secret[:32]), int.from_bytes(secret[32:44], "big")), secret[44:]

    @staticmethod
    def _after(place: Place, head: bytes, body: bytes, content: Content) -> Place:
        return Place(
            # The tag stands for the ciphertext that it authenticates; hashing that again would double the cost.
            chain=_link(place, head, body[-TAG_BYTES:]),
            offset=place.offset + content.sound_bytes,
            epoch=place.epoch,
            counter=place.counter + 1,
            is_sealed=content.type is RecordType.FINAL,
        )


def _link(place: Place, head: bytes, seal: bytes) -> bytes:
    return _checksum(place.chain + head + seal)


def _nonce(place: Place) -> bytes:
    assert place.epoch is not None
    return (place.epoch.base_nonce ^ place.counter).to_bytes(12, "big")


def _sound_bytes(kind: RecordType, payload: bytes) -> int:
    """Return how much audio a record stands for. Raises struct.error when a gap is not eight bytes."""
    if kind is RecordType.AUDIO:
        return len(payload)
    if kind is RecordType.GAP:
        length: int = _LENGTH.unpack(payload)[0]
        return length
    return 0
