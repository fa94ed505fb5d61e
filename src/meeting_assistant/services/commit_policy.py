"""A promised name; the code is in `services/asr/stabiliser.py`."""

from meeting_assistant.services.asr.stabiliser import Stabiliser as Stabiliser
