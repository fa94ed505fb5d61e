"""The data directory: whom it is open to, who may use it, and what its files say about a database that is gone."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from meeting_assistant import cli
from meeting_assistant.adapters.storage import data_directory
from meeting_assistant.adapters.storage.data_directory import check_database, held, prepare, wide_mode
from meeting_assistant.adapters.storage.journal.durable_files import make_private_directory
from meeting_assistant.domain.errors import ConfigurationError, StorageError

MEETING = "01890a5d-ac96-774b-bcce-b302099a8057"
needs_modes = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no modes")


def mode_of(path: Path) -> int:
    return path.lstat().st_mode & 0o777


@pytest.fixture
def careless_umask() -> object:
    before = os.umask(0)
    yield
    os.umask(before)


@needs_modes
@pytest.mark.usefixtures("careless_umask")
def test_no_command_makes_files_for_other_users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def export() -> None:
        (tmp_path / "folder").mkdir()
        (tmp_path / "folder/minutes.md").touch()

    monkeypatch.setattr(cli, "app", export)
    cli.main()
    assert mode_of(tmp_path / "folder") == 0o700
    assert mode_of(tmp_path / "folder/minutes.md") == 0o600


@needs_modes
@pytest.mark.usefixtures("careless_umask")
def test_every_directory_that_is_made_is_private_with_those_above_it(tmp_path: Path) -> None:
    make_private_directory(tmp_path / "a/b/c")
    assert [mode_of(tmp_path / name) for name in ("a", "a/b", "a/b/c")] == [0o700] * 3


@needs_modes
@pytest.mark.usefixtures("careless_umask")
def test_what_an_earlier_version_left_open_to_others_is_closed_and_the_directory_is_the_operators(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "data"
    folder.mkdir(mode=0o755)
    outside = tmp_path / "outside"
    outside.touch(0o644)
    ours = [
        "meetings.db",
        "meetings.db-wal",
        "meetings.db-shm",
        "audio.key",
        f"audio/{MEETING}.maj",
        f"uploads/{MEETING}",
    ]
    ours += ["uploads/incoming/half", "audio-cache/object.maj"]
    for name in ours:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch(0o644)
    (folder / "notes-of-the-operator").touch(0o644)
    (folder / "audio/link").symlink_to(outside)
    prepare(folder)
    assert {name: mode_of(folder / name) for name in ours} == dict.fromkeys(ours, 0o600)
    folders = ["audio", "uploads", "uploads/incoming", "audio-cache"]
    assert {name: mode_of(folder / name) for name in folders} == dict.fromkeys(folders, 0o700)
    assert mode_of(folder) == 0o755
    assert mode_of(folder / "notes-of-the-operator") == mode_of(outside) == 0o644


@needs_modes
@pytest.mark.parametrize(
    ("mode", "named"),
    [
        (0o700, None),
        (0o755, "enter"),
        (0o711, "enter"),
        (0o750, "enter"),
        (0o770, "change"),
        (0o777, "change"),
    ],
)
def test_a_wide_directory_is_named_with_what_it_lets_others_do(
    tmp_path: Path, mode: int, named: str | None
) -> None:
    tmp_path.chmod(mode)
    warning = wide_mode(tmp_path)
    tmp_path.chmod(0o700)
    if named is None:
        assert warning is None
    else:
        assert warning is not None
        assert named in warning
        assert "chmod 700" in warning


def test_a_second_user_of_a_data_directory_is_refused_until_the_first_one_ends(tmp_path: Path) -> None:
    with held(tmp_path), pytest.raises(ConfigurationError, match="Another copy"), held(tmp_path):
        pass
    with held(tmp_path):
        pass


def test_the_lock_of_a_process_that_is_killed_is_free(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from meeting_assistant.adapters.storage.data_directory import held\n"
        "with held(Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline().strip() == b"held"
        with pytest.raises(ConfigurationError), held(tmp_path):
            pass
        holder.kill()
        holder.wait()
    with held(tmp_path):
        pass


def _no_file(path: Path) -> None:
    path.unlink(missing_ok=True)


def _empty_file(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize("lose", [_no_file, _empty_file])
@pytest.mark.parametrize("left", [f"audio/{MEETING}.maj", f"uploads/{MEETING}"])
def test_recordings_without_a_database_are_not_given_a_new_one(
    tmp_path: Path, lose: Callable[[Path], None], left: str
) -> None:
    prepare(tmp_path)
    lose(tmp_path / data_directory.DATABASE)
    check_database(tmp_path)  # nothing is here: a new installation
    (tmp_path / left).parent.mkdir()
    (tmp_path / left).touch()
    with pytest.raises(StorageError, match="recover") as refused:
        check_database(tmp_path)
    assert refused.value.code == "database_missing"
    (tmp_path / data_directory.DATABASE).write_bytes(b"SQLite format 3\0")
    check_database(tmp_path)
