"""The commands `keygen`, `token`, `keys status` and `keys rotate`."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import secrets
import sys
from collections import Counter
from collections.abc import AsyncIterator

from pydantic import SecretStr
from rich.console import Console
from rich.table import Table

from meeting_assistant.adapters.storage.journal.keys import KeyRing, load_keyring, new_key
from meeting_assistant.adapters.storage.journal.rekeying import KeyUse, key_uses, rotate_all
from meeting_assistant.adapters.storage.sql.database import Database
from meeting_assistant.adapters.storage.sql.recordings import SqlRecordings
from meeting_assistant.adapters.storage.sql.voice_profiles import SqlVoiceProfiles
from meeting_assistant.bootstrap.recordings import audio_directory
from meeting_assistant.bootstrap.storage import database_path, database_url
from meeting_assistant.config import Settings, load_settings
from meeting_assistant.config.values import token_grants
from meeting_assistant.domain.errors import AudioDecryptionError, InputError


def print_new_key() -> None:
    """Print a new key, and nothing else, so that it can be piped."""
    sys.stdout.write(new_key() + "\n")


def print_new_token(name: str, scopes: str) -> None:
    """Print a token for its user and the entry for the operator. Raises InputError."""
    token = secrets.token_urlsafe(32)
    entry = f"{name}:{scopes}:sha256={hashlib.sha256(token.encode()).hexdigest()}"
    try:
        token_grants(SecretStr(entry))
    except ValueError as error:
        raise InputError(
            f"Such a token cannot be made: {error}.", "Scopes are record, read and admin, joined by +."
        ) from None
    sys.stdout.write(f"Token: {token}\n")
    sys.stdout.write(
        "It is shown once: give it to whoever is to use it. Add this to the server's settings:\n"
    )
    sys.stdout.write(f"API_TOKENS={entry}\n")


def show_key_status(*, is_json: bool) -> int:
    """Print which keys are needed. Returns 0 when every recording and every voice can be decrypted."""
    settings = load_settings()
    ring = load_keyring(settings.audio_encryption_keys(), settings.data_dir)
    elsewhere, voices = asyncio.run(_needed_in_database(settings, ring))
    uses = key_uses(audio_directory(settings.data_dir), ring, elsewhere, voices)
    if is_json:
        json.dump([use.as_dict() for use in uses], sys.stdout, indent=2)
        sys.stdout.write("\n")
    else:
        _print_uses(uses)
    return 1 if any((use.recordings or use.voices) and not use.is_configured for use in uses) else 0


def _print_uses(uses: list[KeyUse]) -> None:
    table = Table("Key", "Recordings", "Voices", "", title="Keys of recordings", title_justify="left")
    for use in uses:
        if not use.is_configured:
            note = "MISSING: put it back into AUDIO_ENCRYPTION_KEY"
        elif use.is_first:
            note = "encrypts new recordings"
        else:
            is_needed = use.recordings or use.voices
            note = "still needed; `keys rotate` moves them" if is_needed else "no longer needed"
        table.add_row(use.fingerprint, str(use.recordings), str(use.voices), note)
    Console().print(table)


def rotate_keys() -> int:
    """Rewrap every recording with the first key. Returns 0 when all of them are."""
    settings = load_settings()
    ring = _configured(settings)
    console = Console(stderr=True, highlight=False)
    done, failed = 0, 0
    for meeting_id, problem in rotate_all(audio_directory(settings.data_dir), ring):
        if problem is None:
            done += 1
        else:
            failed += 1
            console.print(f"{meeting_id}: {problem}", markup=False)
    console.print(
        f"{done} recordings moved to key {ring.fingerprint}; {failed} could not be moved.", markup=False
    )
    moved, elsewhere, unopened = asyncio.run(_rotate_in_database(settings, ring))
    for meeting_id, failure in elsewhere:
        console.print(f"{meeting_id}: {failure}", markup=False)
    if moved or elsewhere:
        console.print(
            f"In the object store: {moved} recordings moved to key {ring.fingerprint}; {len(elsewhere)} could not "
            "be moved.",
            markup=False,
        )
    if unopened:
        console.print(f"{unopened} voices that are known again could not be moved.", markup=False)
    return 1 if failed or elsewhere or unopened else 0


async def _rotate_in_database(
    settings: Settings, ring: KeyRing
) -> tuple[int, list[tuple[str, AudioDecryptionError]], int]:
    """Keys of recordings in the object store, which are kept in the database, and voices. Returns how many recordings
    were moved, which could not be, and how many voices could not be."""
    async with _database(settings) as database:
        if database is None:
            return 0, [], 0
        moved, failed = await SqlRecordings(database).rewrap(ring)
        return moved, failed, await SqlVoiceProfiles(database, ring, "").rewrap()


async def _needed_in_database(settings: Settings, ring: KeyRing | None) -> tuple[Counter[str], Counter[str]]:
    """Return the keys of recordings in the object store, and of voices."""
    async with _database(settings) as database:
        if database is None:
            return Counter(), Counter()
        voices = Counter() if ring is None else await SqlVoiceProfiles(database, ring, "").key_uses()
        return await SqlRecordings(database).needed_keys(), voices


@contextlib.asynccontextmanager
async def _database(settings: Settings) -> AsyncIterator[Database | None]:
    """Return the database, or None when it does not exist; it is not created."""
    if settings.database_url is None and not database_path(settings.data_dir).exists():
        yield None
        return
    database = Database(database_url(settings))
    try:
        await database.open()
        yield database
    finally:
        await database.close()


def _configured(settings: Settings) -> KeyRing:
    ring = load_keyring(settings.audio_encryption_keys(), settings.data_dir)
    if ring is None:
        raise InputError(
            "There is no key to move recordings to.",
            "Make one with `meeting-assistant keygen`; set AUDIO_ENCRYPTION_KEY.",
        )
    return ring
