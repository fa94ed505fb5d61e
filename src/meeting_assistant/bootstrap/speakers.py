"""The engines of speaker diarization, and the store of enrolled voices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from meeting_assistant.config import Settings
from meeting_assistant.domain.ports import Diarizer, VoiceProfileStore
from meeting_assistant.services.diarization.diarization_service import DiarizationService, choose_diarization
from meeting_assistant.services.diarization.live_labels import EnrolledSpeaker
from meeting_assistant.services.diarization.recording_diarization import RecordingDiarizer
from meeting_assistant.services.live.session_plan import EnrolledSpeakersOf

if TYPE_CHECKING:
    from meeting_assistant.adapters.storage.sql.database import Database


def max_speakers_of_recordings(settings: Settings) -> str | None:
    """Return the engine that is to diarize whole recordings after a meeting; None when none is."""
    choice = choose_diarization(settings.diarization_engine, is_nemo_wanted=settings.nemo_diarization_enabled)
    return next((name for name in choice.chain if name != "embedded"), None)


def build_diarization(settings: Settings, *, remote: RecordingDiarizer | None = None) -> DiarizationService:
    """Build the embedded engine for live labels, and the requested engine, or its fallback, for whole recordings.

    With `remote`, other machines diarize whole recordings and no model for that is loaded here.
    """
    from meeting_assistant.adapters.diarization.embedded import EmbeddedVoices
    from meeting_assistant.adapters.diarization.nemo import NemoDiarizer
    from meeting_assistant.adapters.diarization.pyannote import PyannoteDiarizer

    choice = choose_diarization(settings.diarization_engine, is_nemo_wanted=settings.nemo_diarization_enabled)
    token = settings.hf_token.get_secret_value() if settings.hf_token is not None else None
    engines: dict[str, Diarizer] = {
        "nemo": NemoDiarizer(),
        "pyannote": PyannoteDiarizer(settings.diarization_model_id, token),
    }
    return DiarizationService(
        EmbeddedVoices() if "embedded" in choice.chain else None,
        [engines[name] for name in choice.chain if name in engines and remote is None],
        remote=remote,
    )


def notes_on_speakers(settings: Settings) -> list[str]:
    """Return what `/health` notes about settings that have no effect."""
    chain = choose_diarization(
        settings.diarization_engine, is_nemo_wanted=settings.nemo_diarization_enabled
    ).chain
    if settings.hf_token is None or "pyannote" in chain:
        return []
    note = (
        f"HF_TOKEN is set and not used: DIARIZATION_ENGINE is {settings.diarization_engine}. Set "
        "DIARIZATION_ENGINE=pyannote to have pyannote label the whole recording after each meeting."
    )
    return [note]


def build_voice_profiles(settings: Settings, database: Database) -> VoiceProfileStore:
    """Build the store of enrolled voices, which are encrypted with the keys of the recordings."""
    from meeting_assistant.adapters.diarization.embedded import MODEL_SHA256
    from meeting_assistant.adapters.storage.journal.keys import load_or_create_keyring
    from meeting_assistant.adapters.storage.sql.voice_profiles import SqlVoiceProfiles

    keyring = load_or_create_keyring(settings.audio_encryption_keys(), settings.data_dir)
    return SqlVoiceProfiles(database, keyring, f"embedded-{MODEL_SHA256[:12]}")


def enrolled_speakers_of(profiles: VoiceProfileStore) -> EnrolledSpeakersOf:
    """Return the function that reads the voices which an owner has enrolled."""

    async def enrolled_speakers(owner: str) -> Sequence[EnrolledSpeaker]:
        return [EnrolledSpeaker(p.name, np.frombuffer(p.vector, "<f4")) for p in await profiles.voices(owner)]

    return enrolled_speakers
