"""The MAJ1 format: round trips, tampering, and the published test vector."""

from __future__ import annotations

import base64
import io
import re
import secrets
from pathlib import Path

import pytest
from cryptography.fernet import Fernet
from hypothesis import given, settings
from hypothesis import strategies as st

from meeting_assistant.adapters.storage.journal import format as fmt
from meeting_assistant.adapters.storage.journal.keys import KeyRing
from meeting_assistant.adapters.storage.journal.scan import Scan, scan
from meeting_assistant.domain.errors import ConfigurationError

pytestmark = pytest.mark.unit

GAP_OF_64000_BYTES = (64_000).to_bytes(8, "big")
MEETING = "01890a5d-ac96-774b-bcce-b302099a8057"
OTHER_MEETING = "01890a5d-ac96-774b-bcce-b302099a8058"
PAGE = Path(__file__).parents[3] / "docs/reference/journal-format.md"


class Recording:
    """A journal in memory as a header and a list of records, which tests can reorder."""

    def __init__(self, meeting_id: str = MEETING, data_key: bytes | None = None) -> None:
        self.data_key = data_key or secrets.token_bytes(32)
        key = Fernet.generate_key().decode()
        self.header = fmt.encode_header(meeting_id, KeyRing([key]).wrap(self.data_key))
        self.codec = fmt.JournalCodec(fmt.decode_header(self.header), self.data_key)
        self.place = self.codec.start()
        self.records: list[bytes] = []

    def epoch(self) -> Recording:
        return self._took(*self.codec.begin_epoch(self.place, secrets.token_bytes(fmt.SALT_BYTES)))

    def audio(self, pcm: bytes) -> Recording:
        return self._took(*self.codec.write(self.place, fmt.RecordType.AUDIO, pcm))

    def seal(self) -> Recording:
        return self._took(*self.codec.seal(self.place))

    def _took(self, record: bytes, place: fmt.Place) -> Recording:
        self.records.append(record)
        self.place = place
        return self

    def scan(self, records: list[bytes] | None = None) -> Scan:
        raw = self.header + b"".join(self.records if records is None else records)
        return scan(io.BytesIO(raw), len(raw), self.codec)


def speech(seconds: int = 8) -> Recording:
    """One epoch and a second of sound per record."""
    recording = Recording().epoch()
    for _ in range(seconds):
        recording.audio(secrets.token_bytes(32_000))
    return recording


# --- header


def test_a_fernet_key_opens_the_data_key_with_three_lines_of_cryptography() -> None:
    key, data_key = Fernet.generate_key(), secrets.token_bytes(32)
    raw = fmt.encode_header(MEETING, KeyRing([key.decode()]).wrap(data_key))

    token = raw[fmt.SECTOR_BYTES + 12 : fmt.SECTOR_BYTES + 12 + 140]
    assert Fernet(key).decrypt(token) == data_key


def test_the_header_holds_the_meeting_and_its_key() -> None:
    ring = KeyRing([Fernet.generate_key().decode()])
    header = fmt.decode_header(fmt.encode_header(MEETING, ring.wrap(b"k" * 32)))

    assert header.meeting_id == MEETING
    assert header.wrapped_key is not None
    assert header.wrapped_key.fingerprint == ring.fingerprint
    assert ring.unwrap(header.wrapped_key) == b"k" * 32


def test_a_flipped_bit_anywhere_in_the_header_is_noticed() -> None:
    raw = fmt.encode_header(MEETING, KeyRing([Fernet.generate_key().decode()]).wrap(b"k" * 32))
    for position in [*range(60), *range(512, 512 + 184)]:
        damaged = bytearray(raw)
        damaged[position] ^= 1
        with pytest.raises(fmt.BadHeaderError):
            fmt.decode_header(bytes(damaged))


@pytest.mark.parametrize("content", [b"", b"MAJ1", b"RIFF" + bytes(2000), bytes(2000)])
def test_other_files_are_not_taken_for_recordings(content: bytes) -> None:
    with pytest.raises(fmt.BadHeaderError, match="not a recording"):
        fmt.decode_header(content)


def test_a_newer_version_is_named() -> None:
    recording = Recording()
    identity = bytearray(recording.header[:28])
    identity[4] = 2
    raw = bytes(identity) + fmt._checksum(bytes(identity)) + recording.header[60:]
    with pytest.raises(fmt.BadHeaderError, match="newer version"):
        fmt.decode_header(raw)


def test_rewrapping_keeps_a_valid_key_at_every_moment() -> None:
    old, new = (KeyRing([Fernet.generate_key().decode()]) for _ in range(2))
    recording = speech(2)
    raw = bytearray(fmt.encode_header(MEETING, old.wrap(recording.data_key)))
    position, sector = fmt.next_key_slot(fmt.decode_header(bytes(raw)), new.wrap(recording.data_key))

    torn = raw.copy()
    torn[position : position + 100] = sector[:100]
    still_old = fmt.decode_header(bytes(torn)).wrapped_key
    assert still_old is not None
    assert still_old.fingerprint == old.fingerprint

    raw[position : position + len(sector)] = sector
    header = fmt.decode_header(bytes(raw))
    assert header.wrapped_key is not None
    assert header.wrapped_key.fingerprint == new.fingerprint
    recording.codec = fmt.JournalCodec(header, new.unwrap(header.wrapped_key))
    assert recording.scan().damage is None, "the records are not touched by a change of keys"


def test_a_destroyed_key_differs_from_a_damaged_one() -> None:
    raw = Recording().header
    assert fmt.decode_header(raw[:512] + bytes(1024)).wrapped_key is None


# --- records


@given(
    st.lists(st.one_of(st.binary(min_size=2, max_size=400).filter(lambda pcm: len(pcm) % 2 == 0), st.none()))
)
@settings(deadline=None, max_examples=60)
def test_audio_of_several_epochs_is_read_back(pieces: list[bytes | None]) -> None:
    recording = Recording().epoch()
    for pcm in pieces:
        recording = recording.epoch() if pcm is None else recording.audio(pcm)
    recording.seal()

    place, sound = recording.codec.start(), b""
    for record in recording.records:
        content, place = recording.codec.read(place, record[: fmt.HEAD_BYTES], record[fmt.HEAD_BYTES :])
        sound += content.pcm(0, content.sound_bytes)
    assert sound == b"".join(pcm for pcm in pieces if pcm is not None)
    assert place.is_sealed
    assert place == recording.place


def test_a_gap_has_its_duration_and_reads_as_silence() -> None:
    recording = speech(1)
    recording._took(*recording.codec.write(recording.place, fmt.RecordType.GAP, GAP_OF_64000_BYTES))
    recording._took(*recording.codec.write(recording.place, fmt.RecordType.MARK, b"note"))
    recording.audio(b"\1\0")

    assert recording.scan().end.place.offset == 32_000 + 64_000 + 2
    gap = fmt.Content(fmt.RecordType.GAP, GAP_OF_64000_BYTES, 64_000)
    assert gap.pcm(63_998, 70_000) == b"\0\0"


def test_two_epochs_never_share_a_key() -> None:
    recording = Recording().epoch()
    first = recording.place.epoch
    recording.epoch()
    second = recording.place.epoch
    assert first is not None
    assert second is not None
    assert first.base_nonce != second.base_nonce

    same_words = [Recording(data_key=b"k" * 32).epoch().audio(b"ab").records[1] for _ in range(2)]
    assert same_words[0] != same_words[1]


def test_the_ciphertext_is_plain_aes_gcm_of_the_documented_inputs() -> None:
    recording = Recording().epoch()
    before = recording.place
    assert before.epoch is not None
    recording.audio(b"\1\2\3\4")
    head, body = recording.records[1][:13], recording.records[1][13:]
    nonce = before.epoch.base_nonce.to_bytes(12, "big")  # the counter is 0
    assert before.epoch.cipher.decrypt(nonce, body, before.chain + head) == b"\1\2\3\4"


# --- what a reader finds


def good_seconds(found: Scan) -> float:
    return found.end.place.offset / 32_000


def test_swapped_records_are_out_of_order() -> None:
    recording = speech()
    records = recording.records
    records[4], records[5] = records[5], records[4]
    found = recording.scan()
    assert found.damage is not None
    assert (found.damage.finding, found.damage.is_torn) == (fmt.Finding.MISSING, False)
    assert good_seconds(found) == 3


def test_a_missing_record_is_noticed() -> None:
    recording = speech()
    del recording.records[4]
    found = recording.scan()
    assert found.damage is not None
    assert (found.damage.finding, found.damage.is_torn) == (fmt.Finding.MISSING, False)
    assert good_seconds(found) == 3


def test_a_repeated_record_is_noticed() -> None:
    recording = speech()
    recording.records.insert(4, recording.records[3])
    found = recording.scan()
    assert found.damage is not None
    assert (found.damage.finding, found.damage.is_torn) == (fmt.Finding.OUT_OF_ORDER, False)
    assert good_seconds(found) == 3


def test_a_record_of_the_same_length_from_another_meeting_does_not_fit() -> None:
    recording, other = speech(), speech()
    recording.records[4] = other.records[4]
    found = recording.scan()
    assert found.damage is not None
    assert (found.damage.finding, found.damage.is_torn) == (fmt.Finding.ALTERED, False)


@pytest.mark.parametrize("meeting", [MEETING, OTHER_MEETING])
def test_an_epoch_of_another_recording_is_foreign_even_under_the_same_data_key(meeting: str) -> None:
    recording = speech()
    other = Recording(meeting, recording.data_key)
    for _ in range(8):
        other.place = fmt.Place(other.place.chain, other.place.offset + 32_000)
    other.epoch()
    recording.records.append(other.records[0])
    found = recording.scan()
    assert found.damage is not None
    # At the very end it may also be an epoch that a power cut tore; what was acknowledged is known from elsewhere.
    assert (found.damage.finding, found.damage.is_torn) == (fmt.Finding.FOREIGN, True)
    assert good_seconds(found) == 8


def test_records_after_a_foreign_epoch_are_damage_not_a_torn_end() -> None:
    recording = speech()
    other = Recording(OTHER_MEETING, recording.data_key)
    for _ in range(8):
        other.place = fmt.Place(other.place.chain, other.place.offset + 32_000)
    other.epoch().audio(b"ab" * 8000)
    recording.records += other.records
    found = recording.scan()
    assert found.damage is not None
    assert (found.damage.finding, found.damage.is_torn) == (fmt.Finding.FOREIGN, False)


def test_bytes_after_the_final_record_are_rejected() -> None:
    recording = speech().seal()
    recording.records.append(recording.records[3])
    found = recording.scan()
    assert found.damage is not None
    assert (found.damage.finding, found.damage.is_torn) == (fmt.Finding.AFTER_END, False)


def test_every_flipped_bit_is_found_and_the_audio_before_it_is_exact() -> None:
    recording = Recording().epoch()
    for _ in range(4):
        recording.audio(secrets.token_bytes(64))
    raw = b"".join(recording.seal().records)
    ends = [sum(len(r) for r in recording.records[: n + 1]) for n in range(len(recording.records))]
    for position in range(len(raw)):
        damaged = bytearray(raw)
        damaged[position] ^= 0x10
        found = recording.scan([bytes(damaged)])
        expected = max((end for end in ends if end <= position), default=0)
        assert found.damage is not None, f"a flip at byte {position} passed"
        assert found.end.position - fmt.HEADER_BYTES == expected


def test_a_flipped_bit_before_other_records_is_damage_not_a_torn_end() -> None:
    recording = speech(seconds=3)
    for position in (0, 3, 4, 12, 20, 31_000):  # length, type, offset, sound of the middle record
        middle = bytearray(recording.records[2])
        middle[position] ^= 0x01
        found = recording.scan([*recording.records[:2], bytes(middle), recording.records[3]])
        assert found.damage is not None
        assert not found.damage.is_torn, f"a flip at byte {position} passed for a torn write"


@pytest.mark.parametrize("tail", [b"", bytes(4096), secrets.token_bytes(5000)], ids=["cut", "zeros", "noise"])
@pytest.mark.parametrize("kept", [0, 1, 12, 13, 14, 20_000, 32_028])
def test_a_write_cut_short_by_a_power_loss_is_a_torn_end(kept: int, tail: bytes) -> None:
    recording = speech(seconds=3)
    whole = recording.records[3]
    if tail and kept < len(whole):  # noise that happens to complete the record would be no cut
        tail = bytes([whole[kept] ^ 0xFF]) + tail[1:]
    found = recording.scan([*recording.records[:3], whole[:kept] + tail])
    if kept == 0 and not tail:
        assert found.damage is None
    else:
        assert found.damage is not None
        assert found.damage.is_torn
    assert good_seconds(found) == 2


# --- keys and the published vector


@pytest.mark.parametrize("key", ["short", "x" * 44, "ä" * 43 + "=", "A" * 43])
def test_a_malformed_key_is_refused_and_not_echoed(key: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        KeyRing([Fernet.generate_key().decode(), key])
    assert "key 2 of 2" in refused.value.message
    assert key not in str(refused.value)


def test_the_first_key_wraps_and_all_unwrap() -> None:
    new, old = (Fernet.generate_key().decode() for _ in range(2))
    wrapped = KeyRing([old]).wrap(b"k" * 32)
    ring = KeyRing([new, old])
    assert ring.unwrap(wrapped) == b"k" * 32
    assert ring.wrap(b"k" * 32).fingerprint == KeyRing([new]).fingerprint


def test_the_published_test_vector_is_read() -> None:
    vector = {
        name: re.sub(r"\s", "", value)
        for name, value in re.findall(
            r"^(\w+) = (\S+(?:\n +\S+)*)$", PAGE.read_text(encoding="utf-8"), re.MULTILINE
        )
    }
    data_key, salt = bytes.fromhex(vector["data_key"]), bytes.fromhex(vector["salt"])
    assert Fernet(vector["fernet_key"]).extract_timestamp(vector["token"]) == 499162800
    wrapped = fmt.WrappedKey(KeyRing([vector["fernet_key"]]).fingerprint, vector["token"].encode())
    assert KeyRing([vector["fernet_key"]]).unwrap(wrapped) == data_key

    raw_header = fmt.encode_header(vector["meeting"], wrapped)
    assert raw_header[:60].hex() == vector["identity"]
    assert raw_header[512 : 512 + 12].hex() == vector["slot_start"]
    assert raw_header[664 : 664 + 32].hex() == vector["slot_checksum"]

    codec = fmt.JournalCodec(fmt.decode_header(raw_header), data_key)
    epoch, place = codec.begin_epoch(codec.start(), salt)
    audio, place = codec.write(place, fmt.RecordType.AUDIO, bytes.fromhex(vector["sound"]))
    final, place = codec.seal(place)
    assert epoch.hex() == vector["epoch_record"]
    assert audio.hex() == vector["audio_record"]
    assert final.hex() == vector["final_record"]
    assert place.chain.hex() == vector["last_chain"]


def test_a_fingerprint_does_not_depend_on_the_spelling_of_the_key() -> None:
    key = Fernet.generate_key().decode()
    assert len(base64.urlsafe_b64decode(key)) == 32
    assert re.fullmatch(r"[0-9a-f]{16}", KeyRing([key]).fingerprint)
