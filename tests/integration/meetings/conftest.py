"""Machines that share an archive of recordings."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from meeting_assistant.testing.harness.archive import SharedArchive
from meeting_assistant.testing.servers.s3 import S3Server


@pytest.fixture
async def archive(tmp_path: Path, database_url: str, s3_server: S3Server) -> AsyncIterator[SharedArchive]:
    """An archive of machines with each kind of database."""
    made = SharedArchive(tmp_path, database_url, s3_server)
    yield made
    await made.close()


@pytest.fixture
async def sqlite_archive(tmp_path: Path, s3_server: S3Server) -> AsyncIterator[SharedArchive]:
    """An archive of machines with SQLite, for what does not depend on the database."""
    made = SharedArchive(tmp_path, f"sqlite+aiosqlite:///{tmp_path / 'meetings.db'}", s3_server)
    yield made
    await made.close()
