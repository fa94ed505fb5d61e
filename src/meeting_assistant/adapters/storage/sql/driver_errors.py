"""What SQLite and PostgreSQL say when something fails, as StorageError."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator

from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from meeting_assistant.domain.errors import StorageError

DAMAGED = "disk image is malformed"
"""What SQLite says of a damaged file; "malformed" alone may be about a query."""


@contextlib.contextmanager
def translate_errors() -> Iterator[None]:
    """Translate errors of the driver into StorageError. Nothing is deleted or repaired."""
    try:
        yield
    except DBAPIError as error:
        if error.connection_invalidated:
            raise _unreachable() from error
        raise storage_error(str(error.orig)) from error
    except (SQLAlchemyError, sqlite3.Error) as error:
        raise storage_error(str(error)) from error
    except (OSError, TimeoutError) as error:
        raise _unreachable() from error


def _unreachable() -> StorageError:
    return StorageError(
        "The database server cannot be reached.",
        "Start it, or check DATABASE_URL and the network; what is said is kept meanwhile.",
        code="unreachable",
    )


_FULL = ("disk_full", "The disk of the database is full.", "Free some space; nothing stored is lost.")
_DRIVER_ERRORS = {
    "full": _FULL,
    "readonly": (
        "read_only",
        "The database cannot be written.",
        "Make DATA_DIR and its files writable.",
    ),
    "unable to open": (
        "cannot_open",
        "The database cannot be opened.",
        "Check DATA_DIR and its permissions.",
    ),
    "locked": ("locked", "Another program holds the database.", "Stop the other copy of the server."),
    DAMAGED: (
        "damaged",
        "The database is damaged.",
        "Stop the server, keep all files, restore a backup; see docs/how-to/keys-and-backup.md if there is none.",
    ),
    "No space left": _FULL,
    "password authentication failed": (
        "cannot_open",
        "The database server does not take this user or password.",
        "Check DATABASE_URL.",
    ),
    "does not exist": (
        "cannot_open",
        "There is no such database or table.",
        "Create it: `createdb NAME`.",
    ),
    "not a database": (
        "damaged",
        "The database is not one.",
        "Stop the server, keep the file, restore a backup.",
    ),
}
"""Code, message and remedy by a part of what SQLite or PostgreSQL says; the first one that occurs counts."""


def storage_error(driver_message: str) -> StorageError:
    """Return the error for what a driver said."""
    for part, (code, message, remedy) in _DRIVER_ERRORS.items():
        if part in driver_message:
            return StorageError(message, remedy, code=code)
    return StorageError("The database refused.", "See the server's log.")
