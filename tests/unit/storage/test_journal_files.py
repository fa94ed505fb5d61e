"""Journal files: appended audio survives crashes, and modified audio is rejected."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from meeting_assistant.adapters.storage.journal import format as fmt
from meeting_assistant.adapters.storage.journal.files import FileAudioStore
from meeting_assistant.adapters.storage.journal.keys import KeyRing, load_or_create_keyring
from meeting_assistant.domain.errors import AudioDecryptionError, ConflictError, NotFoundError, StorageError

pytestmark = pytest.mark.unit

MEETING = "01890a5d-ac96-774b-bcce-b302099a8057"
KEY = Fernet.generate_key().decode()
SECOND = bytes(range(256)) * 125
"""32 000 bytes of varying samples."""


@pytest.fixture
def store(tmp_path: Path) -> FileAudioStore:
    return FileAudioStore(tmp_path / "audio", KeyRing([KEY]))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "audio" / f"{MEETING}.maj"


def record(store: FileAudioStore, seconds: int = 3) -> None:
    journal = store.create(MEETING)
    for _ in range(seconds):
        journal.append(SECOND)
    journal.close()


def test_appended_audio_is_read_back_after_reopening(store: FileAudioStore) -> None:
    record(store)
    journal = store.open(MEETING, durable_bytes=96_000)
    assert journal.durable_bytes == 96_000
    assert journal.read(0, 96_000) == SECOND * 3
    journal.close()


@pytest.mark.parametrize(("offset", "length"), [(0, 1), (31_999, 2), (5, 70_001), (95_999, 10), (96_000, 10)])
def test_any_range_can_be_read(store: FileAudioStore, offset: int, length: int) -> None:
    record(store)
    journal = store.open(MEETING)
    assert journal.read(offset, length) == (SECOND * 3)[offset : offset + length]
    journal.close()


def test_writing_continues_where_the_previous_epoch_ended(store: FileAudioStore) -> None:
    record(store, 1)
    journal = store.open(MEETING)
    journal.append(SECOND[::-1])
    journal.seal()
    journal.close()
    again = store.open(MEETING)
    assert again.is_sealed
    assert again.read(0, 64_000) == SECOND + SECOND[::-1]
    again.close()


def test_a_sealed_recording_accepts_no_more_audio(store: FileAudioStore) -> None:
    journal = store.create(MEETING)
    journal.append(SECOND)
    journal.seal()
    journal.seal()
    with pytest.raises(ConflictError):
        journal.append(SECOND)
    journal.close()


def test_a_recording_has_one_writer_at_a_time(store: FileAudioStore) -> None:
    record(store)
    first, second = store.open(MEETING), store.open(MEETING)
    first.append(SECOND)
    with pytest.raises((ConflictError, StorageError)):
        second.append(SECOND)
    first.close()
    second.close()


def test_a_torn_end_is_excluded_and_preserved(store: FileAudioStore, file: Path) -> None:
    record(store)
    whole = file.read_bytes()
    file.write_bytes(whole[:-1000])
    journal = store.open(MEETING, durable_bytes=64_000)
    assert journal.durable_bytes == 64_000
    assert file.read_bytes() == whole[:-1000], "opening changes nothing"
    journal.append(SECOND)
    assert journal.read(0, 96_000) == SECOND * 3
    journal.close()
    assert file.with_name(f"{file.name}.torn").exists()


def test_acknowledged_audio_is_never_treated_as_a_torn_end(store: FileAudioStore, file: Path) -> None:
    record(store)
    shorter = file.read_bytes()[:-1000]
    file.write_bytes(shorter)
    with pytest.raises(AudioDecryptionError, match="Audio decryption failed"):
        store.open(MEETING, durable_bytes=96_000)
    assert file.read_bytes() == shorter


@pytest.mark.parametrize("position", [600, fmt.HEADER_BYTES + 20, fmt.HEADER_BYTES + 100, 40_000])
def test_a_flipped_bit_is_found(store: FileAudioStore, file: Path, position: int) -> None:
    record(store, 8)
    raw = bytearray(file.read_bytes())
    raw[position] ^= 1
    file.write_bytes(raw)
    with pytest.raises(AudioDecryptionError) as caught:
        store.open(MEETING, durable_bytes=8 * 32_000)
    assert "backup" in caught.value.remedy


def test_audio_of_another_meeting_is_not_accepted(store: FileAudioStore, file: Path) -> None:
    record(store)
    other = "01890a5d-ac96-774b-bcce-b302099a8058"
    file.with_name(f"{other}.maj").write_bytes(file.read_bytes())
    with pytest.raises(AudioDecryptionError, match="another meeting"):
        store.open(other)


def test_no_audio_is_on_disk_in_plain_text(store: FileAudioStore, file: Path) -> None:
    record(store)
    assert SECOND[:64] not in file.read_bytes()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700


def test_a_wrong_key_names_both_fingerprints_and_changes_nothing(store: FileAudioStore, file: Path) -> None:
    record(store)
    before = file.read_bytes()
    other = KeyRing([Fernet.generate_key().decode()])
    with pytest.raises(AudioDecryptionError, match="Audio decryption failed") as caught:
        FileAudioStore(file.parent, other).open(MEETING)
    assert KeyRing([KEY]).fingerprint in caught.value.message
    assert other.fingerprint in caught.value.message
    assert file.read_bytes() == before


def test_deleting_destroys_the_key_and_the_file(store: FileAudioStore, file: Path, tmp_path: Path) -> None:
    record(store)
    kept_open = file.open("rb")  # what a copy of the blocks would still show
    store.delete(MEETING)
    store.delete(MEETING)
    assert not store.exists(MEETING)
    assert list(file.parent.iterdir()) == []
    header = kept_open.read(fmt.HEADER_BYTES)
    kept_open.close()
    assert fmt.decode_header(header).wrapped_key is None
    with pytest.raises(NotFoundError):
        store.open(MEETING)


@pytest.mark.parametrize("meeting_id", ["../../etc/passwd", "", "a/b", MEETING.upper()])
def test_only_meeting_ids_name_files(store: FileAudioStore, meeting_id: str) -> None:
    assert not store.exists(meeting_id)
    with pytest.raises(NotFoundError):
        store.open(meeting_id)


# --- the generated key


def test_a_key_is_generated_once_and_readable_by_its_owner_only(tmp_path: Path) -> None:
    first = load_or_create_keyring([], tmp_path / "data")
    second = load_or_create_keyring([], tmp_path / "data")
    assert first.source == "generated"
    assert first.fingerprint == second.fingerprint
    assert stat.S_IMODE((tmp_path / "data" / "audio.key").stat().st_mode) == 0o600


def test_a_generated_key_still_opens_its_recordings_after_keys_are_configured(tmp_path: Path) -> None:
    generated = load_or_create_keyring([], tmp_path)
    configured = load_or_create_keyring([KEY], tmp_path)
    assert configured.fingerprints == (KeyRing([KEY]).fingerprint, generated.fingerprint)


def test_a_damaged_key_file_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "audio.key").write_text("oops")
    with pytest.raises(StorageError, match="left as it is"):
        load_or_create_keyring([], tmp_path)
    assert (tmp_path / "audio.key").read_text() == "oops"
