"""A promised name; the code is in `services/asr/endpointing.py`."""

from meeting_assistant.services.asr.endpointing import Endpointer as Endpointer
