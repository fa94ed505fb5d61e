"""Requests and needs, and the answers that make action items of them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from meeting_assistant.adapters.minutes_rules import clauses
from meeting_assistant.adapters.minutes_rules.clauses import Task, read_task
from meeting_assistant.adapters.minutes_rules.commitments import draft_of, is_firm, is_worth_a_note
from meeting_assistant.adapters.minutes_rules.conversation import (
    LEAD,
    Conversation,
    ItemDraft,
    agrees,
    refuses,
)
from meeting_assistant.adapters.minutes_rules.due_dates import DuePhrase, find_due, resolve
from meeting_assistant.adapters.minutes_rules.quotes import trim, wording
from meeting_assistant.adapters.minutes_rules.sentences import Sentence
from meeting_assistant.adapters.minutes_rules.vocabulary import ADVERBS, TASK, WORK_NOUN

_POLITE = r"(?:(?:please|maybe|also|possibly|then|both|all|perhaps|kindly) )*(?:be able to )?(?:please )?"
_ASK = re.compile(
    rf"(?<!\S)(?:(?:can|could|will) you|would you (?:please|be able to|be willing to|like to)|"
    rf"(?:i|we) (?:need|want|would like|would love) you to|is it possible for you to|"
    rf"(?P<instructed>you (?:will|are going to))) "
    rf"{_POLITE}{ADVERBS}{TASK}"
)
_ASK_OTHER = re.compile(rf"(?<!\S)(?:can|could|would|will|should) (?P<who>\S+) {_POLITE}{TASK}")
_SOMEBODY = r"(?:who|somebody|someone|anyone|anybody|one of us|one of you|any of you)"
_NEED = re.compile(
    rf"(?<!\S)(?:{_SOMEBODY} (?:\w+ )?(?:needs to|has to|should|can|could|will|is going to|wants to|"
    rf"would like to|must|would|"
    rf"might|ought to|takes care of)|we (?:still |also |really |then |do )?(?:need|have|ought|"
    rf"want) (?:(?:somebody|someone) )?to|we (?:should|must)|"
    rf"(?:can|could|would|will|should) {_SOMEBODY}|(?:i|we) need (?:somebody|someone) to) (?:still |"
    rf"also |really |please |then )*{TASK}"
)
_PASSIVE = re.compile(
    r"(?<!\S)(?:(?:still|also) )?(?:needs|has|need|have) to be \w+(?:ed|en|t|ne|wn|d)(?= |$)"
)
_TAKES = re.compile(
    rf"^{LEAD}(?:(?:i (?:will|can|could) (?:do|take|handle|own|take care of|look after|pick up|sort|"
    rf"manage|cover)"
    r"(?: (?:it|that|this|that one|this one|those|care of it|care of that|that on|the action))?|"
    r"leave (?:it|that) (?:to|with) me|"
    r"i am on it|i have got (?:it|this|that)|i got (?:it|this|that)|that is (?:mine|on me|for me)|"
    r"count on me|"
    r"put me down(?: for (?:it|that|this))?|(?:i am|i would be) happy to(?: do (?:it|that|this))?|"
    r"(?:i will|i can|me|i volunteer|mine)(?=$| please$| by | before | on | next | tomorrow| today|"
    r" this | then$)))(?= |$)"
)
_NAMED_TAKES = re.compile(
    r"(?:will|can|could|should|is going to) (?:do|take|handle|own|cover|take care of|look after)"
    r"(?: (?:it|that|this|that one|this one))?(?= |$)"
)
_SOFT = re.compile(
    rf"(?<!\S)(?:(?P<own>i (?:should|might|may|could|need to|have to|want to|would like to|must|can|"
    rf"ought to)|i will try (?:to|and)|let me)|"
    rf"we (?:could|might|may|should probably|should maybe)|(?:it would|it might|"
    rf"would it) be (?:\w+ )?(?:good|great|nice|useful|helpful|worth|better|"
    rf"ideal|wise) (?:to|if (?:we|you|somebody|someone) (?:could )?)|why do not (?:we|you|i)|"
    rf"how about (?:we|you)|do not forget to|"
    rf"remember to|let us|you (?:should|could|might|need to|have to|might want to)) {ADVERBS}(?:maybe |"
    rf"probably |also |just )*{TASK}"
)
_PROMISES = re.compile(r"\bi (?:will|can|am going to)\b")
_PROMISES_IT = re.compile(rf"^{LEAD}i (?:will|can) (?:\w+ ){{1,2}}(?:it|that|this|them|those)\b")
_LEAD_ONLY = re.compile(rf"^{LEAD}")
_ASKS_FOR_WORDS = re.compile(r"(?:clarify|confirm|answer|check|estimate|compare|summari[sz]e)$")
_LOOKS = re.compile(r"(?:look at|go over|read)$")
_BACKCHANNEL = re.compile(r"^(?:(?:yeah|yep|yup|okay|ok|right|mm|hmm|mm hmm|mhm|uh huh)(?: |$))+$")
"""Says that one listens: an answer only where somebody was called by name."""
_MOSTLY_NOW = re.compile(r"^(?:let me|let us|i can|i want|i would like|i have|i need|how about|you)\b")


def find_requests(talk: Conversation) -> list[ItemDraft]:
    """Requests: accepted ones are action items, refused ones nothing, unanswered ones weak."""
    found: list[ItemDraft] = []
    for sentence in talk.sentences:
        for pattern in (_ASK, _ASK_OTHER):
            match = pattern.search(sentence.normal)
            if match is not None and sentence.index not in talk.consumed:
                found.extend(_request(talk, sentence, match, is_you=pattern is _ASK))
                break
    return found


def find_needs(talk: Conversation) -> list[ItemDraft]:
    """Needs that somebody took on become action items; the others and softer cues stay weak."""
    found: list[ItemDraft] = []
    for sentence in talk.sentences:
        if sentence.index in talk.consumed:
            continue
        taken = _need(talk, sentence)
        found.extend(taken)
        if not taken:
            found.extend(_soft(talk, sentence))
    return found


def _request(
    talk: Conversation, sentence: Sentence, match: re.Match[str], *, is_you: bool
) -> Iterator[ItemDraft]:
    cue, _ = sentence.span(match)
    task = read_task(sentence, match, talk.people)
    if task.is_private or task.is_now or clauses.is_reported(sentence, cue):
        return
    owner = _called(talk, sentence, cue, task) if is_you else _subject(talk, sentence, match)
    if not is_you and owner is None:
        return
    if is_you and match["instructed"] and not _opens_sentence(sentence, cue):
        return
    if owner is None and _ASKS_FOR_WORDS.match(match["task"]) and not task.due:
        return
    if " or " in sentence.normal_of(task.first, task.end):
        return
    for reply in talk.replies(sentence):
        if refuses(reply):
            return
        if owner is None and _BACKCHANNEL.match(reply.normal):
            break
        if agrees(reply) or _TAKES.match(reply.normal):
            if is_firm(task) and not clauses.is_hypothetical(sentence, cue, task.end):
                yield _accepted(talk, sentence, task, reply, owner)
            return
        if not reply.question:
            break
    if is_worth_a_note(task) and (task.is_desk_verb or task.due) and (owner or sentence.question):
        yield draft_of(talk, sentence, task, owner, "weak", 2.0)


def _opens_sentence(sentence: Sentence, cue: int) -> bool:
    """Return True when only light words precede the cue: `so you will …`, not `then where you will …`."""
    return not _LEAD_ONLY.sub("", sentence.normal_of(0, cue) + " ").strip()


def _called(talk: Conversation, sentence: Sentence, cue: int, task: Task) -> str | None:
    """The name that is called out: before the request, after `can you`, at the end, or just before alone."""
    for k in range(max(0, cue - 3), cue):
        named = talk.people.at(sentence, k)
        if named and (named[1] == cue or sentence.tokens[named[1] - 1].comma):
            return named[0]
    for k in range(max(task.first + 1, len(sentence.tokens) - 2), len(sentence.tokens)):
        named = talk.people.at(sentence, k)
        if named and named[1] == len(sentence.tokens) and sentence.tokens[k - 1].comma:
            return named[0]
    if sentence.index > 0 and cue <= 1:
        before = talk.sentences[sentence.index - 1]
        if before.speaker == sentence.speaker and len(before.tokens) <= 2:
            named = talk.people.at(before, len(before.tokens) - 1)
            return named[0] if named else None
    return None


def _subject(talk: Conversation, sentence: Sentence, match: re.Match[str]) -> str | None:
    first, _ = sentence.span(match, "who")
    named = talk.people.at(sentence, first)
    return named[0] if named else None


def _accepted(
    talk: Conversation, sentence: Sentence, task: Task, reply: Sentence, owner: str | None
) -> ItemDraft:
    if reply.speaker is not None and (owner is None or _PROMISES.search(reply.normal)):
        owner = reply.speaker
    draft = draft_of(talk, sentence, task, owner, "verified")
    answer = [reply]
    for following in talk.sentences[reply.index + 1 : reply.index + 3]:
        if following.speaker != reply.speaker or talk.is_other(reply, following):
            break
        answer.append(following)
    due: tuple[Sentence, DuePhrase] | None = None
    for part in answer:
        if _repeats(talk, part):
            talk.consumed.add(part.index)
        found = find_due(part, 0, len(part.tokens))
        if (
            found is not None
            and due is None
            and (part is reply or part.index in talk.consumed or _is_short(part))
        ):
            due = (part, found)
    talk.consumed.add(sentence.index)
    cited = [reply] if due is None or due[0] is reply else [reply, due[0]]
    draft = replace(draft, evidence=tuple(dict.fromkeys([*draft.evidence, *talk.evidence(*cited)])))
    return draft if due is None or draft.due_phrase else _with_due(talk, draft, *due)


def _is_short(part: Sentence) -> bool:
    return len(part.tokens) <= 6


def _repeats(talk: Conversation, part: Sentence) -> bool:
    """`I'll do it by Friday`: the matter is the one just asked for."""
    return bool(_TAKES.match(part.normal) or _PROMISES_IT.match(part.normal)) or len(part.tokens) <= 3


def _with_due(talk: Conversation, draft: ItemDraft, part: Sentence, due: DuePhrase) -> ItemDraft:
    phrase = " ".join(text for _, text in part.pieces(due.first, due.end)).rstrip(".,!?;… ")
    return replace(draft, due_phrase=phrase, due=resolve(due.normal, talk.meeting_date))


def _need(talk: Conversation, sentence: Sentence) -> list[ItemDraft]:
    match = _NEED.search(sentence.normal) or _PASSIVE.search(sentence.normal)
    if match is None:
        return []
    cue, _ = sentence.span(match)
    if clauses.is_reported(sentence, cue) or clauses.is_private(sentence.normal):
        return []
    if match.re is _NEED:
        task = read_task(sentence, match, talk.people)
        if task.is_now or task.is_private:
            return []
        draft = draft_of(talk, sentence, task, None, "weak", 1.0)
        looks = task.is_spoken_verb and task.is_work and task.has_object and _LOOKS.match(match["task"])
        worth = bool(looks) or (is_worth_a_note(task) and (task.is_errand or task.due is not None))
        firm = is_firm(task)
    else:
        draft = _passive(talk, sentence, cue)
        worth = draft.due is not None
        firm = WORK_NOUN.search(sentence.normal) is not None
    taker = _taker(talk, sentence) if firm else None
    if taker is None:
        return [draft] if worth else []
    return [_taken_on(talk, sentence, draft, *taker)]


def _taken_on(
    talk: Conversation, sentence: Sentence, draft: ItemDraft, owner: str | None, reply: Sentence
) -> ItemDraft:
    talk.consumed.update((sentence.index, reply.index))
    evidence = tuple(dict.fromkeys([*draft.evidence, *talk.evidence(reply)]))
    taken = replace(draft, owner=owner, support="verified", evidence=evidence)
    due = find_due(reply, 0, len(reply.tokens))
    return taken if due is None or taken.due_phrase else _with_due(talk, taken, reply, due)


def _passive(talk: Conversation, sentence: Sentence, cue: int) -> ItemDraft:
    """`The price list needs to be updated`: kept whole, subject and all."""
    start = max([0, *(k + 1 for k in range(cue) if sentence.tokens[k].comma)])
    end = clauses.clause_end(sentence, cue, talk.people)
    due = find_due(sentence, start, end)
    start, end = trim(sentence, start, end)
    text = wording(sentence, start, end, leave_out=[(due.first, due.end)] if due else [])
    draft = ItemDraft(sentence.index, text, talk.evidence((sentence, start, end)), "weak", weight=0.5)
    return _with_due(talk, draft, sentence, due) if due else draft


def _taker(talk: Conversation, sentence: Sentence) -> tuple[str | None, Sentence] | None:
    """Return the taker of a task, and the reply that shows it, from the next three sentences.

    Such replies are `I'll do it` and `Ben can take that`. None without one.
    """
    for reply in talk.sentences[sentence.index + 1 : sentence.index + 4]:
        if talk.is_called_off(reply):
            continue
        if _TAKES.match(reply.normal) and not reply.question:
            return reply.speaker, reply
        for k in range(min(4, len(reply.tokens))):
            named = talk.people.at(reply, k)
            if named and _NAMED_TAKES.match(reply.normal_from(named[1])) and not reply.question:
                return named[0], reply
    return None


def _soft(talk: Conversation, sentence: Sentence) -> Iterator[ItemDraft]:
    match = _SOFT.search(sentence.normal)
    if match is None:
        return
    cue, _ = sentence.span(match)
    task = read_task(sentence, match, talk.people)
    if clauses.is_reported(sentence, cue) or not is_worth_a_note(task) or clauses.is_private(sentence.normal):
        return
    needs_day = _MOSTLY_NOW.match(match.group()) is not None or not task.is_errand
    is_noteworthy = task.is_desk_verb or task.is_work
    if (task.due is not None and is_noteworthy) or (not needs_day and task.has_object):
        owner = sentence.speaker if match["own"] else None
        yield draft_of(talk, sentence, task, owner, "weak", 1.5 if owner else 0.5)
