"""Which recordings lie in the object store, and the keys that open them.

A row is written before its object and removed after it, so that no object is ever forgotten. A recording is where its
`stored` row says; without one it is on the disk of the machine that recorded it. A data key is destroyed by the
transaction that dooms its object, whether or not the store can be reached.
"""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

from sqlalchemy import CursorResult, delete, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from meeting_assistant.adapters.storage.journal.format import WrappedKey
from meeting_assistant.adapters.storage.journal.keys import KeyRing
from meeting_assistant.adapters.storage.sql.database import Database, uncancellable
from meeting_assistant.adapters.storage.sql.models import MeetingRow, RemoteRecordingRow
from meeting_assistant.domain.errors import AudioDecryptionError

COPYING, STORED, DOOMED, ORDER = "copying", "stored", "doomed", "order"
_Row = RemoteRecordingRow


@dataclass(frozen=True, slots=True)
class RemoteRecording:
    """One that lies in the object store."""

    meeting_id: str
    object_name: str
    size_bytes: int
    sha256: str
    key: WrappedKey


@dataclass(frozen=True, slots=True)
class RecordingLocation:
    """Of a recording."""

    stored: RemoteRecording | None
    elsewhere: str | None
    """The other machine on whose disk it is; None where it is stored, on this machine, deleted, or never was."""


@dataclass(frozen=True, slots=True)
class Leftover:
    """Something that has to be removed."""

    meeting_id: str
    object_name: str
    is_order: bool
    """Not an object: the recording on this machine's disk, which somebody deleted over another machine."""


class SqlRecordings:
    """The catalogue of the object store."""

    def __init__(self, database: Database, *, gateway: str = "") -> None:
        self.database = database
        self._gateway = gateway

    async def find(self, meeting_id: str) -> RecordingLocation:
        """Where its sound is."""
        async with self.database.reading() as session:
            row = await _stored(session, meeting_id)
            elsewhere = await self._other_disk(session, meeting_id) if row is None else None
        return RecordingLocation(None if row is None else _recording(row), elsewhere)

    async def _other_disk(self, session: AsyncSession, meeting_id: str) -> str | None:
        """The other machine on whose disk the sound must be, where no object is."""
        return await session.scalar(
            select(MeetingRow.gateway).where(
                MeetingRow.id == meeting_id,
                MeetingRow.gateway != self._gateway,
                MeetingRow.sound_deleted_at_ms.is_(None),
            )
        )

    @uncancellable
    async def begin_copy(self, meeting_id: str) -> str:
        """The name of an object that is about to be written: the one of an attempt that was cut short, or a new one."""
        async with self.database.writing() as session:
            query = select(_Row).where(
                _Row.meeting_id == meeting_id, _Row.state == COPYING, _Row.gateway == self._gateway
            )
            row = (await session.scalars(query.limit(1))).first()
            if row is None:
                row = _Row(
                    object_name=f"{meeting_id}-{secrets.token_hex(8)}.maj",
                    meeting_id=meeting_id,
                    state=COPYING,
                    gateway=self._gateway,
                    size_bytes=0,
                    sha256="",
                    key_fingerprint=None,
                    wrapped_key=None,
                )
                session.add(row)
            return row.object_name

    @uncancellable
    async def end_copy(self, recording: RemoteRecording, *, instead_of: str | None = None) -> bool:
        """The object is written and verified: from now on it is the recording. False when the recording was deleted
        meanwhile (or changed, where it stands in the place of another object); then the new object is doomed."""
        async with self.database.writing() as session:
            if instead_of is not None and not await _change(
                session, instead_of, STORED, state=DOOMED, key_fingerprint=None, wrapped_key=None
            ):
                await _change(session, recording.object_name, COPYING, state=DOOMED)
                return False
            is_stored = await _change(
                session,
                recording.object_name,
                COPYING,
                state=STORED,
                size_bytes=recording.size_bytes,
                sha256=recording.sha256,
                key_fingerprint=recording.key.fingerprint,
                wrapped_key=recording.key.token,
            )
        if instead_of is not None:
            await self.database.purge_deleted()
        return is_stored

    @uncancellable
    async def doom(self, meeting_id: str) -> bool:
        """Destroy the keys of all its objects; True when there were any. Where another machine has the sound on its
        disk, order that it goes."""
        async with self.database.writing() as session:
            has_stored = await _stored(session, meeting_id) is not None
            elsewhere = None if has_stored else await self._other_disk(session, meeting_id)
            if elsewhere is not None:
                order = _Row(
                    object_name=f"{ORDER}:{meeting_id}",
                    meeting_id=meeting_id,
                    state=ORDER,
                    gateway=elsewhere,
                    size_bytes=0,
                    sha256="",
                    key_fingerprint=None,
                    wrapped_key=None,
                )
                await session.merge(order)
            count = await mark_objects_for_deletion(session, meeting_id)
        if count:
            await self.database.purge_deleted()
        return count > 0

    async def leftovers(self, here: Sequence[str]) -> list[Leftover]:
        """What this machine may remove: doomed objects, and copies that were cut short. An object that another machine
        may still be writing is left to that one. `here`: ids of meetings with a recording on this machine's disk."""
        is_mine = _Row.gateway == self._gateway
        async with self.database.reading() as session:
            doomed = (_Row.state == DOOMED) & or_(_Row.size_bytes > 0, is_mine)
            rows = await session.scalars(select(_Row).where(doomed | ((_Row.state == ORDER) & is_mine)))
            found = [Leftover(row.meeting_id, row.object_name, row.state == ORDER) for row in rows]
            stored = select(_Row.meeting_id).where(_Row.state == STORED)
            cut_short = select(_Row).where(_Row.state == COPYING, is_mine)
            for row in await session.scalars(cut_short):
                is_there = await session.scalar(stored.where(_Row.meeting_id == row.meeting_id).limit(1))
                if is_there or row.meeting_id not in here:
                    found.append(Leftover(row.meeting_id, row.object_name, is_order=False))
        return found

    @uncancellable
    async def give_up(self, object_name: str) -> bool:
        """Doom a leftover. False when it has become a recording since it was listed."""
        async with self.database.writing() as session:
            of_it = (_Row.object_name == object_name) & _Row.state.in_((COPYING, DOOMED))
            change = update(_Row).where(of_it).values(state=DOOMED)
            return cast("CursorResult[Any]", await session.execute(change)).rowcount == 1

    @uncancellable
    async def drop(self, object_name: str) -> None:
        """The object is gone, or the order was carried out."""
        async with self.database.writing() as session:
            of_it = (_Row.object_name == object_name) & (_Row.state != STORED)
            await session.execute(delete(_Row).where(of_it))

    # --- keys

    async def needed_keys(self) -> Counter[str]:
        """How many recordings each key opens, by its fingerprint."""
        query = select(_Row.key_fingerprint, func.count()).where(_Row.state == STORED)
        async with self.database.reading() as session:
            rows = (await session.execute(query.group_by(_Row.key_fingerprint))).all()
        return Counter({str(fingerprint): int(count) for fingerprint, count in rows})

    async def rewrap(self, ring: KeyRing) -> tuple[int, list[tuple[str, AudioDecryptionError]]]:
        """Wrap all data keys by the first key; no object is touched. Returns how many were moved, and which could not
        be. Can be run again."""
        async with self.database.reading() as session:
            query = select(_Row).where(_Row.state == STORED, _Row.key_fingerprint != ring.fingerprint)
            old = [_recording(row) for row in await session.scalars(query.order_by(_Row.meeting_id))]
        failed: list[tuple[str, AudioDecryptionError]] = []
        moved = 0
        for recording in old:
            try:
                key = ring.wrap(ring.unwrap(recording.key))
            except AudioDecryptionError as error:
                failed.append((recording.meeting_id, error))
                continue
            moved += await self._set_key(recording, key)
        if moved:
            await self.database.purge_deleted()
        return moved, failed

    @uncancellable
    async def _set_key(self, recording: RemoteRecording, key: WrappedKey) -> bool:
        async with self.database.writing() as session:
            return await _change(
                session,
                recording.object_name,
                STORED,
                key_fingerprint=key.fingerprint,
                wrapped_key=key.token,
            )


async def mark_objects_for_deletion(session: AsyncSession, meeting_id: str) -> int:
    """In a transaction that deletes the meeting or its sound, too: its keys never outlive it."""
    of_it = (_Row.meeting_id == meeting_id) & _Row.state.in_((COPYING, STORED))
    change = update(_Row).where(of_it).values(state=DOOMED, key_fingerprint=None, wrapped_key=None)
    return cast("CursorResult[Any]", await session.execute(change)).rowcount


async def _stored(session: AsyncSession, meeting_id: str) -> RemoteRecordingRow | None:
    query = select(_Row).where(_Row.meeting_id == meeting_id, _Row.state == STORED)
    return (await session.scalars(query.limit(1))).first()


async def _change(session: AsyncSession, object_name: str, before: str, **values: object) -> bool:
    """True when the object was in that state."""
    change = update(_Row).where(_Row.object_name == object_name, _Row.state == before).values(**values)
    return cast("CursorResult[Any]", await session.execute(change)).rowcount == 1


def _recording(row: RemoteRecordingRow) -> RemoteRecording:
    assert row.key_fingerprint is not None
    assert row.wrapped_key is not None
    key = WrappedKey(row.key_fingerprint, row.wrapped_key)
    return RemoteRecording(row.meeting_id, row.object_name, row.size_bytes, row.sha256, key)
