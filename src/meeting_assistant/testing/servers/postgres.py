"""A PostgreSQL server of one's own for tests, on a loopback port, in a folder that is thrown away."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from meeting_assistant.launcher import free_port

USER = "meetings"


def find_postgres() -> Path | None:
    """The folder of its programs, or None. Debian keeps them out of PATH."""
    for folder in sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True):
        if (folder / "initdb").exists():
            return folder
    found = shutil.which("initdb")
    return Path(found).resolve().parent if found else None


class PostgresServer:
    """Use as a context manager. PostgreSQL refuses to run as root: then it runs as Debian's user `postgres`."""

    def __init__(self, programs: Path) -> None:
        self._programs = programs
        self._folder = Path(tempfile.mkdtemp(prefix="postgres-"))
        self._port = free_port()
        self._user = "postgres" if os.geteuid() == 0 else None

    def url(self, database: str) -> str:
        """Return the URL of a database, for `DATABASE_URL`."""
        return f"postgresql://{USER}@127.0.0.1:{self._port}/{database}"

    def __enter__(self) -> PostgresServer:
        if self._user is not None:
            shutil.chown(self._folder, self._user)
        data = str(self._folder / "data")
        self._run("initdb", "-D", data, "-U", USER, "--auth=trust", "--encoding=UTF8", "--no-sync")
        settings = ("listen_addresses=127.0.0.1", "fsync=off", f"unix_socket_directories={self._folder}")
        options = f"-p {self._port} " + " ".join(f"-c {setting}" for setting in settings)
        self._run("pg_ctl", "-D", data, "-o", options, "-l", str(self._folder / "log"), "-w", "start")
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def stop(self) -> None:
        """Stop the server at once, without waiting for open connections; idempotent."""
        command = [
            str(self._programs / "pg_ctl"),
            "-D",
            str(self._folder / "data"),
            "-m",
            "immediate",
            "stop",
        ]
        subprocess.run(command, user=self._user, check=False, capture_output=True)

    def create(self, database: str, *, template: str = "template1") -> str:
        """Create a database, a copy of another one without connections. Returns its URL."""
        place = ("-h", "127.0.0.1", "-p", str(self._port), "-U", USER)
        self._run("createdb", *place, "--template", template, "--strategy=file_copy", database)
        return self.url(database)

    def _run(self, program: str, *arguments: str) -> None:
        subprocess.run(
            [str(self._programs / program), *arguments],
            user=self._user,
            cwd=self._folder,
            env={"LC_ALL": "C.UTF-8", "PATH": os.defpath},
            check=True,
            stdout=subprocess.DEVNULL,
        )
