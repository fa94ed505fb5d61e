"""Voices of enrolled speakers, in SQL; each vector is encrypted by the key of the recordings."""

from __future__ import annotations

from collections import Counter

from sqlalchemy import delete, select

from meeting_assistant.adapters.storage.journal.format import WrappedKey
from meeting_assistant.adapters.storage.journal.keys import KeyRing
from meeting_assistant.adapters.storage.sql.database import Database, uncancellable
from meeting_assistant.adapters.storage.sql.models import VoiceProfileRow
from meeting_assistant.domain.errors import AudioDecryptionError, NotFoundError
from meeting_assistant.domain.ports import VoiceProfile

_SEPARATOR = b":"


class SqlVoiceProfiles:
    """Implements `VoiceProfileStore`."""

    def __init__(self, database: Database, keyring: KeyRing, model: str) -> None:
        """`model` names what computed the vectors; those of other models cannot be compared and are left out."""
        self._database = database
        self._keyring = keyring
        self._model = model

    async def voices(self, owner: str) -> list[VoiceProfile]:
        """Return the voices of an owner, oldest first."""
        of_owner = (VoiceProfileRow.owner == owner) & (VoiceProfileRow.model == self._model)
        async with self._database.reading() as session:
            rows = (
                await session.scalars(select(VoiceProfileRow).where(of_owner).order_by(VoiceProfileRow.id))
            ).all()
        profiles: list[VoiceProfile] = []
        for row in rows:
            fingerprint, _, token = row.vector.partition(_SEPARATOR)
            try:
                vector = self._keyring.unwrap(WrappedKey(fingerprint.decode(), token))
            except AudioDecryptionError:
                continue  # its key is not configured; the voice returns with the key
            profiles.append(
                VoiceProfile(row.id, row.owner, row.name, vector, row.spoken_ms, row.created_at_ms)
            )
        return profiles

    @uncancellable
    async def save_voice(self, profile: VoiceProfile) -> None:
        """Store a voice; it replaces one of the same owner and name."""
        wrapped = self._keyring.wrap(profile.vector)
        same = (VoiceProfileRow.owner == profile.owner) & (VoiceProfileRow.name == profile.name)
        async with self._database.writing() as session:
            await session.execute(delete(VoiceProfileRow).where(same))
            session.add(
                VoiceProfileRow(
                    id=profile.id,
                    owner=profile.owner,
                    name=profile.name,
                    model=self._model,
                    vector=wrapped.fingerprint.encode() + _SEPARATOR + wrapped.token,
                    spoken_ms=profile.spoken_ms,
                    created_at_ms=profile.created_at_ms,
                )
            )

    async def key_uses(self) -> Counter[str]:
        """Return how many voices, of every owner and model, need the key of each fingerprint."""
        async with self._database.reading() as session:
            vectors = (await session.scalars(select(VoiceProfileRow.vector))).all()
        return Counter(vector.partition(_SEPARATOR)[0].decode() for vector in vectors)

    @uncancellable
    async def rewrap(self) -> int:
        """Encrypt all voices by the first key. Returns how many no present key opens."""
        unopened = 0
        async with self._database.writing() as session:
            for row in await session.scalars(select(VoiceProfileRow)):
                fingerprint, _, token = row.vector.partition(_SEPARATOR)
                try:
                    vector = self._keyring.unwrap(WrappedKey(fingerprint.decode(), token))
                except AudioDecryptionError:
                    unopened += 1
                    continue
                wrapped = self._keyring.wrap(vector)
                row.vector = wrapped.fingerprint.encode() + _SEPARATOR + wrapped.token
        return unopened

    @uncancellable
    async def delete_voice(self, owner: str, profile_id: str) -> None:
        """Delete a voice and overwrite its freed page."""
        this = (VoiceProfileRow.owner == owner) & (VoiceProfileRow.id == profile_id)
        async with self._database.writing() as session:
            if (await session.scalars(select(VoiceProfileRow.id).where(this))).first() is None:
                raise NotFoundError("There is no such voice.", "It may have been deleted already.")
            await session.execute(delete(VoiceProfileRow).where(this))
        await self._database.purge_deleted()
