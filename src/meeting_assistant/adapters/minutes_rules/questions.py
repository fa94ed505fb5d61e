"""Questions that stay open, and risks that were named."""

from __future__ import annotations

import re
from collections.abc import Iterator

from meeting_assistant.adapters.minutes_rules import clauses
from meeting_assistant.adapters.minutes_rules.conversation import LEAD, Conversation, ItemDraft
from meeting_assistant.adapters.minutes_rules.quotes import closed, trim, wording
from meeting_assistant.adapters.minutes_rules.sentences import Sentence, normalise
from meeting_assistant.adapters.minutes_rules.vocabulary import WORK_NOUN

_WH = r"(?:whether|if|who|how|what|when|where|why|which)"
_PARKED = re.compile(
    rf"(?<!\S)(?:(?:(?:we|i) (?:still )?(?:need|have|want|ought) to|(?:we|i) still (?:must|should)|"
    rf"we (?:must|should) still|"
    rf"it remains to|still (?:need|have) to) (?:find out|figure out|clarify|determine|work out|check|"
    rf"decide|establish|settle|agree on|discuss) {_WH}"
    rf"|we (?:still )?do not (?:yet |really |actually )?know (?:yet )?{_WH}"
    rf"|we (?:still )?have not (?:yet )?(?:decided|agreed|figured out|worked out|"
    rf"settled)(?: yet)?(?: on)? {_WH}"
    rf"|(?:it is|that is) (?:still |not yet |also )*(?:not clear|unclear|an open question|open|undecided|"
    rf"not decided) {_WH}"
    r"|(?:the|a|one|another) (?:big |main |remaining |other |last )?open (?:question|issue|point) (?:is|"
    r"remains))(?= |$)"
)
_MARKER = re.compile(
    rf"^{LEAD}(?:(?:the|an|a|another|one|first|second|next|last|still|that is) )*(?:open|unresolved|"
    rf"outstanding|remaining) (?:questions?|issues?|points?)"
    r"(?: (?:is|are|here))*(?= )"
)
_ASKS = re.compile(
    rf"^{LEAD}(?:(?:just )?(?:who|what|when|where|why|which|how|whose|is|are|was|were|do|does|did|can|"
    rf"could|will|would|should|"
    r"shall|has|have) )"
)
_ASKS_UNMARKED = re.compile(
    r"(?<!\S)(?<!know )(?<!wonder )(?<!sure )(?<!clear )(?:who (?:will|should|can|is going to|pays|owns)|"
    r"how (?:do|should|can|will|are|much|many)|which \w+ (?:do|should|will)|(?:do|should|can|are|will) we|"
    r"(?:when|where|why|what) (?:do|should|can|will|are|does) (?:we|our|the))(?= )"
)
_SHORTEST = 4
_LONGEST = 40
_AN_ANSWER = 6
"""Tokens; who says more after `I don't know` does answer."""
_NOT_KNOWN = re.compile(
    rf"^{LEAD}(?:(?:i|we) (?:really |still |honestly )?(?:do not|did not) know(?! how to)|no idea|"
    rf"no clue|not sure|i am not (?:really )?sure|we are not sure|"
    r"(?:that is |it is )?(?:a )?(?:good|great|difficult|tough|open) question|nobody knows|"
    r"i have no idea|we will have to (?:see|find out|check|ask)|"
    r"(?:i|we) (?:will )?(?:need|have|would have) to (?:check|find out|ask|look into|figure|"
    r"think about) (?:that|it)|"
    r"(?:that is|it is) (?:still )?(?:not clear|unclear|open|undecided|to be (?:decided|confirmed))|"
    r"let us (?:park|postpone|table|discuss|take) (?:that|this|it)|we (?:can|should) (?:park|"
    r"discuss) (?:that|this|it)|"
    r"hard to say|it depends|i can not (?:say|answer)|we have not (?:decided|discussed|figured))"
)
_ANSWERS_ITSELF = re.compile(
    r"\b(?:but i think|but i would|i think (?:it|we|that)|probably|because|but (?:it|we|they))\b"
)
_OF_THE_MEETING = re.compile(
    r"\b(?:any (?:other |more )?(?:questions?|comments?|thoughts|business)|can you (?:hear|see|repeat)|"
    r"do you know what i|"
    r"you know|what do you (?:think|mean)|how are you|how was|how is it going|what time is it|"
    r"is that (?:okay|right|clear|correct|it)|"
    r"right|shall we (?:start|begin|go|move)|are (?:you|we) (?:ready|done|finished|all here)|"
    r"does that make sense|what was (?:that|it)|"
    r"what else|who is next|where (?:was i|were we|is (?:he|she))|what is (?:that|this|it))$"
)
_OF_US = re.compile(
    r"\b(?:we|us|our|ours|who (?:will|should|can|is going to|owns|pays)|should i|the \w+ (?:team|"
    r"customer|client|supplier|budget|deadline|"
    r"release|launch|contract|project|design|server|price|cost)|how (?:much|long|many))\b"
)

_RISK = re.compile(
    r"(?<!\S)(?:(?:the|a|one|another|our|main|biggest|big|my) (?:\w+ )?(?:risk|danger|blocker|concern|"
    r"worry|fear|threat) (?:here )?(?:is|with|that)|"
    r"there is (?:always |also |still |now )?(?:a |the |some |one )?(?:(?!no\b)\w+ )?(?:risk|"
    r"danger)(?= of| that| in| here| with|$)|"
    r"(?:i am|we are) (?:a (?:bit|little) |really |very |quite |still |also |somewhat |most )*(?:worried|"
    r"concerned|afraid|anxious|nervous)(?: (?:that|about|if|because|by|with)| (?=we|the|this|it|they|"
    r"there|our))|"
    r"(?:i|we) (?:really |also |do )?(?:worry|fear) (?:that|about|we|the)|"
    r"(?:is|are|am|be|still|currently|get|been) blocked (?:by|on|until|because)|blocked (?:by|on)|"
    r"(?:is|are) at risk(?! of)|puts? \w+ (?:\w+ )?at risk|(?:we|they) (?:might|may|could|will|"
    r"are going to|would) (?:not make|miss|slip|run out of|fall behind)|"
    r"(?:is|are) a (?:blocker|show ?stopper|bottleneck)|risk(?: is| number \w+)(?= ))"
)
_OWN_WORRY = re.compile(r"\b(?:worr(?:y|ied)|afraid|anxious|nervous) (?:about|for|of) (?:my|her|his|your)\b")
_RISK_MARKER = re.compile(
    rf"^{LEAD}(?:(?:the|a|another|one|first|second|next|biggest|main) )*risks?(?: (?:is|are|number \w+|"
    rf"here))*(?= )"
)
_NO_RISK = re.compile(
    r"\b(?:not|no|never|without|no longer|hardly|less|any)(?: \w+){0,2}$|\b(?:if|whether|unless|in case|"
    r"was|were|used to be)(?: \w+){0,3}$"
)
_LIGHT = re.compile(
    r"\b(?:it|is|a|the|to|be|that|this|was|of|we|i|you|can|possible|do|should|at|not|they|are)\b"
)
_MIN_MATTER = 2
_MIN_RISK_WORDS = 2
_AFRAID_POLITE = re.compile(
    r"\bafraid (?:that )?(?:i|so|not|you|there is no)\b|\bi am afraid (?:i|we|that|it|not)\b"
)


def find_open_questions(talk: Conversation) -> list[ItemDraft]:
    """Parked questions, and questions that got `I don't know`, or nothing, for an answer."""
    found: list[ItemDraft] = []
    for sentence in talk.sentences:
        if clauses.is_private(sentence.normal):
            continue
        found.extend(_parked(talk, sentence) or _unanswered(talk, sentence))
    return found


def _is_own_worry(normal: str) -> bool:
    """`worried about my plants`, but not `about my part of the migration`."""
    return _OWN_WORRY.search(normal) is not None and not WORK_NOUN.search(normal)


def find_risks(talk: Conversation) -> list[ItemDraft]:
    """Risks, worries and blockers, where the speaker calls them so."""
    found: list[ItemDraft] = []
    for sentence in talk.sentences:
        if clauses.is_private(sentence.normal) or _is_own_worry(sentence.normal) or sentence.question:
            continue
        found.extend(_risk(talk, sentence))
    return found


def _parked(talk: Conversation, sentence: Sentence) -> list[ItemDraft]:
    marker = _MARKER.match(sentence.normal)
    if marker is not None:
        _, first = sentence.span(marker)
        if len(sentence.tokens) - first >= 3:
            return [_question(talk, sentence, first)]
    match = _PARKED.search(sentence.normal)
    if match is None:
        return []
    cue, after = sentence.span(match)
    if clauses.is_reported(sentence, cue) or sentence.question:
        return []
    draft = _question(talk, sentence, cue)
    matter = " ".join(normalise(word) for word in draft.text.split()[after - cue :])
    return [draft] if len(_LIGHT.sub(" ", matter).split()) >= _MIN_MATTER else []


def _question(talk: Conversation, sentence: Sentence, first: int) -> ItemDraft:
    end = clauses.clause_end(sentence, first, talk.people, asks=True)
    rest = len(sentence.tokens)
    start, stop = trim(sentence, first, rest if rest - first <= 25 else max(end, first + 6))
    mark = "?" if sentence.question or _ASKS.match(sentence.normal_from(start) + " ") else "."
    return ItemDraft(
        sentence.index, closed(wording(sentence, start, stop), mark), talk.evidence((sentence, start, stop))
    )


def _unanswered(talk: Conversation, sentence: Sentence) -> Iterator[ItemDraft]:
    first = _asked_from(sentence)
    if first is None or not _SHORTEST <= len(sentence.tokens) - first <= _LONGEST:
        return
    asked = sentence.normal_from(first)
    if _OF_THE_MEETING.search(asked) or not _OF_US.search(asked):
        return
    for reply in talk.replies(sentence, limit=1, reach=4):
        is_unknown = _NOT_KNOWN.match(reply.normal) and not _ANSWERS_ITSELF.search(reply.normal)
        if is_unknown and not _goes_on_to_answer(talk, reply):
            start, stop = trim(sentence, first, len(sentence.tokens))
            text = closed(wording(sentence, start, stop), "?")
            yield ItemDraft(sentence.index, text, talk.evidence(sentence, reply))


def _goes_on_to_answer(talk: Conversation, reply: Sentence) -> bool:
    for following in talk.sentences[reply.index + 1 : reply.index + 3]:
        if talk.is_other(reply, following):
            return False
        if len(following.tokens) > _AN_ANSWER:
            return True
    return False


def _asked_from(sentence: Sentence) -> int | None:
    """Return the token at which the question begins, or None.

    Recognisers lose question marks, so its wording may do instead.
    """
    if sentence.question:
        return 0 if _ASKS.match(sentence.normal) else None
    match = _ASKS_UNMARKED.search(sentence.normal)
    return sentence.span(match)[0] if match else None


def _risk(talk: Conversation, sentence: Sentence) -> Iterator[ItemDraft]:
    normal = sentence.normal
    marker = _RISK_MARKER.match(normal)
    if marker is not None and sentence.tokens[sentence.span(marker)[1] - 1].comma:
        cue, after = sentence.span(marker)
        first = after
    else:
        match = _RISK.search(normal)
        if match is None:
            return
        cue, after = sentence.span(match)
        first = cue
    before = sentence.normal_of(max(0, cue - 5), cue)
    if _NO_RISK.search(before) or _AFRAID_POLITE.search(normal) or clauses.is_reported(sentence, cue):
        return
    if len(sentence.tokens) - after < _MIN_RISK_WORDS and after - cue > 2 and cue < 2:
        return
    start = first if len(sentence.tokens) > 30 else 0
    end = min(len(sentence.tokens), max(first + 25, len(sentence.tokens) if start == 0 else 0))
    start, end = trim(sentence, first if marker is not None and first == after else start, end)
    yield ItemDraft(
        sentence.index, closed(wording(sentence, start, end)), talk.evidence((sentence, start, end))
    )
