"""The embedded writer: puts the parts together and numbers the items."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache

from meeting_assistant.adapters.minutes_rules.commitments import find_commitments
from meeting_assistant.adapters.minutes_rules.conversation import (
    Conversation,
    ItemDraft,
    content_words,
    merge_same,
)
from meeting_assistant.adapters.minutes_rules.decisions import find_decisions
from meeting_assistant.adapters.minutes_rules.keyphrases import find_topics
from meeting_assistant.adapters.minutes_rules.language import Language
from meeting_assistant.adapters.minutes_rules.people import People
from meeting_assistant.adapters.minutes_rules.questions import find_open_questions, find_risks
from meeting_assistant.adapters.minutes_rules.quotes import capitalise
from meeting_assistant.adapters.minutes_rules.requests import find_needs, find_requests
from meeting_assistant.adapters.minutes_rules.sentences import split_sentences
from meeting_assistant.adapters.minutes_rules.summary import open_with, summarise
from meeting_assistant.domain.minutes import ActionItem, Item, Minutes, Provenance
from meeting_assistant.domain.ports import MinutesRequest

_FEW = 3
_WORDS_PER_FOLLOW_UP = 1500
_MOST_FOLLOW_UPS = 12


class EmbeddedWriter:
    """A `MinutesWriter` that needs neither a model nor a network.

    Deterministic; safe to call from any one thread at a time. The rules read English; for another language
    there is a summary and there are topics, and the other lists stay empty.
    """

    name = "embedded"

    def write(self, request: MinutesRequest) -> Minutes:
        """The minutes; empty ones for an empty transcript. About 0.3 s of CPU for an hour of talk."""
        transcript = request.transcript
        sentences = split_sentences(transcript.utterances)
        people = People(transcript.speakers, request.attendees, sentences)
        talk = Conversation(transcript.utterances, sentences, people, request.meeting_date)
        code = request.language.partition("-")[0].lower()
        language = _language(code)
        topics = find_topics(sentences, language)
        opening = open_with(talk, topics) if code == "en" else []
        minutes = Minutes(
            summary=_items("s", [*opening, *summarise(talk, language)]),
            topics=[capitalise(topic.words) for topic in topics],
            provenance=Provenance(provider=self.name),
        )
        return minutes.model_copy(update=_found_by_rules(talk)) if code == "en" else minutes


@cache
def _language(code: str) -> Language:
    return Language(code)


def _found_by_rules(talk: Conversation) -> dict[str, Sequence[Item]]:
    requests = find_requests(talk)
    needs = find_needs(talk)
    drafts = [*requests, *needs, *find_commitments(talk)]
    decisions = merge_same(find_decisions(talk))
    actions = merge_same([d for d in drafts if d.support == "verified"])
    soft = [d for d in drafts if d.support == "weak"]
    questions = merge_same(find_open_questions(talk))
    risks = merge_same(find_risks(talk))
    return {
        "decisions": _items("d", decisions),
        "action_items": _actions("a", actions),
        "open_questions": _items("q", questions),
        "risks": _items("r", risks),
        "possible_follow_ups": _actions(
            "f", _strongest(talk, soft, [*actions, *decisions, *questions, *risks])
        ),
    }


def _strongest(talk: Conversation, soft: Sequence[ItemDraft], firm: Sequence[ItemDraft]) -> list[ItemDraft]:
    """The weightiest soft cues, few, without those that a firm item already says."""
    new = [d for d in merge_same(soft) if not any(_says(f, d) for f in firm)]
    words = sum(len(s.tokens) for s in talk.sentences)
    most = min(_MOST_FOLLOW_UPS, _FEW + words // _WORDS_PER_FOLLOW_UP)
    weighed = sorted(new, key=lambda d: (-(d.weight + (3.0 if d.due_phrase else 0.0)), d.at))
    return sorted(weighed[:most], key=lambda d: d.at)


def _says(firm: ItemDraft, soft: ItemDraft) -> bool:
    wanted = content_words(soft.text)
    return firm.at == soft.at or (
        bool(wanted) and len(wanted & content_words(firm.text)) >= 0.6 * len(wanted)
    )


def _items(prefix: str, drafts: Sequence[ItemDraft]) -> list[Item]:
    return [
        Item(id=f"{prefix}{n}", text=d.text, evidence=list(d.evidence), support=d.support)
        for n, d in enumerate(_usable(drafts), start=1)
    ]


def _actions(prefix: str, drafts: Sequence[ItemDraft]) -> list[ActionItem]:
    return [
        ActionItem(
            id=f"{prefix}{n}",
            text=d.text,
            evidence=list(d.evidence),
            support=d.support,
            owner=d.owner,
            due=d.due,
            due_phrase=d.due_phrase,
        )
        for n, d in enumerate(_usable(drafts), start=1)
    ]


def _usable(drafts: Sequence[ItemDraft]) -> list[ItemDraft]:
    return [
        replace(d, text=d.text.strip())
        for d in sorted(drafts, key=lambda d: d.at)
        if d.text.strip() and d.evidence
    ]
