"""MAJ1, the format of recordings on disk. Pure: bytes in, bytes out. See docs/reference/journal-format.md.

A random data key per meeting, wrapped by the operator's Fernet key, opens an authenticated stream: each record
is AES-256-GCM under the key of its epoch, and its associated data hold the running hash of everything before.
So records cannot be swapped, dropped, doubled, changed or moved to another recording without being noticed.
Every opening for writing begins a new epoch with fresh randomness: after a crash a record number is used again with
other bytes, and a nonce must never be (see McGrew and Viega 2004 on GCM nonces; epochs as in STREAM, Hoang et al. 2015).
"""

from __future__ import annotations

import hashlib
import hmac
import json
import struct
from dataclasses import dataclass
from enum import IntEnum

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

MAGIC = b"MAJ1"
DATA_KEY_BYTES = 32
SALT_BYTES = 24
TAG_BYTES = 16
CHAIN_BYTES = 32
MAX_RECORD_BYTES = 1 << 24
"""A length beyond it is damage, not a record."""

_HEADER_PREFIX = struct.Struct(">4sI")
_RECORD_HEADER = struct.Struct(">IBQ")
RECORD_HEADER_BYTES = _RECORD_HEADER.size
_INFO = b"maj1+a256gcm\0"


class RecordType(IntEnum):
    """What a record holds."""

    EPOCH = 1
    """Salt and key commitment of the records that follow; not encrypted."""
    AUDIO = 2
    """Canonical PCM."""
    FINAL = 3
    """Nothing follows: the recording is complete."""


class DamagedJournalError(ValueError):
    """The bytes are not a valid continuation; what came before is good."""


@dataclass(frozen=True, slots=True)
class Header:
    """What can be read without any key."""

    meeting_id: str
    key_fingerprint: str
    wrapped_key: str
    """A genuine Fernet token around the data key."""

    def encode(self) -> bytes:
        """Magic, length, JSON, SHA-256 of all of it."""
        fields = {"meeting": self.meeting_id, "key": self.key_fingerprint, "wrapped": self.wrapped_key}
        body = json.dumps(fields, separators=(",", ":"), sort_keys=True).encode()
        start = _HEADER_PREFIX.pack(MAGIC, len(body)) + body
        return start + hashlib.sha256(start).digest()


def decode_header(data: bytes) -> tuple[Header, int]:
    """The header at the start of a file, and its length. Raises DamagedJournalError."""
    if len(data) < _HEADER_PREFIX.size:
        raise DamagedJournalError("the header is cut off")
    magic, length = _HEADER_PREFIX.unpack_from(data)
    end = _HEADER_PREFIX.size + length + hashlib.sha256().digest_size
    if magic != MAGIC or length > 4096 or len(data) < end:
        raise DamagedJournalError("this is not a recording of this format")
    start, checksum = data[: _HEADER_PREFIX.size + length], data[_HEADER_PREFIX.size + length : end]
    if hashlib.sha256(start).digest() != checksum:
        raise DamagedJournalError("the header is damaged")
    fields = json.loads(start[_HEADER_PREFIX.size :])
    return Header(fields["meeting"], fields["key"], fields["wrapped"]), end


@dataclass(frozen=True, slots=True)
class _EpochKey:
    cipher: AESGCM
    base_nonce: bytes
    commitment: bytes


@dataclass(frozen=True, slots=True)
class Record:
    """A record that has been verified."""

    type: RecordType
    offset: int
    """Of its first byte of PCM."""
    pcm: bytes


class Stream:
    """The state that writer and reader share: chain, epoch, counter. Feed it records in order."""

    def __init__(self, data_key: bytes, header: Header, header_bytes: bytes) -> None:
        self._data_key = data_key
        self._meeting = header.meeting_id.encode()
        self._chain = hashlib.sha256(header_bytes).digest()
        self._epoch: _EpochKey | None = None
        self._counter = 0

    def copy(self) -> Stream:
        """The same state, to go on from here twice."""
        twin = object.__new__(Stream)
        twin._data_key, twin._meeting, twin._chain = self._data_key, self._meeting, self._chain
        twin._epoch, twin._counter = self._epoch, self._counter
        return twin

    # --- writing

    def write_epoch(self, offset: int, salt: bytes) -> bytes:
        """Begin an epoch; `salt` is `SALT_BYTES` of fresh randomness."""
        epoch = self._derive(salt)
        body = salt + epoch.commitment
        header = _RECORD_HEADER.pack(len(body), RecordType.EPOCH, offset)
        self._enter(epoch, header, body)
        return header + body

    def write(self, record_type: RecordType, offset: int, pcm: bytes) -> bytes:
        """An encrypted record."""
        assert self._epoch is not None, "write_epoch comes first"
        header = _RECORD_HEADER.pack(len(pcm) + TAG_BYTES, record_type, offset)
        body = self._epoch.cipher.encrypt(self._nonce(self._epoch), pcm, self._chain + header)
        self._advance(header, body)
        return header + body

    # --- reading

    def read(self, header: bytes, body: bytes) -> Record:
        """Verify the next record. Raises DamagedJournalError; the state is then unchanged."""
        _, kind, offset = _RECORD_HEADER.unpack(header)
        if kind == RecordType.EPOCH:
            self._read_epoch(header, body)
            return Record(RecordType.EPOCH, offset, b"")
        if kind not in (RecordType.AUDIO, RecordType.FINAL) or self._epoch is None:
            raise DamagedJournalError("a record of no known type")
        try:
            pcm = self._epoch.cipher.decrypt(self._nonce(self._epoch), body, self._chain + header)
        except InvalidTag as error:
            raise DamagedJournalError("a record was changed, moved or lost") from error
        self._advance(header, body)
        return Record(RecordType(kind), offset, pcm)

    def _read_epoch(self, header: bytes, body: bytes) -> None:
        if len(body) != SALT_BYTES + 32:
            raise DamagedJournalError("a damaged epoch")
        epoch = self._derive(body[:SALT_BYTES])
        if not hmac.compare_digest(epoch.commitment, body[SALT_BYTES:]):
            raise DamagedJournalError("an epoch of another recording or another key")
        self._enter(epoch, header, body)

    # --- state

    def _derive(self, salt: bytes) -> _EpochKey:
        info = _INFO + self._chain + self._meeting
        secret = HKDF(algorithm=SHA256(), length=76, salt=salt, info=info).derive(self._data_key)
        return _EpochKey(AESGCM(secret[:32]), secret[32:44], secret[44:])

    def _nonce(self, epoch: _EpochKey) -> bytes:
        counter = self._counter.to_bytes(12, "big")
        return bytes(a ^ b for a, b in zip(epoch.base_nonce, counter, strict=True))

    def _enter(self, epoch: _EpochKey, header: bytes, body: bytes) -> None:
        self._epoch, self._counter = epoch, 0
        self._chain = hashlib.sha256(self._chain + header + body).digest()

    def _advance(self, header: bytes, body: bytes) -> None:
        self._counter += 1
        self._chain = hashlib.sha256(self._chain + header + body[-TAG_BYTES:]).digest()


def record_length(header: bytes) -> int:
    """Bytes of the body that follows a record header. Raises DamagedJournalError."""
    if len(header) < RECORD_HEADER_BYTES:
        raise DamagedJournalError("a record header is cut off")
    length: int = _RECORD_HEADER.unpack(header)[0]
    if not TAG_BYTES <= length <= MAX_RECORD_BYTES:
        raise DamagedJournalError("a record of impossible length")
    return length
