"""Sessions over a wire: what a session is told and what it tells, as JSON. Pure."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from meeting_assistant.domain.meeting import ResumePoint
from meeting_assistant.domain.ports import VoiceVector
from meeting_assistant.services.asr.endpointing import EndpointOptions
from meeting_assistant.services.diarization.live_labels import EnrolledSpeaker
from meeting_assistant.services.diarization.speaker_clustering import LabelledVoice
from meeting_assistant.services.transcription.session_types import CommitPoint, SessionSpec


def spec_to_wire(spec: SessionSpec) -> dict[str, Any]:
    """Voices as base64 of float32."""
    return {
        "meeting_id": spec.meeting_id,
        "resume": spec.resume.model_dump(),
        "committed_sample": spec.committed_sample,
        "next_utterance": spec.next_utterance,
        "taken_labels": list(spec.taken_labels),
        "known_voices": [
            [voice.utterance, voice.label, _packed(voice.vector), voice.spoken_ms]
            for voice in spec.known_voices
        ],
        "enrolled_speakers": [[person.name, _packed(person.vector)] for person in spec.enrolled_speakers],
        "language": spec.language,
        "hotwords": list(spec.hotwords),
        "is_live": spec.is_live,
        "partial_interval_s": spec.partial_interval_s,
        "channels": spec.channels,
        "has_speakers": spec.has_speakers,
        "endpointing": asdict(spec.endpointing),
        "idle_timeout_s": spec.idle_timeout_s,
    }


def spec_from_wire(wire: Mapping[str, Any]) -> SessionSpec:
    """Raises KeyError, TypeError for what another version sent."""
    return SessionSpec(
        meeting_id=wire["meeting_id"],
        resume=ResumePoint.model_validate(wire["resume"]),
        committed_sample=wire["committed_sample"],
        next_utterance=wire["next_utterance"],
        taken_labels=tuple(wire["taken_labels"]),
        known_voices=tuple(
            LabelledVoice(utterance, label, _unpacked(vector), spoken_ms)
            for utterance, label, vector, spoken_ms in wire["known_voices"]
        ),
        enrolled_speakers=tuple(
            EnrolledSpeaker(name, _unpacked(vector)) for name, vector in wire["enrolled_speakers"]
        ),
        language=wire["language"],
        hotwords=tuple(wire["hotwords"]),
        is_live=wire["is_live"],
        partial_interval_s=wire["partial_interval_s"],
        channels=wire["channels"],
        has_speakers=wire["has_speakers"],
        endpointing=EndpointOptions(**wire["endpointing"]),
        idle_timeout_s=wire["idle_timeout_s"],
    )


def commit_point_to_wire(commit_point: CommitPoint) -> dict[str, Any]:
    """How far a session has come."""
    return {"committed_sample": commit_point.committed_sample, "resume": commit_point.resume.model_dump()}


def commit_point_from_wire(wire: Mapping[str, Any]) -> CommitPoint:
    """The other way round."""
    return CommitPoint(wire["committed_sample"], ResumePoint.model_validate(wire["resume"]))


def _packed(vector: VoiceVector) -> str:
    return base64.b64encode(np.asarray(vector, "<f4").tobytes()).decode()


def _unpacked(text: str) -> VoiceVector:
    return np.frombuffer(base64.b64decode(text), "<f4").astype(np.float32)
