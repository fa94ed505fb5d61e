"""A promised name; the code is in `services/llm/llm_service.py`."""

from meeting_assistant.services.llm.llm_service import LLMService as LLMService
