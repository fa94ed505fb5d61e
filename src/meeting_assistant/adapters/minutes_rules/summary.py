"""The summary: what a long meeting was about, then the sentences that carry it, tidied, in order of time."""

from __future__ import annotations

import re
from collections.abc import Sequence

from meeting_assistant.adapters.minutes_rules.conversation import Conversation, ItemDraft
from meeting_assistant.adapters.minutes_rules.keyphrases import Topic
from meeting_assistant.adapters.minutes_rules.language import Language, length_in_words
from meeting_assistant.adapters.minutes_rules.lexrank import choose_diverse, rank_sentences
from meeting_assistant.adapters.minutes_rules.quotes import closed, trim, wording
from meeting_assistant.adapters.minutes_rules.sentences import Sentence

_SHORTEST = 6
_LONGEST = 40
"""Words; of a longer sentence (speech without full stops) its pieces compete."""
_FEWEST_TERMS = 3
_CEREMONY = re.compile(
    r"\b(?:thank you|thanks)(?: \w+){0,3} for (?:joining|coming|being here|your time|having|attending)\b"
    r"|^(?:\w+ ){0,2}(?:hello|hi|good (?:morning|afternoon|evening)|welcome)(?: \w+){0,3}$"
    r"|\b(?:have a (?:nice|good|great|lovely)|see you|good ?bye|bye)\b"
)
"""Said at the door: carries no meeting."""
_BASE_WORDS = 60.0
_WORDS_PER_HOUR = 100.0
_HOUR = 9000.0
"""Words spoken in an hour (QMSum's mean meeting has 9,400): 160 words of summary, as people write of such meetings."""
_MOST_WORDS = 300.0
_LONG_MEETING = 1000
"""Words: of a shorter one, a few sentences say more than what they have in common."""
_FEWEST_TOPICS = 3


def open_with(talk: Conversation, topics: Sequence[Topic]) -> list[ItemDraft]:
    """Return one sentence, in English, that says what a long meeting was about; nothing for other meetings.

    Each topic is quoted where it was said first.
    """
    spoken = sum(length_in_words([t.normal for t in s.tokens]) for s in talk.sentences)
    if spoken < _LONG_MEETING or len(topics) < _FEWEST_TOPICS:
        return []
    *most, last = (topic.words for topic in topics)
    evidence = talk.evidence(*((topic.sentence, topic.first, topic.end) for topic in topics))
    return [ItemDraft(-1, f"The meeting was about {', '.join(most)} and {last}.", evidence)]


def summarise(talk: Conversation, language: Language) -> list[ItemDraft]:
    """The chosen sentences; empty only when nothing was said."""
    spans = [span for sentence in talk.sentences for span in _spans(sentence)]
    spoken = sum(length_in_words([t.normal for t in s.tokens]) for s in talk.sentences)
    lengths = [length_in_words([t.normal for t in s.tokens[a:b]]) for s, a, b in spans]
    matter = [k for k, (sentence, _, _) in enumerate(spans) if not _CEREMONY.search(sentence.normal)]
    fit = [k for k in matter if lengths[k] >= _SHORTEST] or matter or list(range(len(spans)))
    terms = [language.terms([t.normal for t in spans[k][0].tokens[spans[k][1] : spans[k][2]]]) for k in fit]
    fit, terms = _with_content(fit, terms)
    budget = min(_MOST_WORDS, _BASE_WORDS + _WORDS_PER_HOUR * spoken / _HOUR)
    most = max(1, min(5 if spoken < 1000 else 14, (len(fit) + 1) // 2))
    chosen = choose_diverse(rank_sentences(terms), terms, [lengths[k] for k in fit], budget=budget, most=most)
    return [_draft(talk, *spans[fit[k]]) for k in chosen]


def _with_content(fit: list[int], terms: list[list[str]]) -> tuple[list[int], list[list[str]]]:
    full = [k for k, t in enumerate(terms) if len(set(t)) >= _FEWEST_TERMS] or [
        k for k, t in enumerate(terms) if t
    ]
    return [fit[k] for k in full], [terms[k] for k in full]


def _spans(sentence: Sentence) -> list[tuple[Sentence, int, int]]:
    """The sentence, or pieces of at most 40 words, cut at commas where there are any."""
    spans, start = [], 0
    while len(sentence.tokens) - start > _LONGEST:
        commas = [k + 1 for k in range(start + _SHORTEST, start + _LONGEST) if sentence.tokens[k].comma]
        end = commas[-1] if commas else start + _LONGEST
        spans.append((sentence, start, end))
        start = end
    spans.append((sentence, start, len(sentence.tokens)))
    return spans


def _draft(talk: Conversation, sentence: Sentence, first: int, end: int) -> ItemDraft:
    first, end = trim(sentence, first, end)
    text = wording(sentence, first, end)
    is_whole = end == len(sentence.tokens) or first == 0
    return ItemDraft(
        sentence.index,
        _ended(text, question=sentence.question and is_whole and end == len(sentence.tokens)),
        talk.evidence((sentence, first, end)),
    )


def _ended(text: str, *, question: bool) -> str:
    return text if text[-1:] in "。！？" else closed(text, "?" if question else ".")  # noqa: RUF001
