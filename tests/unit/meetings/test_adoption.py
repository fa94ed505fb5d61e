"""Making meetings of recordings whose records are gone."""

from __future__ import annotations

import time

import numpy as np
import pytest
import uuid_utils
from hypothesis import given, settings
from hypothesis import strategies as st

from meeting_assistant.adapters.audio.trusted import read_pcm
from meeting_assistant.demo import hello_clip
from meeting_assistant.domain.audio import pcm_to_samples
from meeting_assistant.domain.meeting import MeetingState
from meeting_assistant.services.meetings.adoption import Adoption, looks_interleaved, time_of
from meeting_assistant.testing.doubles.memory_audio import MemoryAudioStore
from meeting_assistant.testing.doubles.memory_store import MemoryMeetingStore

SPEECH = pcm_to_samples(read_pcm(hello_clip()[0])).astype(np.float64)


def interleaved(left: np.ndarray, right: np.ndarray) -> bytes:
    samples = np.clip(np.stack([left, right], axis=1).reshape(-1), -32768, 32767)
    return bytes(samples.astype("<i2").tobytes())


@settings(max_examples=40)
@given(
    level=st.floats(0, 1),
    crosstalk=st.floats(0, 1),
    delay=st.integers(0, 400),
    noise=st.floats(0, 30),
    seed=st.integers(0, 9),
)
def test_two_channels_are_told_from_one_at_any_level_crosstalk_and_delay(
    level: float, crosstalk: float, delay: int, noise: float, seed: int
) -> None:
    random = np.random.default_rng(seed)
    other = np.roll(SPEECH[::-1], delay) * level
    right = other + crosstalk * np.roll(SPEECH, delay)
    hiss = random.normal(0, noise, (2, len(SPEECH)))
    assert looks_interleaved(interleaved(SPEECH + hiss[0], right + hiss[1]))
    assert not looks_interleaved((SPEECH + hiss[0]).astype("<i2").tobytes())


def test_silence_and_nothing_are_one_channel() -> None:
    assert not looks_interleaved(bytes(64_000))
    assert not looks_interleaved(b"")


def test_the_time_of_a_meeting_is_in_its_id() -> None:
    before_ms = int(time.time() * 1000)
    assert before_ms <= time_of(str(uuid_utils.uuid7())) <= int(time.time() * 1000)


@pytest.mark.parametrize("channels", [1, 2])
async def test_a_recording_becomes_a_meeting_that_waits_to_be_transcribed(channels: int) -> None:
    store, audio = MemoryMeetingStore(), MemoryAudioStore()
    meeting_id = str(uuid_utils.uuid7())
    journal = audio.create(meeting_id)
    pcm = SPEECH.astype("<i2").tobytes() if channels == 1 else interleaved(SPEECH, SPEECH[::-1])
    journal.append(pcm)
    journal.close()
    adoption = Adoption(store, audio)
    assert await adoption.orphans([meeting_id]) == [meeting_id]
    found = adoption.inspect(meeting_id)
    assert (found.channels, found.problem) == (channels, None)
    assert found.seconds == pytest.approx(len(SPEECH) / 16_000)
    meeting = await adoption.adopt(found, owner="anna")
    assert meeting == await store.get(meeting_id)
    assert (meeting.state, meeting.received_bytes, meeting.owner) == (
        MeetingState.PROCESSING,
        len(pcm),
        "anna",
    )
    assert meeting.created_at_ms == time_of(meeting_id)
    assert await adoption.orphans([meeting_id]) == []


async def test_what_cannot_be_opened_stays_and_is_named() -> None:
    store, audio = MemoryMeetingStore(), MemoryAudioStore()
    meeting_id = str(uuid_utils.uuid7())
    assert Adoption(store, None).inspect(meeting_id).problem == "No key is configured that could open it."
    assert Adoption(store, audio).inspect(meeting_id).problem is not None
    audio.create(meeting_id).close()
    assert Adoption(store, audio).inspect(meeting_id).problem == "It is empty."
