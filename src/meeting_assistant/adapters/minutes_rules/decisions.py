"""Decisions that were said to be decisions."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from meeting_assistant.adapters.minutes_rules import clauses
from meeting_assistant.adapters.minutes_rules.conversation import (
    LEAD,
    Conversation,
    ItemDraft,
    agrees,
    content_words,
)
from meeting_assistant.adapters.minutes_rules.due_dates import find_due
from meeting_assistant.adapters.minutes_rules.quotes import closed, trim, wording
from meeting_assistant.adapters.minutes_rules.sentences import Sentence

_ADVERB = (
    r"(?:(?:all|just|now|already|also|finally|then|therefore|definitely|hereby|both|unanimously|together|"
    r"officially|so) )*"
)
_WE = r"(?:we|the team|the group|the board|the committee|everyone|everybody|management)"
_GO_AHEAD = (
    r"(?:go|going) (?:with|ahead with|forward with|live|for (?!it\b|that\b|this\b|a (?:walk|run|ride|"
    r"drink|swim)|another|now))|"
    r"(?:stick|sticking) (?:with|to)|(?:settle|settling) (?:on|for)|move forward with|moving forward with"
)
_SHIP = (
    r"ship|launch|release|roll out|postpone|delay|cancel|drop|discontinue|adopt|freeze|abandon|keep|use|"
    r"switch to|"
    r"move to|migrate to|start with|not ship|not launch|not release|not support|not use|support"
)
_EXPLICIT = re.compile(
    rf"(?<!\S)(?:{_WE} (?:have |has |had |are |were )?{_ADVERB}(?:decided|agreed|resolved|settled|"
    rf"concluded|chosen|chose|voted|approved)"
    r"(?: (?:to|on|that|upon|not|against|for|in favou?r of|the|a|unanimously))"
    rf"|(?:it (?:is|was|has been) (?:then |now |hereby )?(?:decided|agreed|settled)) (?:to|that|on)"
    rf"|{_WE} (?:are|is|will be) {_ADVERB}(?:going (?:to )?)?(?:{_GO_AHEAD})"
    rf"|{_WE} (?:will|shall|are going to) {_ADVERB}(?:{_GO_AHEAD})"
    rf"|let us {_ADVERB}(?:{_GO_AHEAD}|agree (?:to|on|that))"
    r"|(?:the|our|my|a|final|one) (?:final |first |second |next |main |other )?decision (?:is|was|"
    r"will be|stands)(?: made| taken)?(?: that| to|:)?"
    r"|(?:the )?motion (?:is |was |has been )?(?:carried|passed|approved|adopted)"
    r")(?= |$)"
)
_MARKER = re.compile(
    rf"^{LEAD}(?:(?:the|a|final|our|next|first|second|another) )*(?:decisions?|decided|"
    rf"agreed)(?: number \w+)?(?: (?:is|are|here))*(?= )"
)
_SHIPS = re.compile(rf"(?<!\S)we (?:will|are going to|shall) {_ADVERB}(?P<verb>{_SHIP})(?= )")
_FINAL = re.compile(
    rf"(?<!\S){_WE} (?:will not|shall not|are not going to|will|shall|are going to|are)"
    r"(?= (?:\S+ ){2,14}(?:and )?(?:that is|this is) (?:final|settled|decided|the decision)$)"
)
_GOES = re.compile(rf"^{LEAD}(?:so |then |okay |well )*we {_ADVERB}(?:{_GO_AHEAD})(?= )")
"""`Then we go with the cheaper one`: a decision when somebody else says yes to it."""
_CONCLUDES = re.compile(
    rf"^{LEAD}(?:so |then |okay |well |all right )*we (?:will |shall |are going to )?\w+(?= )"
)
"""`So we make an offer`: a decision when it was proposed and somebody had said yes."""
_ASKS_ASSENT = re.compile(
    r" (?:(?:is|are) )?(?:everybody|everyone|all of you|you all|we all) (?:okay|happy|fine|agreed|in agreement)"
    r"(?: with (?:that|this))?$"
)
_LETS = re.compile(
    rf"(?<!\S)let us {_ADVERB}(?P<verb>{_SHIP}|move|set|bring forward|fix|push|reschedule)(?= )"
)
_SETTLES = re.compile(
    rf"^{LEAD}(?:agreed|decided|(?:it is |that is |that is then |then it is |then that is |then we have |"
    rf"it is all )?(?:settled|decided|agreed|a deal|approved)"
    r"|approved|motion carried|we have a decision|we are (?:all )?agreed|deal)(?: then| on that|"
    r" everyone| so)?$"
)
_PROPOSES = re.compile(
    rf"^{LEAD}(?:(?:i|we) (?:would |will )?(?:propose|suggest|recommend|move)(?: that)?|(?:shall|"
    rf"should) we|let us|how about|"
    r"my (?:proposal|suggestion) is|the proposal is|what if we|(?:are we|is everyone|"
    r"everybody) (?:agreed|okay|happy)(?: (?:that|with|on|to))?|"
    r"do we (?:agree|all agree)(?: (?:that|to|on))?|can we agree(?: (?:that|to|on))?|why do not we)\b"
)
_UNDECIDED = re.compile(
    r"\b(?:not|never|no|have we|had we|did we|did not|has not|if|unless|whether|until|once|when|before|"
    r"after|who|what|how|why|"
    r"might|may|could|would|should|maybe|perhaps|almost|nearly|because|since|i think|i guess|as soon as|"
    r"want to|supposed to|need to)\b"
)
_ELSEWHEN = re.compile(
    r"\b(?:last (?:time|week|month|year|meeting|summer|spring|autumn|winter|night)|previous(?:ly)?|"
    r"yesterday|earlier meeting|"
    r"back then|years? ago|weeks? ago|months? ago|days? ago|in the past|used to|at the time|originally|"
    r"once upon)\b"
)
_OPPOSES = re.compile(
    rf"^{LEAD}(?:no$|no (?:no|wait|we|i|let us|that)|i (?:disagree|object|do not (?:agree|think)|"
    rf"am not (?:sure|happy|convinced))|wait|hold on|not so fast|"
    r"we (?:did not|have not|can not)|actually (?:no|i|let us|we)|are you sure|not yet|hang on|but we)\b"
)
_POINTER = re.compile(
    r"^(?:it|that|this|them|those|these|that one|this one|so|the same|then|one)(?: (?:then|now|okay|for now|"
    r"already|yesterday|today|before|earlier|last \w+|this morning|with (?:\w+ ?){1,4}))*$"
)
_PRIVATE = re.compile(
    r"\b(?:(?:decided|agreed|going|go) (?:to )?(?:go|fly|travel|drive|move) to (?!production|market|"
    r"the (?:next|customer|second|third))"
    r"|to (?:visit|stay|eat|sleep|marry|get married|camp|relax|watch)|walk|drink|flight|hotel|trip|beach"
    r"|by the (?:sea|lake)|rent (?:a|an|the) (?:\w+ )?(?:house|flat|cottage|boat|van|car))\b"
)
_MIN_WORDS = 2
_FAR_BACK = 5
"""Sentences between a proposal and what was made of it."""
_SHORTEST_MATTER = 5
"""Tokens: less than that proposes nothing."""


def find_decisions(talk: Conversation) -> list[ItemDraft]:
    """Explicit decisions, in order; undone ones and those of other meetings are left out."""
    found: list[ItemDraft] = []
    for sentence in talk.sentences:
        for draft in _in_sentence(talk, sentence):
            if found and set(found[-1].evidence) & set(draft.evidence):
                both = tuple(dict.fromkeys([*found[-1].evidence, *draft.evidence]))
                found[-1] = replace(found[-1], evidence=both)
            else:
                found.append(draft)
    return found


def _in_sentence(talk: Conversation, sentence: Sentence) -> Iterator[ItemDraft]:
    normal = sentence.normal
    if clauses.is_private(normal) or _PRIVATE.search(normal):
        return
    marker = _MARKER.match(normal)
    if marker is not None and sentence.tokens[sentence.span(marker)[1] - 1].comma and not sentence.question:
        yield _draft(talk, sentence, sentence.span(marker)[1])
    elif _SETTLES.match(normal) and not sentence.question:
        yield from _agreed(talk, sentence)
    else:
        yield from _stated(talk, sentence)


def _stated(talk: Conversation, sentence: Sentence) -> Iterator[ItemDraft]:
    match = (
        _EXPLICIT.search(sentence.normal)
        or _FINAL.search(sentence.normal)
        or _dated(sentence)
        or _agreed_upon(talk, sentence)
        or _concluded(talk, sentence)
    )
    if match is None or (sentence.question and not _is_tag_question(sentence)):
        return
    cue, after = sentence.span(match)
    if _UNDECIDED.search(_close_before(sentence, cue)) or _is_opposed(talk, sentence):
        return
    if clauses.is_reported(sentence, cue) or clauses.is_hypothetical(sentence, cue, len(sentence.tokens)):
        return
    end = clauses.clause_end(sentence, after - 1, talk.people, asks=True)
    matter = sentence.normal_of(after, end)
    if _POINTER.match(matter) or not matter:
        yield from _pointing(talk, sentence, cue, end)
    elif _ELSEWHEN.search(sentence.normal) is None and len(matter.split()) >= _MIN_WORDS:
        yield _draft(talk, sentence, cue)


def _agreed_upon(talk: Conversation, sentence: Sentence) -> re.Match[str] | None:
    """`Let's move the release to the tenth of December` with a yes from somebody else."""
    match = _GOES.match(sentence.normal)
    if match is not None and any(agrees(reply) for reply in talk.replies(sentence, limit=1)):
        return match
    match = _LETS.search(sentence.normal)
    if match is None or find_due(sentence, sentence.span(match)[1], len(sentence.tokens)) is None:
        return None
    return match if any(agrees(reply) for reply in talk.replies(sentence, limit=1)) else None


def _concluded(talk: Conversation, sentence: Sentence) -> re.Match[str] | None:
    """`Shall we make her an offer?` `Yes.` `So we make an offer to her.`"""
    match = _CONCLUDES.match(sentence.normal)
    if match is None or not re.search(r"\b(?:so|then) ", match.group()):
        return None
    matter = content_words(sentence.normal)
    for before in talk.sentences[max(0, sentence.index - _FAR_BACK) : sentence.index]:
        if not _PROPOSES.match(before.normal) or not matter & content_words(before.normal):
            continue
        between = talk.sentences[before.index + 1 : sentence.index]
        if any(talk.is_other(before, reply) and agrees(reply) for reply in between):
            return match
    return None


def _dated(sentence: Sentence) -> re.Match[str] | None:
    """`We will ship on the third of June`: a plan with a day, said as settled."""
    match = _SHIPS.search(sentence.normal)
    if match is None:
        return None
    _, after = sentence.span(match)
    due = find_due(sentence, after, len(sentence.tokens))
    is_refusal = match["verb"].startswith("not ")
    return match if due is not None or is_refusal else None


def _close_before(sentence: Sentence, cue: int) -> str:
    """The words before the cue back to the last comma; `no, we decided …` is still a decision."""
    start = max([0, *(k + 1 for k in range(cue) if sentence.tokens[k].comma)])
    return sentence.normal_of(max(start, cue - 8), cue)


def _is_tag_question(sentence: Sentence) -> bool:
    return (
        sentence.tokens[-1].normal in {"okay", "right", "agreed", "yes", "yeah"} and len(sentence.tokens) > 4
    )


def _is_opposed(talk: Conversation, sentence: Sentence) -> bool:
    return any(
        _OPPOSES.match(other.normal)
        for other in talk.sentences[sentence.index + 1 : sentence.index + 3]
        if talk.is_other(sentence, other) or other.index == sentence.index + 1
    )


def _draft(talk: Conversation, sentence: Sentence, first: int) -> ItemDraft:
    end = clauses.clause_end(sentence, first, talk.people, asks=True)
    last = _whole_clause(sentence, first, end)
    start, stop = trim(sentence, first, last)
    return ItemDraft(
        sentence.index,
        closed(wording(sentence, start, stop)),
        talk.evidence((sentence, start, stop)),
    )


def _whole_clause(sentence: Sentence, first: int, end: int) -> int:
    """A short sentence is kept whole: a decision's reason belongs to it."""
    rest = len(sentence.tokens)
    return rest if rest - first <= 22 else max(end, min(rest, first + 6))


def _pointing(talk: Conversation, sentence: Sentence, cue: int, end: int) -> Iterator[ItemDraft]:
    """`Let's go with that`: the matter is what was said just before."""
    is_inside = _PROPOSES.match(sentence.normal) is not None and cue >= _SHORTEST_MATTER
    matter = sentence if is_inside else _matter_before(talk, sentence)
    if matter is None:
        return
    if _ELSEWHEN.search(sentence.normal) and not _PROPOSES.match(matter.normal):
        return
    first, last = trim(matter, 0, cue if is_inside else len(matter.tokens))
    text = f"{wording(matter, first, last)} — {wording(sentence, cue, end)}"
    yield ItemDraft(sentence.index, closed(text), talk.evidence(matter, sentence))


def _agreed(talk: Conversation, sentence: Sentence) -> Iterator[ItemDraft]:
    """`Agreed.` after a proposal of somebody else settles it."""
    for before in reversed(talk.sentences[max(0, sentence.index - 3) : sentence.index]):
        proposal = _PROPOSES.match(before.normal)
        asked = _ASKS_ASSENT.search(before.normal) if before.question else None
        if (proposal is None and asked is None) or clauses.is_private(before.normal):
            continue
        end = len(before.tokens) if asked is None else before.span(asked)[0]
        after = 0 if proposal is None else before.span(proposal)[1]
        if end - after < _MIN_WORDS + 1:
            return
        first, last = trim(before, 0, end)
        text = closed(wording(before, first, last), "?" if before.question and asked is None else ".")
        yield ItemDraft(
            before.index,
            f"{text} {closed(wording(sentence, 0, len(sentence.tokens)))}",
            talk.evidence(before, sentence),
        )
        return


def _matter_before(talk: Conversation, sentence: Sentence) -> Sentence | None:
    for before in reversed(talk.sentences[max(0, sentence.index - 2) : sentence.index]):
        if _SHORTEST_MATTER <= len(before.tokens) <= 30:
            return None if clauses.is_private(before.normal) or _ELSEWHEN.search(before.normal) else before
    return None
