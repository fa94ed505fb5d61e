"""A promised name; the code is in `services/diarization/diarization_service.py`."""

from meeting_assistant.services.diarization.diarization_service import (
    choose_diarization as choose_diarization,
)
