"""The measures of `speakers.py`: diarization error, number of speakers, speaker-attributed word errors.

There is no collar, and overlapping speech counts. Consecutive turns of one speaker with less than two seconds in
between are one turn, in the reference and in the result. Diarization errors are missed speech, false alarms (nobody
spoke) and confusion (another speaker). cpWER maps speakers so that the words fit best (Watanabe et al. 2020).
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping

import meeteval.wer
from pyannote.core import Annotation, Segment, Timeline
from pyannote.metrics.diarization import DiarizationErrorRate

from meeting_assistant.domain.transcript import PROVISIONAL, Utterance
from speakers_data import Spoken

JOINED_S = 2.0


def score(spoken: Spoken, labelled: Mapping[int, Utterance]) -> dict[str, float | int]:
    """Return the diarization error rate with its parts, in percent of the spoken time, and cpWER in percent."""
    reference = annotated((turn.start_s, turn.end_s, turn.speaker) for turn in spoken.turns)
    heard = annotated(
        (u.start_ms / 1000, u.end_ms / 1000, u.speaker or f"nobody {u.utterance}") for u in labelled.values()
    )
    whole = Timeline([Segment(0, len(spoken.sound) / 16_000)])
    parts = DiarizationErrorRate(collar=0.0, skip_overlap=False)(reference, heard, uem=whole, detailed=True)
    named = {u.speaker for u in labelled.values() if u.speaker not in (None, PROVISIONAL)}
    words: dict[str, list[str]] = defaultdict(list)
    for turn in spoken.turns:
        words[turn.speaker].append(plain(turn.words))
    words_of: dict[str, list[str]] = defaultdict(list)
    for utterance in sorted(labelled.values(), key=lambda u: u.start_ms):
        words_of[utterance.speaker or "nobody"].append(plain(utterance.text))
    rate = meeteval.wer.cp_word_error_rate(
        {k: " ".join(v) for k, v in words.items()}, {k: " ".join(v) for k, v in words_of.items()}
    )
    return {
        "der": round(100 * parts["diarization error rate"], 1),
        "missed": round(100 * parts["missed detection"] / parts["total"], 1),
        "false_alarm": round(100 * parts["false alarm"] / parts["total"], 1),
        "confusion": round(100 * parts["confusion"] / parts["total"], 1),
        "speaker_count_error": len(named) - len(reference.labels()),
        "cpwer": round(100 * rate.error_rate, 1),
    }


def annotated(turns: Iterable[tuple[float, float, str]]) -> Annotation:
    """Return turns as an annotation; consecutive ones of one speaker are joined."""
    joined: list[tuple[float, float, str]] = []
    for start_s, end_s, speaker in sorted(turns):
        if joined and joined[-1][2] == speaker and start_s - joined[-1][1] < JOINED_S:
            joined[-1] = (joined[-1][0], max(end_s, joined[-1][1]), speaker)
        else:
            joined.append((start_s, end_s, speaker))
    found = Annotation()
    for at, (start_s, end_s, speaker) in enumerate(joined):
        found[Segment(start_s, end_s), at] = speaker
    return found


def plain(text: str) -> str:
    """Return the words in lower case without punctuation."""
    return " ".join(re.findall(r"[a-z0-9']+", text.casefold().replace("’", "'")))  # noqa: RUF001 - as it is written
