"""What the machines of a fleet send each other opens with their secret, in its place, unaltered, and not otherwise."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meeting_assistant.adapters.jobs import sealed_entries, sealing
from meeting_assistant.adapters.jobs.sealing import OVERHEAD_BYTES, FleetKeys
from meeting_assistant.adapters.storage.journal.keys import new_key
from meeting_assistant.bootstrap.fleet import fleet_keys
from meeting_assistant.config import load_settings
from meeting_assistant.domain.errors import ConfigurationError, JobError
from meeting_assistant.domain.jobs import FLEET_PROTOCOL_VERSION, InferenceJob, JobKind
from meeting_assistant.domain.ports import AudioFrame

OLD, NEW = bytes(range(32)), bytes(range(32, 64))
JOB = InferenceJob(kind=JobKind.LIVE_SESSION, meeting_id="meeting", gateway="north", offer="first")
FRAME = AudioFrame('{"type":"audio"}', bytes(range(256)))


def refused(keys: FleetKeys, sealed: bytes, *context: str) -> bool:
    try:
        keys.open(sealed, *context)
    except JobError as error:
        return error.code == "not_authentic"
    return False


@given(st.binary(max_size=200), st.lists(st.text(max_size=5), max_size=3))
def test_another_machine_opens_a_sealed_message(content: bytes, context: list[str]) -> None:
    sealed = FleetKeys([OLD]).seal(content, *context)
    assert FleetKeys([OLD]).open(sealed, *context) == content
    assert len(sealed) == len(content) + OVERHEAD_BYTES
    assert len(content) < 8 or content not in sealed


@given(st.lists(st.text(max_size=3), max_size=4), st.lists(st.text(max_size=3), max_size=4))
def test_a_message_opens_in_its_own_context_only(sealed_in: list[str], opened_in: list[str]) -> None:
    keys = FleetKeys([OLD])
    assert refused(keys, keys.seal(b"content", *sealed_in), *opened_in) == (sealed_in != opened_in)


def test_every_altered_bit_and_every_cut_is_found() -> None:
    keys = FleetKeys([OLD])
    sealed = keys.seal(b"content", "audio", "attempt", "1")
    for bit in range(8 * len(sealed)):
        altered = bytearray(sealed)
        altered[bit // 8] ^= 1 << bit % 8
        assert refused(keys, bytes(altered), "audio", "attempt", "1"), bit
    for length in range(len(sealed)):
        assert refused(keys, sealed[:length], "audio", "attempt", "1"), length


def test_another_secret_opens_nothing() -> None:
    assert refused(FleetKeys([NEW]), FleetKeys([OLD]).seal(b"content"))


def test_while_a_secret_is_changed_machines_with_either_order_understand_each_other() -> None:
    before, between, after = (
        FleetKeys([OLD]),
        [FleetKeys([OLD, NEW]), FleetKeys([NEW, OLD])],
        FleetKeys([NEW]),
    )
    for writer, reader in [*pairwise([before, *between, after]), *pairwise([after, *between[::-1], before])]:
        assert reader.open(writer.seal(b"content")) == b"content"
        assert writer.name("meeting") in reader.names("meeting")


def test_every_message_is_sealed_differently_and_keys_are_renewed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sealing, "_MESSAGES_PER_SALT", 3)
    keys = FleetKeys([OLD])
    sealed = [keys.seal(b"content") for _ in range(9)]
    assert len({one[16:] for one in sealed}) == 9
    assert len({one[:16] for one in sealed}) == 3, "salts"
    assert {FleetKeys([OLD]).open(one) for one in sealed} == {b"content"}


def test_the_number_of_cached_keys_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sealing, "_MAX_CIPHERS", 4)
    reader = FleetKeys([OLD])
    for _ in range(10):
        sealed = FleetKeys([OLD]).seal(b"content")
        assert reader.open(sealed) == reader.open(sealed) == b"content"
    assert len(reader._ciphers) <= 4


def test_names_in_redis_reveal_no_meeting() -> None:
    name = FleetKeys([OLD]).name("live_session:meeting")
    assert "meeting" not in name
    assert name != FleetKeys([NEW]).name("live_session:meeting")


def test_a_job_opens_in_its_stream_only_and_shows_its_version_to_everybody() -> None:
    keys = FleetKeys([OLD])
    envelope = sealed_entries.seal_job(keys, "jobs.live", JOB)
    assert envelope["schema_version"] == FLEET_PROTOCOL_VERSION
    assert "meeting" not in json.dumps(envelope)
    assert sealed_entries.open_job(keys, "jobs.live", envelope) == JOB
    with pytest.raises(JobError) as moved:
        sealed_entries.open_job(keys, "jobs.file", envelope)
    assert moved.value.code == "not_authentic"


@pytest.mark.parametrize(
    "wire", [b"no job", "text", None, 3, [], {}, {"kind": "live_session", "meeting_id": "m"}]
)
def test_a_malformed_envelope_is_refused(wire: object) -> None:
    with pytest.raises(ValueError, match="not an envelope"):
        sealed_entries.open_job(FleetKeys([OLD]), "jobs.live", wire)


@pytest.mark.parametrize("sealed", ["", "no base64!", 7, None, "AAAA", ["AAAA"]])
def test_a_forged_envelope_is_not_authentic(sealed: object) -> None:
    with pytest.raises(JobError) as forged:
        sealed_entries.open_job(FleetKeys([OLD]), "jobs.live", {"sealed": sealed})
    assert forged.value.code == "not_authentic"


def entry(fields: dict[str, int | bytes]) -> dict[bytes, bytes]:
    """The fields as Redis returns them."""
    return {
        name.encode(): str(value).encode() if isinstance(value, int) else value
        for name, value in fields.items()
    }


@settings(max_examples=30)
@given(st.text(max_size=20), st.binary(max_size=50))
def test_a_frame_arrives_with_its_number(message: str, pcm: bytes) -> None:
    keys = FleetKeys([OLD])
    fields = entry(sealed_entries.seal_frame(keys, "attempt", 7, AudioFrame(message, pcm)))
    assert sealed_entries.open_frame(keys, "attempt", fields) == (7, AudioFrame(message, pcm))


def test_a_frame_opens_at_its_number_of_its_attempt_only() -> None:
    keys = FleetKeys([OLD])
    fields = entry(sealed_entries.seal_frame(keys, "attempt", 7, FRAME))
    for attempt, changed in [
        ("another", fields),
        ("attempt", {**fields, b"number": b"8"}),
        ("attempt", {**fields, b"number": b"07"}),
        ("attempt", {**fields, b"number": b"\xff"}),
        ("attempt", {b"number": b"7"}),
        ("attempt", {b"message": b"{}", b"pcm": b"plain"}),
    ]:
        with pytest.raises(JobError) as refused_frame:
            sealed_entries.open_frame(keys, attempt, changed)
        assert refused_frame.value.code == "not_authentic"


def test_a_result_opens_at_its_gateway_only_in_redis_or_posted() -> None:
    keys = FleetKeys([OLD])
    sealed = sealed_entries.seal_result(keys, "north", "Straße")
    assert sealed_entries.open_result(keys, "north", sealed) == "Straße"
    posted = sealed_entries.post_result(sealed)
    assert sealed_entries.open_posted_result(keys, "north", posted) == "Straße"
    with pytest.raises(JobError):
        sealed_entries.open_result(keys, "south", sealed)
    with pytest.raises(JobError):
        sealed_entries.open_posted_result(keys, "south", posted)


def test_the_state_of_a_worker_cannot_be_copied_to_another_one() -> None:
    keys = FleetKeys([OLD])
    published = sealed_entries.seal_state(keys, "first", "state")
    assert sealed_entries.open_state(keys, "first", published) == "state"
    for worker, other, version in [
        ("second", published, FLEET_PROTOCOL_VERSION),
        *(("first", junk, FLEET_PROTOCOL_VERSION) for junk in ("", "[]", "3", '{"sealed": 3}', "no JSON")),
        ("first", '{"protocol": 2, "name": "another", "slots": 100}', 2),
    ]:
        read = json.loads(sealed_entries.open_state(keys, worker, other))
        assert read == {"protocol": version, "name": worker, "sealed": ""}


def test_the_key_of_recordings_is_not_shared_with_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    recordings, fleet = new_key(), new_key()
    monkeypatch.setenv("AUDIO_ENCRYPTION_KEY", f"{new_key()},{recordings}")
    monkeypatch.setenv("FLEET__SECRET", f"{fleet},{recordings}")
    with pytest.raises(
        ConfigurationError, match="FLEET__SECRET is also a key in AUDIO_ENCRYPTION_KEY"
    ) as refused:
        fleet_keys(load_settings(None))
    assert recordings not in str(vars(refused.value))
    monkeypatch.setenv("FLEET__SECRET", fleet)
    assert len(fleet_keys(load_settings(None)).signing_keys) == 1
