"""A promised name; the code is in `services/asr/batching.py`."""

from meeting_assistant.services.asr.batching import TicketQueue as TicketQueue
