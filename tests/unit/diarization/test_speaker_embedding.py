"""Scheduling of embeddings, clustering and background work."""

from __future__ import annotations

import asyncio
import threading
from typing import Any, cast

import numpy as np
import pytest

from meeting_assistant.domain.audio import Waveform
from meeting_assistant.domain.errors import ConflictError
from meeting_assistant.domain.ports import VoiceVector
from meeting_assistant.services.diarization.daemon_executor import DaemonExecutor
from meeting_assistant.services.diarization.speaker_embedding import SpeakerEmbeddingService
from meeting_assistant.services.meetings.speaker_edits import SpeakerEdits


class OneVoice:
    """An embedder that returns the same embedding for all speech."""

    name = "one"

    def load(self) -> None:
        """Nothing to load."""

    def embed(self, samples: Waveform) -> VoiceVector:
        return np.full(4, 0.5, np.float32)


async def test_an_utterance_does_not_wait_for_the_reclustering_of_another_meeting() -> None:
    service = SpeakerEmbeddingService(OneVoice())
    await service.start()
    may_end = threading.Event()
    grouping = asyncio.create_task(service.run_clustering(may_end.wait))
    assert await service.embed(np.zeros(16_000, np.float32)) is not None
    assert not grouping.done()
    may_end.set()
    await grouping
    service.close()


async def test_without_diarization_no_enrolled_speaker_is_identified() -> None:
    speakers = SpeakerEdits(*cast(Any, (None, None, None, SpeakerEmbeddingService(None), None)))
    with pytest.raises(ConflictError, match="Voices cannot be enrolled") as refused:
        await speakers.enrol("meeting", "S1", "Ana", "")
    assert "DIARIZATION_ENGINE" in refused.value.remedy


def test_background_work_runs_in_order_and_is_dropped_on_close() -> None:
    thread, released, done = DaemonExecutor("work"), threading.Event(), list[int]()
    first = thread.submit(released.wait)
    second = thread.submit(done.append, 2)
    failing = thread.submit(lambda: 1 / 0)
    released.set()
    assert first.result()
    second.result()
    assert isinstance(failing.exception(), ZeroDivisionError)
    released.clear()
    began = threading.Event()

    def work() -> bool:
        began.set()
        return released.wait()

    running = thread.submit(work)
    waiting = thread.submit(done.append, 3)
    began.wait()
    thread.shutdown()
    assert waiting.cancelled()
    with pytest.raises(RuntimeError, match="shut down"):
        thread.submit(done.append, 4)
    released.set()
    assert running.result()
    thread.shutdown(wait=True)
    assert done == [2]
