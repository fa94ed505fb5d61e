"""A promised name; the code is in `services/recording/audio_buffer.py`."""

from meeting_assistant.services.recording.audio_buffer import SecureAudioBuffer as SecureAudioBuffer
