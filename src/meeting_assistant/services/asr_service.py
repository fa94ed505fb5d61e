"""A promised name; the code is in `services/asr/asr_service.py`."""

from meeting_assistant.services.asr.asr_service import AsrService as AsrService
