"""The catalogue of the object store: which recordings are there, and the keys that open them.

A row is written before its object and removed after it, so that every object has a row. A recording is where its
`stored` row says; without one it is on the disk of the machine that recorded it. The transaction that marks an object
for deletion destroys its data key, whether or not the store can be reached.
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

COPYING, STORED, TO_DELETE, DELETE_REQUESTED = "copying", "stored", "doomed", "order"
"""States as the database has them: an object that is written, a recording, an object to delete, and a recording that
another machine has to delete from its disk."""
_Row = RemoteRecordingRow


@dataclass(frozen=True, slots=True)
class RemoteRecording:
    """A recording in the object store."""

    meeting_id: str
    object_name: str
    size_bytes: int
    sha256: str
    key: WrappedKey


@dataclass(frozen=True, slots=True)
class RecordingLocation:
    """Location of a recording."""

    stored: RemoteRecording | None
    other_machine: str | None
    """The machine on whose disk it is, if that is another one; None where it is stored, here, deleted, or never was."""


@dataclass(frozen=True, slots=True)
class Orphan:
    """An object, or a recording on this disk, that has to be removed."""

    meeting_id: str
    object_name: str
    is_delete_request: bool
    """True for a recording on this machine's disk that was deleted through another machine."""


class SqlRecordings:
    """The catalogue of the object store."""

    def __init__(self, database: Database, *, gateway: str = "") -> None:
        self.database = database
        self._gateway = gateway

    async def find(self, meeting_id: str) -> RecordingLocation:
        """Return where the audio of a meeting is."""
        async with self.database.reading() as session:
            row = await _stored(session, meeting_id)
            other = await self._other_machine(session, meeting_id) if row is None else None
        return RecordingLocation(None if row is None else _recording(row), other)

    async def _other_machine(self, session: AsyncSession, meeting_id: str) -> str | None:
        """Return the machine on whose disk the audio must be when there is no object, if it is another one."""
        return await session.scalar(
            select(MeetingRow.gateway).where(
                MeetingRow.id == meeting_id,
                MeetingRow.gateway != self._gateway,
                MeetingRow.sound_deleted_at_ms.is_(None),
            )
        )

    @uncancellable
    async def begin_copy(self, meeting_id: str) -> str:
        """Return the name of the object to write: that of an interrupted attempt, or a new one."""
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
        """Make a verified object the recording.

        Returns False when the recording was deleted meanwhile, or changed in the case of `instead_of`; the new object
        is then marked for deletion.
        """
        async with self.database.writing() as session:
            if instead_of is not None and not await _change(
                session, instead_of, STORED, state=TO_DELETE, key_fingerprint=None, wrapped_key=None
            ):
                await _change(session, recording.object_name, COPYING, state=TO_DELETE)
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
    async def mark_for_deletion(self, meeting_id: str) -> bool:
        """Destroy the keys of all objects of a meeting and return whether there were any.

        Where another machine has the audio on its disk, request that it is deleted there.
        """
        async with self.database.writing() as session:
            has_stored = await _stored(session, meeting_id) is not None
            other = None if has_stored else await self._other_machine(session, meeting_id)
            if other is not None:
                request = _Row(
                    object_name=f"{DELETE_REQUESTED}:{meeting_id}",
                    meeting_id=meeting_id,
                    state=DELETE_REQUESTED,
                    gateway=other,
                    size_bytes=0,
                    sha256="",
                    key_fingerprint=None,
                    wrapped_key=None,
                )
                await session.merge(request)
            count = await mark_objects_for_deletion(session, meeting_id)
        if count:
            await self.database.purge_deleted()
        return count > 0

    async def orphans(self, here: Sequence[str]) -> list[Orphan]:
        """Return what this machine may remove: objects marked for deletion, and interrupted copies.

        An object that another machine may still be writing is left to that machine. `here` holds the ids of meetings
        with a recording on this machine's disk.
        """
        is_mine = _Row.gateway == self._gateway
        async with self.database.reading() as session:
            marked = (_Row.state == TO_DELETE) & or_(_Row.size_bytes > 0, is_mine)
            rows = await session.scalars(
                select(_Row).where(marked | ((_Row.state == DELETE_REQUESTED) & is_mine))
            )
            found = [Orphan(row.meeting_id, row.object_name, row.state == DELETE_REQUESTED) for row in rows]
            stored = select(_Row.meeting_id).where(_Row.state == STORED)
            interrupted = select(_Row).where(_Row.state == COPYING, is_mine)
            for row in await session.scalars(interrupted):
                is_there = await session.scalar(stored.where(_Row.meeting_id == row.meeting_id).limit(1))
                if is_there or row.meeting_id not in here:
                    found.append(Orphan(row.meeting_id, row.object_name, is_delete_request=False))
        return found

    @uncancellable
    async def claim_orphan(self, object_name: str) -> bool:
        """Mark an orphan for deletion. Returns False when it has become a recording since it was listed."""
        async with self.database.writing() as session:
            of_it = (_Row.object_name == object_name) & _Row.state.in_((COPYING, TO_DELETE))
            change = update(_Row).where(of_it).values(state=TO_DELETE)
            return cast("CursorResult[Any]", await session.execute(change)).rowcount == 1

    @uncancellable
    async def remove_entry(self, object_name: str) -> None:
        """Remove the row of an object, or of a request, that is done."""
        async with self.database.writing() as session:
            of_it = (_Row.object_name == object_name) & (_Row.state != STORED)
            await session.execute(delete(_Row).where(of_it))

    # --- keys

    async def needed_keys(self) -> Counter[str]:
        """Return how many recordings each key opens, by its fingerprint."""
        query = select(_Row.key_fingerprint, func.count()).where(_Row.state == STORED)
        async with self.database.reading() as session:
            rows = (await session.execute(query.group_by(_Row.key_fingerprint))).all()
        return Counter({str(fingerprint): int(count) for fingerprint, count in rows})

    async def rewrap(self, ring: KeyRing) -> tuple[int, list[tuple[str, AudioDecryptionError]]]:
        """Wrap all data keys by the first key, without touching any object.

        Returns how many were wrapped anew, and which could not be. Can be run again.
        """
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
    """Destroy the keys of all objects, in the transaction that deletes the meeting or its audio."""
    of_it = (_Row.meeting_id == meeting_id) & _Row.state.in_((COPYING, STORED))
    change = update(_Row).where(of_it).values(state=TO_DELETE, key_fingerprint=None, wrapped_key=None)
    return cast("CursorResult[Any]", await session.execute(change)).rowcount


async def _stored(session: AsyncSession, meeting_id: str) -> RemoteRecordingRow | None:
    query = select(_Row).where(_Row.meeting_id == meeting_id, _Row.state == STORED)
    return (await session.scalars(query.limit(1))).first()


async def _change(session: AsyncSession, object_name: str, before: str, **values: object) -> bool:
    """Change a row and return whether it was in that state."""
    change = update(_Row).where(_Row.object_name == object_name, _Row.state == before).values(**values)
    return cast("CursorResult[Any]", await session.execute(change)).rowcount == 1


def _recording(row: RemoteRecordingRow) -> RemoteRecording:
    assert row.key_fingerprint is not None
    assert row.wrapped_key is not None
    key = WrappedKey(row.key_fingerprint, row.wrapped_key)
    return RemoteRecording(row.meeting_id, row.object_name, row.size_bytes, row.sha256, key)
