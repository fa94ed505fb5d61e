"""`process_audio_session`: the one function that turns the audio of a session into its events.

Live, it follows the stream; for an upload or after a crash, it reads what is stored; on a worker it runs in the same
way. It holds no more audio than the open utterance and the few that wait for their decode: when decoding falls behind,
reading falls behind with it and the audio waits in the journal.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from meeting_assistant.domain.audio import pcm_to_samples
from meeting_assistant.services.asr.language_detection import LanguageDetection
from meeting_assistant.services.diarization.live_labels import LiveLabels
from meeting_assistant.services.recording.idle_timeout import with_idle_timeout
from meeting_assistant.services.recording.rolling_audio import RollingAudio
from meeting_assistant.services.transcription.intake import SpeechIntake
from meeting_assistant.services.transcription.ordered_commit import OrderedCommit
from meeting_assistant.services.transcription.partials import PartialCaptions
from meeting_assistant.services.transcription.session_types import SessionSink, SessionSpec, SpeechServices


async def process_audio_session(
    spec: SessionSpec, audio: AsyncIterator[bytes], sink: SessionSink, services: SpeechServices
) -> None:
    """Transcribe canonical PCM until `audio` ends; every utterance is committed when this returns.

    Raises what the sink raises. A window on which the engine fails becomes a gap, and the session goes on.
    """
    labels = LiveLabels(
        services.diarization.live if spec.has_speakers else None,
        taken_labels=spec.taken_labels,
        known=spec.known_voices,
        enrolled=spec.enrolled_speakers,
    )
    language = LanguageDetection(spec.language, spec.resume.language)
    rolling = RollingAudio(spec.resume.start_sample)
    captions = PartialCaptions(spec, services.asr, sink, rolling, language, labels)
    commits = OrderedCommit(spec, services, sink, captions, language, labels)
    intake = SpeechIntake(spec, services, sink, captions, rolling, commits)
    try:
        async with asyncio.TaskGroup() as group:
            committer = group.create_task(commits.run())
            try:
                async for chunk in with_idle_timeout(audio, spec.idle_timeout_s if spec.is_live else None):
                    if chunk is None:
                        intake.complete_caption()
                    else:
                        await intake.process_chunk(pcm_to_samples(chunk, spec.channels))
                await intake.finish()
            finally:
                captions.stop()
            await commits.close()
            await committer
            await commits.finish_labels()
    except BaseExceptionGroup as group_error:
        raise _first(group_error) from group_error
    finally:
        commits.cancel_decodes()
        services.asr.cancel(spec.meeting_id)
        await asyncio.shield(services.asr.close_session(spec.meeting_id))


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    first = group.exceptions[0]
    return _first(first) if isinstance(first, BaseExceptionGroup) else first
