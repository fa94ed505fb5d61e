"""Keys that recordings need, and moving recordings from one key to another."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from meeting_assistant.adapters.storage.journal import durable_files
from meeting_assistant.adapters.storage.journal import format as fmt
from meeting_assistant.adapters.storage.journal.files import SUFFIX
from meeting_assistant.adapters.storage.journal.keys import KeyRing
from meeting_assistant.domain.errors import MeetingAssistantError

NO_VOICES: Mapping[str, int] = {}


@dataclass(frozen=True, slots=True)
class KeyUse:
    """Use of one key: the number of recordings and of stored voices that need it."""

    fingerprint: str
    recordings: int
    is_configured: bool
    is_first: bool
    """True for the key that encrypts new recordings."""
    voices: int = 0
    """How many stored voices need it."""

    def as_dict(self) -> dict[str, Any]:
        """Return the fields for JSON."""
        return asdict(self)


def key_uses(
    directory: Path,
    ring: KeyRing | None,
    archived: Counter[str] | None = None,
    voices: Mapping[str, int] = NO_VOICES,
) -> list[KeyUse]:
    """Return the uses of the configured keys in their order, then of keys that are needed and not configured.

    `archived` counts recordings in the object store by the fingerprint of their key, `voices` the stored voices.
    """
    needed = Counter(archived or {})
    for path in sorted(directory.glob(f"*{SUFFIX}")):
        header = _header_of(path)
        if header is not None and header.wrapped_key is not None:
            needed[header.wrapped_key.fingerprint] += 1
    configured = ring.fingerprints if ring is not None else ()
    missing = sorted({*needed, *voices} - set(configured))
    return [
        KeyUse(
            name,
            needed[name],
            name in configured,
            name == (configured[0] if configured else ""),
            voices.get(name, 0),
        )
        for name in (*configured, *missing)
    ]


def rotate_all(directory: Path, ring: KeyRing) -> Iterator[tuple[str, MeetingAssistantError | None]]:
    """Wrap the data key of every recording by the first key; yield each one that was changed, or could not be.

    The audio itself is not touched. A header has two slots: the new key goes into the other one and is synced, so
    that a crash leaves a slot that opens. Recordings under the first key are skipped, so that it can be run again.
    """
    for path in sorted(directory.glob(f"*{SUFFIX}")):
        try:
            if _rotate(path, ring):
                yield path.stem, None
        except MeetingAssistantError as error:
            yield path.stem, error
        except OSError as error:
            yield path.stem, durable_files.storage_error(error)


def _rotate(path: Path, ring: KeyRing) -> bool:
    descriptor = durable_files.open_file(path, os.O_RDWR)
    try:
        header = _read_header(descriptor)
        if header is None or header.wrapped_key is None:
            return False  # not ours, or its key was destroyed
        if header.wrapped_key.fingerprint == ring.fingerprint:
            return False
        position, sector = fmt.next_key_slot(header, ring.wrap(ring.unwrap(header.wrapped_key)))
        durable_files.write_all(descriptor, position, sector)
        os.fsync(descriptor)
        after = _read_header(descriptor)
        if after is None or after.wrapped_key is None or after.wrapped_key.fingerprint != ring.fingerprint:
            raise OSError(0, "the key slot could not be read back")
        # Only now is the old key erased.
        old = (1 + header.slot) * fmt.SECTOR_BYTES
        durable_files.write_all(descriptor, old, bytes(fmt.SECTOR_BYTES))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return True


def _header_of(path: Path) -> fmt.Header | None:
    try:
        descriptor = durable_files.open_file(path, os.O_RDONLY)
    except OSError:
        return None
    try:
        return _read_header(descriptor)
    finally:
        os.close(descriptor)


def _read_header(descriptor: int) -> fmt.Header | None:
    try:
        return fmt.decode_header(os.pread(descriptor, fmt.HEADER_BYTES, 0))
    except (fmt.BadHeaderError, OSError):
        return None
