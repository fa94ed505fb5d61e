"""Missing, wrong and rotated keys: what the server does and reports, and that nothing is destroyed."""

from __future__ import annotations

import asyncio
import json
import random
from pathlib import Path

import httpx
import pytest
import uuid_utils
from cryptography.fernet import Fernet

from meeting_assistant.adapters.storage.journal.files import FileAudioStore
from meeting_assistant.adapters.storage.journal.keys import KeyRing, fingerprint_of
from meeting_assistant.adapters.storage.journal.rekeying import key_uses, rotate_all
from meeting_assistant.adapters.storage.sql.database import Database
from meeting_assistant.adapters.storage.sql.voice_profiles import SqlVoiceProfiles
from meeting_assistant.client import LiveClient, paced
from meeting_assistant.domain.errors import AudioDecryptionError
from meeting_assistant.domain.ports import VoiceProfile
from meeting_assistant.launcher import ServerProcess
from meeting_assistant.testing.harness.command import run_cli, run_code
from meeting_assistant.testing.harness.database import sqlite_url

OLD, NEW = Fernet.generate_key().decode(), Fernet.generate_key().decode()
SOUND = bytes(range(256)) * 125


def recordings(folder: Path, key: str, count: int) -> list[str]:
    store = FileAudioStore(folder, KeyRing([key]))
    ids = [str(uuid_utils.uuid7()) for _ in range(count)]
    for meeting_id in ids:
        journal = store.create(meeting_id)
        journal.append(SOUND)
        journal.seal()
        journal.close()
    return ids


def sound_of(folder: Path, keys: list[str], meeting_id: str) -> bytes:
    journal = FileAudioStore(folder, KeyRing(keys)).open(meeting_id)
    try:
        return journal.read(0, journal.durable_bytes)
    finally:
        journal.close()


def use(key: str, *, recordings: int, is_first: bool, voices: int = 0) -> dict[str, object]:
    """Return the output of `keys status --json`."""
    return {
        "fingerprint": fingerprint_of(key),
        "recordings": recordings,
        "is_configured": True,
        "is_first": is_first,
        "voices": voices,
    }


def test_a_generated_key_is_accepted_by_the_server(tmp_path: Path) -> None:
    made = run_cli("keygen", cwd=tmp_path)
    assert KeyRing([made.stdout.strip()]).fingerprint
    assert not (tmp_path / "data").exists(), "nothing is stored"


def test_status_counts_recordings_by_key_and_names_what_is_missing(tmp_path: Path) -> None:
    recordings(tmp_path / "data/audio", OLD, 2)
    recordings(tmp_path / "data/audio", NEW, 1)
    whole = run_cli("keys", "status", "--json", cwd=tmp_path, AUDIO_ENCRYPTION_KEY=f"{NEW},{OLD}")
    assert whole.returncode == 0
    assert json.loads(whole.stdout) == [
        use(NEW, recordings=1, is_first=True),
        use(OLD, recordings=2, is_first=False),
    ]
    missing = run_cli("keys", "status", cwd=tmp_path, AUDIO_ENCRYPTION_KEY=NEW)
    assert missing.returncode == 1
    assert fingerprint_of(OLD) in missing.stdout
    assert "MISSING" in missing.stdout
    assert OLD not in missing.stdout + missing.stderr + whole.stdout


def test_after_rotation_the_old_key_is_unused_and_recordings_are_unchanged(tmp_path: Path) -> None:
    folder = tmp_path / "data/audio"
    ids = recordings(folder, OLD, 3)
    before = [(folder / f"{i}.maj").read_bytes()[1536:] for i in ids]
    rotated = run_cli("keys", "rotate", cwd=tmp_path, AUDIO_ENCRYPTION_KEY=f"{NEW},{OLD}")
    assert rotated.returncode == 0
    assert "3 recordings moved" in rotated.stderr
    assert [sound_of(folder, [NEW], i) for i in ids] == [SOUND] * 3
    assert [(folder / f"{i}.maj").read_bytes()[1536:] for i in ids] == before
    with pytest.raises(AudioDecryptionError):
        sound_of(folder, [OLD], ids[0])
    again = run_cli("keys", "rotate", cwd=tmp_path, AUDIO_ENCRYPTION_KEY=f"{NEW},{OLD}")
    assert "0 recordings moved" in again.stderr


async def test_enrolled_voices_are_rotated_with_the_recordings(tmp_path: Path) -> None:
    recordings(tmp_path / "audio", OLD, 1)
    database = Database(f"sqlite+aiosqlite:///{tmp_path / 'meetings.db'}")
    await database.open()
    profile = VoiceProfile("1", "ana", "Ben", b"\x00" * 2048, 9000, 0)
    await SqlVoiceProfiles(database, KeyRing([OLD]), "m").save_voice(profile)
    assert await SqlVoiceProfiles(database, KeyRing([NEW]), "m").voices("ana") == [], "its key is not there"
    await database.close()
    before = run_cli(
        "keys", "status", "--json", cwd=tmp_path, DATA_DIR=str(tmp_path), AUDIO_ENCRYPTION_KEY=f"{NEW},{OLD}"
    )
    assert json.loads(before.stdout)[1] == use(OLD, recordings=1, is_first=False, voices=1)
    without = run_cli("keys", "status", cwd=tmp_path, DATA_DIR=str(tmp_path), AUDIO_ENCRYPTION_KEY=NEW)
    assert without.returncode == 1
    done = run_cli(
        "keys", "rotate", cwd=tmp_path, DATA_DIR=str(tmp_path), AUDIO_ENCRYPTION_KEY=f"{NEW},{OLD}"
    )
    assert done.returncode == 0, done.stderr
    database = Database(f"sqlite+aiosqlite:///{tmp_path / 'meetings.db'}")
    await database.open()
    assert await SqlVoiceProfiles(database, KeyRing([NEW]), "m").voices("ana") == [profile]
    assert await SqlVoiceProfiles(database, KeyRing([NEW]), "m").voices("eve") == [], "another owner"
    await database.close()


def test_a_recording_that_no_key_opens_is_kept_and_named(tmp_path: Path) -> None:
    folder = tmp_path / "data/audio"
    unknown = recordings(folder, Fernet.generate_key().decode(), 1)[0]
    before = (folder / f"{unknown}.maj").read_bytes()
    rotated = run_cli("keys", "rotate", cwd=tmp_path, AUDIO_ENCRYPTION_KEY=NEW)
    assert rotated.returncode == 1
    assert unknown in rotated.stderr
    assert "Audio decryption failed" in rotated.stderr
    assert (folder / f"{unknown}.maj").read_bytes() == before


ROTATE = """
import os, sys
from pathlib import Path
from meeting_assistant.adapters.storage.journal import durable_files
from meeting_assistant.adapters.storage.journal.rekeying import rotate_all
from meeting_assistant.adapters.storage.journal.keys import KeyRing

left = int(sys.argv[1])
write = os.write

def dying_write(descriptor, content):
    global left
    left -= 1
    if left < 0:
        write(descriptor, bytes(content)[: len(content) // 2])  # torn
        os.kill(os.getpid(), 9)
    return write(descriptor, content)

os.write = dying_write
for _ in rotate_all(Path(sys.argv[2]), KeyRing(sys.argv[3:])):
    pass
"""


@pytest.mark.fault
def test_a_rotation_killed_at_any_write_leaves_every_recording_readable(tmp_path: Path) -> None:
    folder = tmp_path / "audio"
    ids = recordings(folder, OLD, 4)
    for left in range(9):
        done = run_code(ROTATE, str(left), str(folder), NEW, OLD)
        assert [sound_of(folder, [NEW, OLD], i) for i in ids] == [SOUND] * 4, f"killed at write {left}"
        if done.returncode == 0:
            break
    assert list(rotate_all(folder, KeyRing([NEW, OLD]))) == []
    assert [use.recordings for use in key_uses(folder, KeyRing([NEW, OLD]))] == [4, 0]


# --- at start ---------------------------------------------------------------------------------------------


def test_a_malformed_key_stops_the_server_and_is_not_echoed(tmp_path: Path) -> None:
    wrong = NEW[:-3] + "???"
    refused = run_cli("serve", cwd=tmp_path, AUDIO_ENCRYPTION_KEY=f"{OLD},{wrong}")
    assert refused.returncode == 1
    assert "key 2 of 2" in refused.stderr
    assert wrong not in refused.stderr


def test_a_wrong_or_missing_key_starts_degraded_and_names_both_fingerprints(tmp_path: Path) -> None:
    folder = tmp_path / "data/audio"
    meeting = recordings(folder, OLD, 1)[0]
    before = (folder / f"{meeting}.maj").read_bytes()
    sqlite_url(tmp_path / "data")
    # Vanished: without any key configured one is generated, and never is anything stored in the clear.
    with ServerProcess(tmp_path / "data") as server:
        health = server.get("/health")
    assert health["status"] == "degraded"
    problem = next(problem for problem in health["problems"] if "AUDIO_ENCRYPTION_KEY" in problem)
    assert fingerprint_of(OLD) in problem
    assert "Audio decryption failed" in server.log_path.read_text()
    assert (folder / f"{meeting}.maj").read_bytes() == before


def test_with_a_new_key_old_recordings_answer_409_and_new_meetings_work(tmp_path: Path, hello: bytes) -> None:
    with ServerProcess(tmp_path / "data", {"AUDIO_ENCRYPTION_KEY": OLD}) as server:
        old = asyncio.run(LiveClient(server.ws_url).stream(paced(hello, is_fast=True)))["meeting"]["id"]
    with ServerProcess(tmp_path / "data", {"AUDIO_ENCRYPTION_KEY": NEW}) as server:
        refused = httpx.get(f"{server.url}/api/meetings/{old}/audio.wav")
        assert refused.status_code == 409
        error = refused.json()["error"]
        assert error["message"].startswith("Audio decryption failed")
        assert fingerprint_of(OLD) in error["message"] + error["remedy"]
        assert httpx.get(f"{server.url}/api/meetings/{old}").status_code == 200, "its words can be read"
        new = asyncio.run(LiveClient(server.ws_url).stream(paced(hello, is_fast=True)))["meeting"]["id"]
        assert httpx.get(f"{server.url}/api/meetings/{new}/audio.wav").content[44:] == hello
    uses = {use.fingerprint: use.recordings for use in key_uses(tmp_path / "data/audio", KeyRing([NEW]))}
    assert uses == {fingerprint_of(NEW): 1, fingerprint_of(OLD): 1}


def test_strict_keys_refuse_to_start(tmp_path: Path) -> None:
    recordings(tmp_path / "data/audio", OLD, 1)
    refused = run_cli("serve", cwd=tmp_path, AUDIO_ENCRYPTION_KEY=NEW, STRICT_KEYS="true", HTTP_PORT="0")
    assert refused.returncode == 1
    assert fingerprint_of(OLD) in refused.stderr


def test_rotation_survives_random_damage_of_one_slot(tmp_path: Path) -> None:
    """A sector that was torn in the middle of a rotation leaves the other one."""
    folder = tmp_path / "audio"
    meeting = recordings(folder, OLD, 1)[0]
    path = folder / f"{meeting}.maj"
    raw = bytearray(path.read_bytes())
    for at in random.Random(1).sample(range(1024, 1536), 40):
        raw[at] ^= 0xFF
    path.write_bytes(raw)
    assert sound_of(folder, [OLD], meeting) == SOUND
    assert [problem for _, problem in rotate_all(folder, KeyRing([NEW, OLD]))] == [None]
    assert sound_of(folder, [NEW], meeting) == SOUND
