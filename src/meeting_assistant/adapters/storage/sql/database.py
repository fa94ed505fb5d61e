"""Connections: one writer and several readers of SQLite with its durable settings, or a pool of PostgreSQL's.

Migrations run at the start.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import functools
import logging
import os
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from sqlalchemy import URL, Connection, event, make_url, text
from sqlalchemy.engine.interfaces import IsolationLevel
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine

from meeting_assistant.adapters.storage.sql.driver_errors import DAMAGED, storage_error, translate_errors
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

    def __init__(self, url: str, *, check_before: Callable[[], None] = lambda: None) -> None:
        """`sqlite+aiosqlite:///…` or `postgresql+asyncpg://…`. `check_before` is called before anything is opened, and
        raises StorageError when it must not be."""
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
        self._check_before = check_before
        self._refusal: StorageError | None = None
        self.damage: StorageError | None = None
        """What is damaged, as far as it was met; it stays until the next start."""
        self._loop: asyncio.AbstractEventLoop | None = None

    async def open(self) -> None:
        """Create or migrate the schema. Raises StorageError; a file that is no database is not opened at all."""
        self._loop = asyncio.get_running_loop()
        self._check_file()
        with self._errors():
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

    def _check_file(self) -> None:
        """Refuse before anything is touched; otherwise make the file, which its write-ahead log takes its mode from."""
        try:
            self._check_before()
            self._refuse_damaged()
        except StorageError as error:
            self._refusal = error
            raise
        if self.is_shared or not self._url.database or self._url.database == ":memory:":
            return
        with contextlib.suppress(OSError):  # one that exists stays; opening it says what else is wrong
            os.close(os.open(self._url.database, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))

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
            raise storage_error(DAMAGED)

    def _check(self) -> None:
        if self._refusal is not None:
            raise self._refusal

    @contextlib.asynccontextmanager
    async def writing(self) -> AsyncIterator[AsyncSession]:
        """Open a transaction that is durable when the block ends; SQLite has one at a time."""
        self._check()
        with self._errors():
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
        with self._errors():
            async with AsyncSession(self._readers) as session:
                yield session

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        """Translate errors of the driver, and remember damage: a server that met it is not healthy any more."""
        try:
            with translate_errors():
                yield
        except StorageError as error:
            if error.code == "damaged" and self.damage is None:
                self.damage = error
                logger.error("The database is damaged.")  # noqa: TRY400
            raise

    @property
    def size_bytes(self) -> int:
        """Size of the file; 0 for a database on a server."""
        return 0 if self.is_shared or not self._url.database else _size(Path(self._url.database))

    async def check_integrity(self) -> None:
        """Read the whole structure of the file, which takes about a second for each gigabyte; see `damage`."""
        if self.is_shared:
            return  # a server of databases checks its own pages
        with contextlib.suppress(StorageError), self._errors():
            async with self.reading() as session:
                if (await session.scalar(text("PRAGMA quick_check(1)"))) != "ok":
                    raise storage_error(DAMAGED)

    async def purge_deleted(self) -> None:
        """Remove deleted contents from the write-ahead log, too.

        A reader that takes longer than a few seconds prevents it; a warning is logged, and the next call or the end of
        the server does it.
        """
        if self.is_shared:
            return  # what is deleted there is overwritten by its own VACUUM
        with self._errors():
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
        with self._errors():
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
