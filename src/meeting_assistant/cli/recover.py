"""The command `recover`: makes meetings of recordings whose database is gone."""

from __future__ import annotations

import asyncio
from pathlib import Path

from rich.console import Console

from meeting_assistant.adapters.storage.data_directory import held, recordings_in, uploads_in
from meeting_assistant.adapters.storage.journal.files import FileAudioStore
from meeting_assistant.adapters.storage.journal.keys import load_keyring
from meeting_assistant.adapters.storage.sql.database import Database
from meeting_assistant.adapters.storage.sql.meeting_store import SqlMeetingStore
from meeting_assistant.bootstrap.fleet import machine_name
from meeting_assistant.bootstrap.recordings import audio_directory
from meeting_assistant.bootstrap.storage import database_path, database_url
from meeting_assistant.config import Settings, load_settings
from meeting_assistant.domain.errors import InputError
from meeting_assistant.services.meetings.adoption import Adopted, Adoption


def run_recover(*, owner: str | None, channels: int | None, is_dry_run: bool) -> int:
    """Adopt what no meeting knows. Returns 0 when all of it became meetings.

    Raises InputError, StorageError; ConfigurationError while a server uses the data directory.
    """
    settings = load_settings()
    name = _owner(settings, owner)
    console = Console(highlight=False)
    with held(settings.data_dir):
        is_new = settings.database_url is None and not _size(database_path(settings.data_dir))
        found = asyncio.run(_recover(settings, name, channels, is_dry_run=is_dry_run))
    for one in found:
        console.print(_line(one), markup=False)
    failed = sum(one.problem is not None for one in found)
    verb = "would become" if is_dry_run else "became"
    console.print(
        f"{len(found) - failed} {verb} meetings; {failed} could not be opened and were left as they are."
    )
    if found and not is_dry_run:
        console.print("Start the server: it transcribes them and writes their minutes.")
    if is_new and found:
        console.print(
            "Titles, owners, transcripts, minutes, corrections and known voices were in the database: only a backup "
            "has them."
        )
    if settings.audio_store_url is not None and is_new:
        console.print(
            "Recordings in the object store open only with their keys, which were in the database as well: only a "
            "backup has them. Nothing was deleted there."
        )
    return 1 if failed else 0


def _owner(settings: Settings, owner: str | None) -> str:
    """Return whose meetings they become. Raises InputError when that is not clear."""
    names = sorted({grant.owner for grant in settings.token_grants()})
    if owner is not None:
        if names and owner not in names:
            raise InputError(f"API_TOKENS has no name {owner!r}.", f"Use one of: {', '.join(names)}.")
        return owner
    if len(names) > 1:
        raise InputError(
            "The database said whose meetings they were, and API_TOKENS has several names.",
            f"Name one of them: --owner {' | '.join(names)}.",
        )
    return names[0] if names else ""


async def _recover(
    settings: Settings, owner: str, channels: int | None, *, is_dry_run: bool
) -> list[Adopted]:
    data_dir = settings.data_dir
    database = Database(database_url(settings))
    gateway = machine_name(settings) if settings.orchestrator_backend == "redis" else ""
    store = SqlMeetingStore(database, gateway=gateway)
    ring = load_keyring(settings.audio_encryption_keys(), data_dir)
    audio = None if ring is None else FileAudioStore(audio_directory(data_dir), ring)
    adoption = Adoption(store, audio)
    files, recordings = uploads_in(data_dir), recordings_in(data_dir)
    try:
        if not is_dry_run or settings.database_url is not None or _size(database_path(data_dir)):
            await store.open()
            files, recordings = await adoption.orphans(files), await adoption.orphans(recordings)
        found = [Adopted(one, "upload") for one in files]  # their recordings are made again from the files
        found += [
            await asyncio.to_thread(adoption.inspect, one, channels=channels)
            for one in recordings
            if one not in files
        ]
        if not is_dry_run:
            for one in found:
                if one.problem is None:
                    await adoption.adopt(one, owner=owner)
    finally:
        await store.close()
    return found


def _line(one: Adopted) -> str:
    if one.problem is not None:
        return f"{one.meeting_id}  {one.problem}"
    if one.seconds is None:
        return f"{one.meeting_id}  an uploaded file"
    return f"{one.meeting_id}  {one.seconds:.1f} s, {one.channels} channel{'s' if one.channels > 1 else ''}"


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
