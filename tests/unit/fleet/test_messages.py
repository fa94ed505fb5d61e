"""Messages of the fleet as JSON: encoding, decoding and version mismatches."""

from __future__ import annotations

import json

import numpy as np
import pytest

from meeting_assistant.domain.errors import JobError
from meeting_assistant.domain.events import PartialTranscript
from meeting_assistant.domain.jobs import FLEET_PROTOCOL_VERSION, JobKind
from meeting_assistant.domain.meeting import ResumePoint
from meeting_assistant.domain.ports import SpeakerTurn
from meeting_assistant.domain.transcript import Gap, Utterance, Word
from meeting_assistant.services.diarization.live_labels import EnrolledSpeaker
from meeting_assistant.services.diarization.speaker_clustering import LabelledVoice
from meeting_assistant.services.fleet.messages import (
    Audio,
    Begin,
    DeadLettered,
    Done,
    End,
    Failed,
    Hello,
    NameSpeaker,
    NumberedBody,
    Progress,
    Relabel,
    Silence,
    TransientBody,
    Turns,
    Untranscribed,
    Utterances,
    WorkerMessage,
    WorkerState,
    decode_gateway_message,
    decode_worker_message,
    decode_worker_state,
    encode,
)
from meeting_assistant.services.transcription.session_types import CommitPoint, SessionSpec

POINT = CommitPoint(48_000, ResumePoint(start_sample=1, resume_sample=2, vad_state="AAAA"))
UTTERANCE = Utterance(
    utterance=1, start_ms=0, end_ms=900, text="Hello.", words=[Word(text="Hello.", start_ms=0, end_ms=900)]
)
BODIES: list[TransientBody | NumberedBody] = [
    Hello(worker="w", job=JobKind.LIVE_SESSION, offer="o", lease="l", engines={"asr": "moonshine"}),
    PartialTranscript(utterance=1, start_ms=0, end_ms=1, stable="a", unstable="b", lag_ms=3),
    Progress(share=0.5),
    DeadLettered(job=JobKind.TRANSCRIBE_FILE, offer="o"),
    Utterances(utterances=[UTTERANCE], commit_point=POINT, takes_back=True),
    Silence(commit_point=POINT),
    Untranscribed(gap=Gap(start_ms=0, end_ms=1, reason="engine_failed"), commit_point=POINT),
    Relabel(speakers={1: "S1", 2: None}),
    NameSpeaker(label="S1", name="Ana"),
    Turns(first=0, turns=[SpeakerTurn(0, 1, 2)]),
    Done(),
    Failed(code="c", message="m", remedy="r"),
]
STATE = WorkerState(name="w", slots=2, busy=1, engines={"asr": "moonshine"}, max_speakers=4)


@pytest.mark.parametrize("body", BODIES, ids=lambda body: body.type)
def test_a_gateway_reads_every_message_of_a_worker(body: TransientBody | NumberedBody) -> None:
    message = WorkerMessage(meeting_id="m", attempt="a", sequence=9, number=7, body=body)
    assert decode_worker_message(encode(message)) == message


@pytest.mark.parametrize("message", [Begin(), Audio(offset=3, has_viewers=True), End(offset=9)])
def test_a_worker_reads_every_message_of_a_gateway(message: Begin | Audio | End) -> None:
    assert decode_gateway_message(encode(message)) == message


def test_a_session_is_encoded_and_decoded_with_its_voices() -> None:
    voice = np.array([0.6, -0.8, 1e-7], np.float32)
    spec = SessionSpec(
        "m",
        resume=POINT.resume,
        taken_labels=("S1",),
        known_voices=(LabelledVoice(1, "S1", voice, 900),),
        enrolled_speakers=(EnrolledSpeaker("Ana", voice),),
        hotwords=("Zürich",),
    )
    begin = decode_gateway_message(encode(Begin(session=spec)))
    assert isinstance(begin, Begin)
    arrived = begin.session
    assert arrived is not None
    for vector in (arrived.known_voices[0].vector, arrived.enrolled_speakers[0].vector):
        assert vector.dtype == np.float32
        np.testing.assert_array_equal(vector, voice)
    assert (arrived.resume, arrived.hotwords, arrived.endpointing) == (
        spec.resume,
        spec.hotwords,
        spec.endpointing,
    )
    assert arrived.known_voices[0].spoken_ms == 900


def test_every_opening_message_has_a_version() -> None:
    for message in (Begin(), STATE, WorkerMessage(meeting_id="m", body=BODIES[0])):
        wire = json.loads(encode(message))
        assert wire.get("body", wire)["protocol"] == FLEET_PROTOCOL_VERSION


UNREADABLE = ["", "no JSON", "{}", "[]", '{"type": "begin", "unknown": 1}', '{"type": "from the future"}']


@pytest.mark.parametrize("text", UNREADABLE)
def test_an_unreadable_message_is_reported_as_a_version_mismatch(text: str) -> None:
    for decode in (decode_worker_message, decode_gateway_message, decode_worker_state):
        with pytest.raises(JobError) as refused:
            decode(text)
        assert refused.value.code == "version_mismatch"
        assert refused.value.remedy == "Run the same version on all machines."


@pytest.mark.parametrize("changed", [{"protocol": 99, "new": True}, {"protocol": 99}])
def test_a_worker_of_another_version_is_named(changed: dict[str, object]) -> None:
    with pytest.raises(JobError, match="The worker w speaks version 99") as refused:
        decode_worker_state(json.dumps({**json.loads(encode(STATE)), **changed}))
    assert refused.value.code == "version_mismatch"


def test_a_worker_with_another_secret_is_named() -> None:
    sealed = {"protocol": FLEET_PROTOCOL_VERSION, "name": "w", "sealed": "…"}
    with pytest.raises(JobError, match="The worker w has another FLEET__SECRET") as refused:
        decode_worker_state(json.dumps(sealed))
    assert refused.value.code == "not_authentic"


def test_a_sealed_state_of_another_version_is_named_by_its_version() -> None:
    with pytest.raises(JobError, match="The worker w speaks version 99"):
        decode_worker_state(json.dumps({"protocol": 99, "name": "w", "sealed": "…"}))


def test_a_worker_without_a_version_is_named_as_well() -> None:
    old = {"name": "w", "slots": 1, "busy": 0, "engines": {}, "max_speakers": None}
    with pytest.raises(JobError, match="The worker w speaks version 1 "):
        decode_worker_state(json.dumps(old))
