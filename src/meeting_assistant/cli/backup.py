"""The commands `backup` and `restore`."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from meeting_assistant.adapters.storage.archive.object_store import ObjectStore
from meeting_assistant.adapters.storage.backup import Report, make_backup, restore, verify
from meeting_assistant.adapters.storage.data_directory import held
from meeting_assistant.adapters.storage.journal.keys import load_keyring
from meeting_assistant.bootstrap.recordings import store_address
from meeting_assistant.config import Settings, load_settings
from meeting_assistant.domain.errors import InputError, StorageError


def run_backup(target: Path) -> None:
    """Make a backup, then verify it. Raises InputError, StorageError."""
    settings = load_settings()
    _check_sqlite(settings)
    console = Console(stderr=True, highlight=False)
    make_backup(settings.data_dir, target)
    report = _verify(target, settings)
    _print_report(report, settings, console)
    console.print(
        "Keys are not in it. Keep a copy of AUDIO_ENCRYPTION_KEY (or of audio.key in DATA_DIR) elsewhere: "
        "without it the recordings in this backup open for nobody.",
        markup=False,
    )
    _raise_problems(report)


def _check_sqlite(settings: Settings) -> None:
    if settings.database_url is not None:
        raise InputError(
            "`backup` and `restore` know SQLite; the meetings of this server are in PostgreSQL.",
            "Use pg_dump or your provider's backups, and copy DATA_DIR/audio and DATA_DIR/uploads of every gateway, "
            "and the object store of AUDIO_STORE_URL.",
        )


def run_restore(source: Path, *, is_verify: bool) -> None:
    """Verify a backup, then copy it. Raises InputError, ConflictError, StorageError."""
    settings = load_settings()
    _check_sqlite(settings)
    console = Console(stderr=True, highlight=False)
    report = _verify(source, settings)
    _print_report(report, settings, console)
    _raise_problems(report)
    if not is_verify:
        with held(settings.data_dir):
            restore(source, settings.data_dir)
        console.print(f"Restored into {settings.data_dir}.", markup=False)


def _verify(folder: Path, settings: Settings) -> Report:
    address = store_address(settings)
    objects = None if address is None else ObjectStore(address)
    return verify(folder, load_keyring(settings.audio_encryption_keys(), settings.data_dir), objects)


def _print_report(report: Report, settings: Settings, console: Console) -> None:
    console.print(
        f"{report.meetings} meetings, {report.recordings} recordings opened ({report.seconds / 60:.1f} minutes).",
        markup=False,
    )
    if report.without_audio:
        console.print(
            f"{report.without_audio} finished meetings have words and no sound: they were recorded in memory, or "
            "their recordings are gone.",
            markup=False,
        )
    if not report.archived:
        return
    console.print(
        f"{report.archived} recordings are in the object store: their keys are in this backup, their sound is not. "
        "Back the store up by its own means (versions, replication).",
        markup=False,
    )
    if report.missing_in_archive is None:
        console.print("The store was not asked for them: AUDIO_STORE_URL is not set.", markup=False)
    else:
        console.print(
            f"{store_address(settings)} has {report.archived - report.missing_in_archive} of them in their full length "
            f"(not read); {report.missing_in_archive} are missing, most likely deleted since.",
            markup=False,
        )


def _raise_problems(report: Report) -> None:
    if report.problems:
        raise StorageError(
            " ".join(report.problems),
            "Take another backup, or set AUDIO_ENCRYPTION_KEY to the keys that are named.",
        )
