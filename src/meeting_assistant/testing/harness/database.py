"""Databases of tests, copied from one that was migrated once: migrating each would take most of a test's time."""

from __future__ import annotations

import asyncio
import atexit
import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

from meeting_assistant.adapters.storage.sql.database import Database


def sqlite_url(folder: Path) -> str:
    """URL of `meetings.db` in this folder, at the newest version of the schema; one that exists is left as it is."""
    path = folder / "meetings.db"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(_migrated_file(), path)
    return f"sqlite+aiosqlite:///{path}"


def migrate(url: str) -> None:
    """Bring the database at this URL to the newest version of the schema."""
    # On a thread of its own: the caller may be inside an event loop.
    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, _migrate(url)).result()


async def _migrate(url: str) -> None:
    database = Database(url)
    await database.open()
    await database.close()


@cache
def _migrated_file() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="migrated-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    migrate(f"sqlite+aiosqlite:///{folder / 'meetings.db'}")
    return folder / "meetings.db"
