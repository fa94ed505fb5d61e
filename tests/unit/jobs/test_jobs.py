"""The envelope of a job on its way to a worker."""

from __future__ import annotations

import json

import pytest

from meeting_assistant.domain.errors import JobError
from meeting_assistant.domain.jobs import (
    FLEET_PROTOCOL_VERSION,
    AudioReference,
    InferenceJob,
    JobKind,
    read_envelope,
)

JOB = InferenceJob(
    kind=JobKind.TRANSCRIBE_FILE,
    meeting_id="m",
    gateway="north",
    sound=AudioReference(channels=2),
    traceparent="00-01932d3c7a107cc39d5e5c3f0e8a1b2c-00f067aa0ba902b7-01",
)


def test_the_json_of_a_job_holds_everything_a_worker_needs() -> None:
    assert json.loads(JOB.offered_at(1_000).model_dump_json()) == {
        "schema_version": 3,
        "kind": "transcribe_file",
        "meeting_id": "m",
        "payload": {},
        "gateway": "north",
        "reply": "",
        "offer": "",
        "sound": {"encoding": "s16le", "rate_hz": 16000, "channels": 2},
        "deadline_ms": 3_601_000,
        "traceparent": "00-01932d3c7a107cc39d5e5c3f0e8a1b2c-00f067aa0ba902b7-01",
        "key": "transcribe_file:m",
    }


def test_a_job_is_decoded_as_it_was_encoded() -> None:
    assert read_envelope(json.loads(JOB.model_dump_json())) == JOB


@pytest.mark.parametrize("wire", [b"no job", "no job", None, 7, [], {}, {"kind": "live_session"}])
def test_anything_that_is_not_a_job_is_refused(wire: object) -> None:
    with pytest.raises(ValueError):
        read_envelope(wire)


@pytest.mark.parametrize(
    "changed",
    [
        {"schema_version": FLEET_PROTOCOL_VERSION + 1, "kind": "a kind that is not known here"},
        {"sound": {"rate_hz": 8000}},
    ],
)
def test_a_job_of_another_version_is_left_to_other_workers(changed: dict[str, object]) -> None:
    with pytest.raises(JobError) as refused:
        read_envelope({**json.loads(JOB.model_dump_json()), **changed})
    assert refused.value.code == "version_mismatch"


def test_the_job_of_a_file_expires_after_an_hour_and_that_of_a_live_meeting_never() -> None:
    file = JOB.offered_at(0)
    file.check_deadline(3_600_000)
    with pytest.raises(JobError) as late:
        file.check_deadline(3_600_001)
    assert late.value.code == "job_expired"
    live = InferenceJob(kind=JobKind.LIVE_SESSION, meeting_id="m").offered_at(0)
    live.check_deadline(10**15)
