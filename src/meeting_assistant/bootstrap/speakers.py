"""Who tells voices apart, and where those are kept that are known again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from meeting_assistant.config import Settings
from meeting_assistant.domain.ports import Diarizer, VoiceProfileStore
from meeting_assistant.services.diarization.diarization_service import (
    DiarizationService,
    RecordingDiarizer,
    choose_diarization,
)

if TYPE_CHECKING:
    from meeting_assistant.adapters.storage.sql.database import Database


def max_speakers_of_recordings(settings: Settings) -> str | None:
    """The engine that should hear whole recordings out; None when none should."""
    choice = choose_diarization(settings.diarization_engine, is_nemo_wanted=settings.nemo_diarization_enabled)
    return next((name for name in choice.chain if name != "embedded"), None)


def build_diarization(
    settings: Settings, *, elsewhere: RecordingDiarizer | None = None
) -> DiarizationService:
    """Live, the embedded engine; after the meeting the wished one, or what stands in for it.

    `elsewhere`: other machines hear recordings out, and no model for that is loaded here.
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
        [engines[name] for name in choice.chain if name in engines and elsewhere is None],
        elsewhere=elsewhere,
    )


def notes_on_speakers(settings: Settings) -> list[str]:
    """What an operator may expect of the settings and does not get, for `/health`."""
    chain = choose_diarization(
        settings.diarization_engine, is_nemo_wanted=settings.nemo_diarization_enabled
    ).chain
    if settings.hf_token is None or "pyannote" in chain:
        return []
    note = (
        f"HF_TOKEN is set and not used: DIARIZATION_ENGINE is {settings.diarization_engine}. Set "
        "DIARIZATION_ENGINE=pyannote to have pyannote hear the whole recording after each meeting."
    )
    return [note]


def build_voice_profiles(settings: Settings, database: Database) -> VoiceProfileStore:
    """Encrypted as the recordings are, also where these are kept in memory only."""
    from meeting_assistant.adapters.diarization.embedded import MODEL_SHA256
    from meeting_assistant.adapters.storage.journal.keys import load_or_create_keyring
    from meeting_assistant.adapters.storage.sql.voice_profiles import SqlVoiceProfiles

    keyring = load_or_create_keyring(settings.audio_encryption_keys(), settings.data_dir)
    return SqlVoiceProfiles(database, keyring, f"embedded-{MODEL_SHA256[:12]}")
