"""Copy everything while it is in use, and prove that a copy can be opened.

A backup is a folder: `meetings.db` (SQLite's own online backup), `audio/*.maj` up to what was durable, `uploads/*`
(files that were sent and are not transcribed yet, as they are), and `manifest.json` with the size and SHA-256 of each
file, the keys that recordings need and the schema's version. The keys themselves are never in it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from meeting_assistant.adapters.storage.archive.object_store import ObjectStore
from meeting_assistant.adapters.storage.journal import durable_files
from meeting_assistant.adapters.storage.journal.files import SUFFIX, FileAudioStore
from meeting_assistant.adapters.storage.journal.keys import KeyRing
from meeting_assistant.adapters.storage.journal.rekeying import key_uses
from meeting_assistant.domain.audio import BYTES_PER_SECOND
from meeting_assistant.domain.errors import (
    AudioDecryptionError,
    ConflictError,
    InputError,
    MeetingAssistantError,
    StorageError,
)

MANIFEST = "manifest.json"
DATABASE = "meetings.db"
AUDIO = "audio"
UPLOADS = "uploads"
FORMAT = 1
_PIECE = 1 << 20


@dataclass(slots=True)
class Report:
    """Contents of a backup and the problems found in it."""

    meetings: int = 0
    recordings: int = 0
    seconds: float = 0.0
    without_audio: int = 0
    """Finished meetings that have words and no recording: recorded in memory, or the recording is gone."""
    archived: int = 0
    """Recordings in the object store: the backup has their keys and not their audio."""
    missing_in_archive: int | None = None
    """How many of them the store does not have in full length; None when it was not asked."""
    problems: list[str] = field(default_factory=list)
    """A sentence for each thing that is wrong; empty when everything can be restored."""


def make_backup(data_dir: Path, target: Path) -> Report:
    """Copy everything into `target`, which appears whole or not at all. Raises InputError, StorageError."""
    if target.exists() and not (target / MANIFEST).is_file() and any(target.iterdir()):
        raise InputError(
            f"{target} holds other files.", "Name a new folder, or one that holds an earlier backup."
        )
    partial = target.with_name(f".{target.name}.partial")
    try:
        shutil.rmtree(partial, ignore_errors=True)
        durable_files.make_private_directory(partial)
        durable_files.make_private_directory(partial / AUDIO)
        durable_files.make_private_directory(partial / UPLOADS)
        # Before the database and after it: a file that it still needs, or needs by then, is in one of the two.
        _copy_uploads(data_dir / UPLOADS, partial / UPLOADS)
        _copy_database(data_dir / DATABASE, partial / DATABASE)
        _copy_uploads(data_dir / UPLOADS, partial / UPLOADS)
        for journal in sorted((data_dir / AUDIO).glob(f"*{SUFFIX}")):
            _copy_file(journal, partial / AUDIO / journal.name)
        _write_manifest(partial)
        _replace(partial, target)
    except OSError as error:
        raise durable_files.storage_error(error) from error
    return Report(
        recordings=len(list((target / AUDIO).glob(f"*{SUFFIX}"))), meetings=_count(target / DATABASE)
    )


def verify(source: Path, ring: KeyRing | None, objects: ObjectStore | None = None) -> Report:
    """Check a backup by reading every byte of it.

    Compares digests, runs the database's own check, and decrypts each recording to its end. Of recordings in the object
    store it checks that they exist in full length and that their key is configured. Raises StorageError when the store
    cannot be reached.
    """
    manifest = _read_manifest(source)
    report = Report()
    for name, entry in manifest["files"].items():
        path = source / name
        if not path.is_file():
            report.problems.append(f"{name} is missing.")
        elif _digest(path) != entry["sha256"]:
            report.problems.append(f"{name} is not what was backed up.")
    report.problems += _check_database(source / DATABASE)
    if not report.problems:
        report.meetings = _count(source / DATABASE)
        _check_completeness(source, report)
    known = _durable_bytes(source / DATABASE) if not report.problems else {}
    for path in sorted((source / AUDIO).glob(f"*{SUFFIX}")):
        _check_recording(path, ring, known.get(path.stem, 0), report)
    if not report.problems:
        _check_archived(source / DATABASE, ring, objects, report)
    return report


def restore(source: Path, data_dir: Path) -> None:
    """Copy into a data directory that holds no meetings. Raises ConflictError, StorageError."""
    if (data_dir / DATABASE).exists() or any((data_dir / AUDIO).glob("*")):
        raise ConflictError(
            f"{data_dir} already holds meetings.",
            "Set DATA_DIR to an empty folder, or move the old one away.",
        )
    try:
        durable_files.make_private_directory(data_dir)
        durable_files.make_private_directory(data_dir / AUDIO)
        for path in sorted((source / AUDIO).glob(f"*{SUFFIX}")):
            _copy_file(path, data_dir / AUDIO / path.name)
        if (source / UPLOADS).is_dir():
            durable_files.make_private_directory(data_dir / UPLOADS)
            _copy_uploads(source / UPLOADS, data_dir / UPLOADS)
        # Last: the database stands for a complete restore.
        _copy_file(source / DATABASE, data_dir / DATABASE)
        durable_files.sync_directory(data_dir)
    except OSError as error:
        raise durable_files.storage_error(error) from error


# --- the database -----------------------------------------------------------------------------------------


def _copy_database(database: Path, target: Path) -> None:
    """Copy the database, before the recordings: what it calls durable is in the journals that are copied later."""
    try:
        with _opened(database) as source, contextlib.closing(sqlite3.connect(target)) as copy:
            source.backup(copy)
            copy.execute("PRAGMA journal_mode=DELETE")
    except sqlite3.Error as error:
        raise StorageError(
            f"The database cannot be copied: {error}.",
            "Run `meeting-assistant doctor`; see docs/how-to/troubleshooting.md.",
        ) from error
    target.chmod(0o600)


@contextlib.contextmanager
def _opened(database: Path) -> Iterator[sqlite3.Connection]:
    if not database.is_file():
        raise InputError(f"There is no database at {database}.", "Set DATA_DIR to that of the server.")
    with contextlib.closing(
        sqlite3.connect(f"{database.absolute().as_uri()}?mode=ro", uri=True)
    ) as connection:
        yield connection


def _check_database(path: Path) -> list[str]:
    try:
        with _opened(path) as connection:
            found = [str(row[0]) for row in connection.execute("PRAGMA integrity_check")]
    except (sqlite3.Error, InputError) as error:
        return [f"{DATABASE} cannot be opened: {error}."]
    return [] if found == ["ok"] else [f"{DATABASE} is damaged: {found[0]}."]


def _count(path: Path) -> int:
    with _opened(path) as connection:
        return int(connection.execute("SELECT count(*) FROM meetings").fetchone()[0])


def _durable_bytes(path: Path) -> dict[str, int]:
    with _opened(path) as connection:
        return dict(connection.execute("SELECT id, received_bytes FROM meetings WHERE source = 'live'"))


def _check_completeness(source: Path, report: Report) -> None:
    """Report audio that is missing although it is not transcribed yet."""
    with _opened(source / DATABASE) as connection:
        meetings = connection.execute(
            "SELECT id, source, state, received_bytes, committed_sample * 2 * channels FROM meetings "
            "WHERE sound_deleted_at_ms IS NULL"
        ).fetchall()
    archived = {meeting_id for meeting_id, *_ in _archived_rows(source / DATABASE)}
    for meeting_id, kind, state, received, committed in meetings:
        has_recording = meeting_id in archived or (source / AUDIO / f"{meeting_id}{SUFFIX}").is_file()
        has_file = (source / UPLOADS / meeting_id).is_file()
        if state == "done":
            report.without_audio += not has_recording
        elif kind == "upload" and not has_file and not 0 < received <= committed:
            report.problems.append(f"{UPLOADS}/{meeting_id}, a file that is not transcribed yet, is missing.")
        elif kind == "live" and not has_recording and received > committed:
            report.problems.append(
                f"{AUDIO}/{meeting_id}{SUFFIX}, sound that is not transcribed yet, is missing."
            )


# --- files ------------------------------------------------------------------------------------------------


def _check_recording(path: Path, ring: KeyRing | None, durable_bytes: int, report: Report) -> None:
    if ring is None:
        report.problems.append(f"{path.name}: no key is configured.")
        return
    try:
        # Verifies the chain of all records from the first one.
        journal = FileAudioStore(path.parent, ring).open(path.stem, durable_bytes=durable_bytes)
    except (AudioDecryptionError, MeetingAssistantError) as error:
        report.problems.append(f"{path.name}: {error}")
        return
    report.recordings += 1
    report.seconds += journal.durable_bytes / BYTES_PER_SECOND
    journal.close()


def _check_archived(
    database: Path, ring: KeyRing | None, objects: ObjectStore | None, report: Report
) -> None:
    rows = _archived_rows(database)
    report.archived = len(rows)
    configured = ring.fingerprints if ring is not None else ()
    for fingerprint in sorted({row[3] for row in rows} - set(configured)):
        report.problems.append(
            f"Recordings in the object store need key {fingerprint}, which is not configured."
        )
    if objects is not None:
        report.missing_in_archive = sum(objects.size(name) != size for _, name, size, _ in rows)


def _archived_rows(database: Path) -> list[tuple[str, str, int, str]]:
    """Return meeting, object, bytes and fingerprint of the key of each recording in the object store."""
    with _opened(database) as connection:
        tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if "remote_recordings" not in tables:
            return []  # made by an older version
        return connection.execute(
            "SELECT meeting_id, object_name, size_bytes, key_fingerprint FROM remote_recordings "
            "WHERE state = 'stored'"
        ).fetchall()


def _copy_file(source: Path, target: Path) -> None:
    """Copy a file; a journal that grows meanwhile is copied up to a point at or after what was durable."""
    with source.open("rb") as reading:
        descriptor = durable_files.open_file(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        with os.fdopen(descriptor, "wb") as writing:
            shutil.copyfileobj(reading, writing, _PIECE)
            writing.flush()
            os.fsync(writing.fileno())


def _copy_uploads(source: Path, target: Path) -> None:
    """Copy complete uploads; one that is transcribed and deleted meanwhile is skipped."""
    for path in sorted(source.glob("*-*-*-*-*")):
        if not (target / path.name).exists():
            with contextlib.suppress(FileNotFoundError):
                _copy_file(path, target / path.name)


def _write_manifest(folder: Path) -> None:
    files = [folder / DATABASE, *sorted((folder / AUDIO).glob("*")), *sorted((folder / UPLOADS).glob("*"))]
    with _opened(folder / DATABASE) as connection:
        schema = connection.execute("SELECT version_num FROM alembic_version").fetchone()[0]
    manifest: dict[str, Any] = {
        "format": FORMAT,
        "made_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "schema": schema,
        "keys": {use.fingerprint: use.recordings for use in key_uses(folder / AUDIO, None)},
        "files": {
            str(path.relative_to(folder)): {"bytes": path.stat().st_size, "sha256": _digest(path)}
            for path in files
        },
    }
    durable_files.write_new_file(folder / MANIFEST, json.dumps(manifest, indent=2).encode() + b"\n")


def _read_manifest(source: Path) -> dict[str, Any]:
    try:
        manifest = json.loads((source / MANIFEST).read_bytes())
        is_ours = isinstance(manifest["files"], dict) and manifest["format"] == FORMAT
    except (OSError, ValueError, KeyError, TypeError):
        is_ours = False
        manifest = {}
    if not is_ours:
        raise InputError(
            f"{source} is not a backup that this version reads.", "Name a folder made by `backup`."
        )
    names = [Path(name) for name in manifest["files"]]
    if any(name.is_absolute() or ".." in name.parts for name in names):
        raise InputError(f"{source} names files outside itself.", "Do not use it.")
    return dict(manifest)


def _replace(partial: Path, target: Path) -> None:
    if target.exists():
        earlier = target.with_name(f".{target.name}.earlier")
        shutil.rmtree(earlier, ignore_errors=True)
        target.rename(earlier)
        partial.rename(target)
        shutil.rmtree(earlier)
    else:
        partial.rename(target)
    durable_files.sync_directory(target.absolute().parent)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
