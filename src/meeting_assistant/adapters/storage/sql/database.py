"""Connections: one writer and several readers of SQLite with its durable settings, or a pool of PostgreSQL's.

Migrations run at the start.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import functools
import logging
import sqlite3
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from sqlalchemy import URL, Connection, event, make_url, text
from sqlalchemy.engine.interfaces import IsolationLevel
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine

from meeting_assistant.adapters.storage.sql.search_schema import FORGET_DELETED
from meeting_assistant.domain.errors import StorageError

# FULL: a commit survives power loss. secure_delete: what is deleted is overwritten. See docs/decisions/0010-sqlite.md.
_PRAGMAS = (
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=FULL",
    "PRAGMA busy_timeout=5000",
    "PRAGMA foreign_keys=ON",
    "PRAGMA secure_delete=ON",
    "PRAGMA journal_size_limit=67108864",
    "PRAGMA trusted_schema=OFF",
)
_READERS = 4
_WRITERS = 8
_LOOP_LOOK_S = 1.0
_MIGRATION_LOCK = 5_617_283_940
_MAGIC = b"SQLite format 3\0"


P = ParamSpec("P")
R = TypeVar("R")

logger = logging.getLogger(__name__)


def uncancellable(method: Callable[P, Coroutine[Any, Any, R]]) -> Callable[P, Coroutine[Any, Any, R]]:
    """Let a transaction finish when its caller is cancelled, and cancel the caller afterwards.

    A cancelled transaction would leave its connection, and the write lock, to the garbage collector.
    """

    @functools.wraps(method)
    async def run(*args: P.args, **kwargs: P.kwargs) -> R:
        transaction = asyncio.ensure_future(method(*args, **kwargs))
        try:
            return await asyncio.shield(transaction)
        except asyncio.CancelledError:
            await asyncio.wait([transaction])
            raise

    return run


class Database:
    """An engine for writing and one for reading. SQLite has a single writer; in PostgreSQL writers lock the row of the
    meeting that they write about, whichever machine they are on."""

    def __init__(self, url: str) -> None:
        """`sqlite+aiosqlite:///…` or `postgresql+asyncpg://…`"""
        self._url = make_url(url)
        self.is_shared = self._url.get_backend_name() != "sqlite"
        """True when other machines may use it too."""
        if self.is_shared:
            self._writer = _postgres_engine(self._url, "READ COMMITTED")
            self._readers = _postgres_engine(self._url, "REPEATABLE READ")
        else:
            self._writer = _sqlite_engine(self._url, pool_size=1, begin="BEGIN IMMEDIATE")
            self._readers = _sqlite_engine(self._url, pool_size=_READERS, begin="BEGIN")
        self._writing: contextlib.AbstractAsyncContextManager[object] = (
            asyncio.Semaphore(_WRITERS) if self.is_shared else asyncio.Lock()
        )
        self._refusal: StorageError | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def open(self) -> None:
        """Create or migrate the schema. Raises StorageError; a file that is no database is not opened at all."""
        self._loop = asyncio.get_running_loop()
        self._refuse_damaged()
        with _translate_errors():
            async with self._writer.begin() as connection:
                await connection.run_sync(_migrate)

    async def close(self) -> None:
        """Close all connections; idempotent."""
        await self._writer.dispose()
        await self._readers.dispose()

    def call_from_thread(self, function: Callable[[], Coroutine[Any, Any, R]]) -> R:
        """Run a coroutine on the loop of `open` and return its result. Blocks; never called on that loop.

        Raises StorageError when the loop does not run.
        """
        loop = self._loop
        if loop is None or not loop.is_running():
            raise StorageError(
                "The database is not open.", "See the server's log for why.", code="cannot_open"
            )
        answer = asyncio.run_coroutine_threadsafe(function(), loop)
        while not concurrent.futures.wait([answer], timeout=_LOOP_LOOK_S).done:
            if not loop.is_running():  # a loop that has ended never answers
                raise StorageError("The server is shutting down.", "Start it again.")
        return answer.result()

    def _refuse_damaged(self) -> None:
        """Raise before SQLite opens a damaged file: opening it deletes the log, which may hold what is missing."""
        if self.is_shared or not self._url.database:
            return
        path = Path(self._url.database)
        try:
            with path.open("rb") as file:
                start = file.read(len(_MAGIC))
        except FileNotFoundError:
            start = b""
        except OSError:
            return  # not readable: opening it will say so
        # Beside a database that is empty or gone SQLite takes a log for a left-over and removes it.
        if (start and start != _MAGIC) or (not start and _size(path.with_name(f"{path.name}-wal"))):
            self._refusal = _translate("malformed")
            raise self._refusal

    def _check(self) -> None:
        if self._refusal is not None:
            raise self._refusal

    @contextlib.asynccontextmanager
    async def writing(self) -> AsyncIterator[AsyncSession]:
        """Open a transaction that is durable when the block ends; SQLite has one at a time."""
        self._check()
        with _translate_errors():
            async with (
                self._writing,
                AsyncSession(self._writer, expire_on_commit=False, info={"is_writing": True}) as session,
                session.begin(),
            ):
                yield session

    @contextlib.asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncSession]:
        """Open a session that reads from a snapshot."""
        self._check()
        with _translate_errors():
            async with AsyncSession(self._readers) as session:
                yield session

    async def purge_deleted(self) -> None:
        """Remove deleted contents from the write-ahead log, too.

        A reader that takes longer than a few seconds prevents it; a warning is logged, and the next call or the end of
        the server does it.
        """
        if self.is_shared:
            return  # what is deleted there is overwritten by its own VACUUM
        with _translate_errors():
            async with self._writing, self._writer.connect() as connection:
                async with connection.begin():
                    await connection.execute(text(FORGET_DELETED))
                raw = await connection.get_raw_connection()
                assert raw.driver_connection is not None
                async with raw.driver_connection.execute("PRAGMA wal_checkpoint(TRUNCATE)") as answer:
                    is_busy, *_ = await answer.fetchone()
        if is_busy:
            logger.warning(
                "Failed to remove deleted contents from the write-ahead log; a later call tries again."
            )

    async def probe(self) -> None:
        """Write and read in a transaction that is rolled back. Raises StorageError."""
        with _translate_errors():
            async with self._writing, self._writer.connect() as connection, connection.begin() as transaction:
                await connection.execute(text("CREATE TABLE doctor_probe (value INTEGER)"))
                await connection.execute(text("INSERT INTO doctor_probe VALUES (42)"))
                value = (await connection.execute(text("SELECT value FROM doctor_probe"))).scalar_one()
                await transaction.rollback()
        if value != 42:
            raise StorageError("The database returned something else than was written.", "Check the disk.")


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _sqlite_engine(url: URL, *, pool_size: int, begin: str) -> AsyncEngine:
    engine = create_async_engine(url, pool_size=pool_size, max_overflow=0)
    _prepare_sqlite(engine, begin)
    return engine


def _postgres_engine(url: URL, isolation: IsolationLevel) -> AsyncEngine:
    # A connection that the server closed meanwhile is replaced instead of failing the first one who gets it.
    return create_async_engine(
        url, pool_size=_WRITERS, max_overflow=0, pool_pre_ping=True, isolation_level=isolation
    )


def _prepare_sqlite(engine: AsyncEngine, begin: str) -> None:
    """SQLAlchemy's documented way to take transactions out of the driver's hands."""

    @event.listens_for(engine.sync_engine, "connect")
    def connect(dbapi_connection: object, _: object) -> None:
        dbapi_connection.isolation_level = None  # type: ignore[attr-defined]
        cursor = dbapi_connection.cursor()  # type: ignore[attr-defined]
        for pragma in _PRAGMAS:
            cursor.execute(pragma)
        cursor.close()

    @event.listens_for(engine.sync_engine, "begin")
    def start(connection: Connection) -> None:
        connection.exec_driver_sql(begin)


def _migrate(connection: Connection) -> None:
    from alembic import command
    from alembic.config import Config
    from alembic.runtime.migration import MigrationContext
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option(
        "script_location", str(Path(__file__).parents[1] / "migrations").replace("%", "%%")
    )
    config.attributes["connection"] = connection
    if connection.dialect.name == "postgresql":
        # Machines that start together bring the schema up to date one after the other.
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MIGRATION_LOCK})
    present = MigrationContext.configure(connection).get_current_revision()
    known = {revision.revision for revision in ScriptDirectory.from_config(config).walk_revisions()}
    if present is not None and present not in known:
        raise StorageError(
            "The database was written by a newer version of Meeting Assistant.",
            "Start that version again, or restore a backup made before the upgrade.",
            code="database_newer",
        )
    command.upgrade(config, "head")


@contextlib.contextmanager
def _translate_errors() -> Iterator[None]:
    """Translate errors of the driver into StorageError. Nothing is deleted or repaired."""
    try:
        yield
    except DBAPIError as error:
        if error.connection_invalidated:
            raise _unreachable() from error
        raise _translate(str(error.orig)) from error
    except (SQLAlchemyError, sqlite3.Error) as error:
        raise _translate(str(error)) from error
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
    "malformed": (
        "damaged",
        "The database is damaged.",
        "Stop the server, keep all files, restore a backup.",
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


def _translate(driver_message: str) -> StorageError:
    for part, (code, message, remedy) in _DRIVER_ERRORS.items():
        if part in driver_message:
            return StorageError(message, remedy, code=code)
    return StorageError("The database refused.", "See the server's log.")
