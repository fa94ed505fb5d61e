"""Does the transcript carry what a language model wrote? Pure.

A quote has to stand in the lines that are cited, nearly word for word (a threshold of 78 accepted all exact quotes,
most lightly edited ones and none from other places in trials on real meetings); numbers, days and names of an item have
to stand there exactly, and what was denied may not be claimed. What is kept as the quote is what was said, not what the
model copied. Minutes in another language than was spoken share only numbers, days, names and lines with it.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from rapidfuzz import fuzz

from meeting_assistant.domain.minutes import Evidence
from meeting_assistant.domain.transcript import Transcript, Utterance
from meeting_assistant.services.minutes.evidence.facts import facts_of, stands_in, tokens_of
from meeting_assistant.services.minutes.evidence.names import names_in, stem_of
from meeting_assistant.services.minutes.evidence.negation import clauses_around, contradicts, sentences_of

NEARLY_SAID = 78.0
CERTAINLY_SAID = 92.0
"""From here on a quote is found even where other lines were cited."""
_MIN_QUOTE = 8
_WORD = re.compile(r"[\w'\u2019-]+")
_TO_THE_MODEL = re.compile(
    r"\b(ignore|disregard|forget|override|do not follow)\b.{0,40}\b(instructions?|prompts?|rules|guidelines)\b"
    r"|\b(ignorier\w*|vergiss\w*|missachte\w*)\b.{0,40}\b(anweisung\w*|regeln)\b"
    r"|\b(ignore[zr]?|oublie[zr]?)\b.{0,40}\b(instructions|consignes|r\u00e8gles)\b"
    r"|\b(ignora|ignore|olvida)\b.{0,40}\b(instrucciones|reglas)\b"
    r"|\bsystem (prompt|message|override)\b|^\W*(system|assistant)\s*:"
    r"|\byou are now\b.{0,40}\b(ai|assistant|model|dan)\b"
    r"|\b(ai|language model)\b.{0,30}\b(must|should|please)\b.{0,40}\b(write|add|output|post|put|say|send)\b",
    re.IGNORECASE,
)
"""What is said to whoever writes the minutes is no matter of the meeting: it carries nothing."""
_WRITES_WITHOUT_SPACES = re.compile(r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u9fff]")


_LONGEST_TOPIC = 80
_SHORT_WORD = 3
_CHANGES_A_DAY = frozenset(
    {
        *("next", "last", "not", "before", "after", "since"),
        *("n\u00e4chsten", "letzten", "nicht", "vor", "nach", "seit"),
    }
)
_NOBODY = frozenset(
    """
    i we you he she they it me us him her them who whoever somebody someone everybody everyone anybody anyone nobody all
    both each others one team people folks guys the a an this that these those someone's no none unknown unassigned
    ich wir du er sie es ihr man jemand jeder alle niemand das der die
    je nous tu il elle on vous ils elles tous chacun quelqu'un personne le la les
    yo nosotros t\u00fa \u00e9l ella ellos ellas usted ustedes todos alguien nadie el los las
    """.split()
)
"""Words that stand for whoever is meant: no names."""
_SPOKEN_TO = re.compile(
    r"\s*[,!]|\s+(?:will|would|can|could|should|shall|must|is|has|does|did|said|wants|needs|takes|please|to|and|"
    r"wird|soll|kann|muss|macht|hat|ist|bitte|und|va|doit|peut|est|a|et|tiene|puede|debe|va|y)\b|['\u2019](?:ll|s|d)\b",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Grounded:
    """The support that an item has in the transcript."""

    evidence: tuple[Evidence, ...]
    """Empty: nothing of it, it must not be shown."""
    is_exact: bool
    """False: the quote stands there, but a number or a name of the item does not."""


class Grounding:
    """The transcript of one meeting, to hold items against."""

    def __init__(
        self,
        transcript: Transcript,
        names: Collection[str] = (),
        *,
        spoken: str = "en",
        written: str | None = None,
    ) -> None:
        """`names`: of people who may be mentioned although nobody said their name. `spoken` and `written`: languages of
        the transcript and of the items (None: the same)."""
        self._spoken = spoken.partition("-")[0].lower()
        self._written = (written or spoken).partition("-")[0].lower()
        self._utterances: Mapping[int, Utterance] = {
            u.utterance: u for u in transcript.utterances if not _TO_THE_MODEL.search(u.text)
        }
        self._order = list(self._utterances)
        self._names = {word.casefold() for name in names for word in _WORD.findall(name)}
        speakers = {transcript.speaker_name(u.speaker) for u in transcript.utterances}
        self._names |= {word.casefold() for name in speakers for word in _WORD.findall(name)}
        self._lower = {
            word
            for u in self._utterances.values()
            for word in _WORD.findall(u.text)
            if not word[:1].isupper()
        }

    def check(self, text: str, lines: Sequence[int], quote: str, *, is_claim: bool = True) -> Grounded:
        """Hold one item against the lines that it cites. `is_claim`: False for a question, which denies nothing."""
        found = self._locate(quote, [line for line in lines if line in self._utterances])
        if found is None:
            return Grounded((), is_exact=False)
        cited = " ".join(
            self._utterances[n].text
            for n in dict.fromkeys((*(e.utterance for e in found), *lines))
            if n in self._utterances
        )
        if is_claim and self._is_denied(text, found):
            return Grounded((), is_exact=False)
        return Grounded(found, is_exact=self._carries(text, cited))

    def check_point(self, text: str, lines: Sequence[int]) -> Grounded:
        """Check a point of the summary, which has no quote: its lines hold its numbers, names and most words."""
        known = [line for line in dict.fromkeys(lines) if line in self._utterances]
        cited = " ".join(self._utterances[line].text for line in known)
        if not known:
            return Grounded((), is_exact=False)
        if self._spoken == self._written and fuzz.token_set_ratio(plain(text), plain(cited)) < 45:
            return Grounded((), is_exact=False)
        evidence = tuple(Evidence(utterance=line, quote=self._utterances[line].text) for line in known[:3])
        return Grounded(evidence, is_exact=self._carries(text, cited) and not self._opposes(text, known))

    def carries_topic(self, topic: str, lines: Collection[int]) -> bool:
        """Return True when these lines hold what a topic says, which has neither lines nor a quote of its own."""
        cited = " ".join(self._utterances[line].text for line in lines if line in self._utterances)
        if not cited or len(topic) > _LONGEST_TOPIC or not self._carries(topic, cited, is_title=True):
            return False
        if self._spoken != self._written:
            return True
        if _WRITES_WITHOUT_SPACES.search(topic):
            return fuzz.partial_ratio(plain(topic), plain(cited)) >= NEARLY_SAID
        stems = {stem_of(word) for word in plain(cited).split()}
        words = [word for word in plain(topic).split() if len(word) > _SHORT_WORD or word.isupper()]
        known = sum(stem_of(word) in stems for word in words)
        return known >= len(words) - known if words else plain(topic) in plain(cited)

    def is_quoted(self, phrase: str, lines: Sequence[int]) -> bool:
        """Return True when exactly these words, numbers in words or digits, stand in one of the lines."""
        wanted = tokens_of(phrase, self._spoken)
        for line in dict.fromkeys(lines):
            tokens = tokens_of(self._utterances[line].text, self._spoken) if line in self._utterances else []
            at = stands_in(wanted, tokens) if wanted else None
            # `next Friday` is another day than `Friday`, and `not before Friday` is none.
            if at is not None and not (at > 0 and tokens[at - 1] in _CHANGES_A_DAY):
                return True
        return False

    def _is_denied(self, text: str, found: Sequence[Evidence]) -> bool:
        """Return True when the lines say the opposite."""
        around = []
        for evidence in found:
            spoken_text = self._utterances[evidence.utterance].text
            first = max(0, spoken_text.find(evidence.quote))
            around.append(clauses_around(spoken_text, first, first + len(evidence.quote)))
        spoken_text = " ".join(around)
        return bool(spoken_text and text) and contradicts(text, self._written, spoken_text, self._spoken)

    def _opposes(self, text: str, lines: Sequence[int]) -> bool:
        """Return True when the sentence that says most of it says the opposite."""
        sentences = [sentence for line in lines for sentence in sentences_of(self._utterances[line].text)]
        if self._spoken != self._written and len(sentences) > 1:
            return False
        best = max(
            sentences, key=lambda sentence: fuzz.token_set_ratio(plain(text), plain(sentence)), default=""
        )
        return not best.endswith("?") and contradicts(text, self._written, best, self._spoken)

    def _locate(self, quote: str, lines: Sequence[int]) -> tuple[Evidence, ...] | None:
        wanted = plain(quote)
        if len(wanted) < _MIN_QUOTE and wanted not in {plain(self._utterances[line].text) for line in lines}:
            return None
        near = dict.fromkeys(n for line in lines for n in self._around(line))
        best = max(((self._score(wanted, n), -i, n) for i, n in enumerate(near)), default=None)
        if best is not None and best[0] >= NEARLY_SAID:
            return (self._evidence(wanted, best[2]),)
        joined = self._across(wanted, lines)
        if joined is not None:
            return joined
        best = max(((self._score(wanted, n), -i, n) for i, n in enumerate(self._order)), default=None)
        if best is not None and best[0] >= CERTAINLY_SAID and len(wanted) >= 2 * _MIN_QUOTE:
            return (self._evidence(wanted, best[2]),)
        return None

    def _across(self, wanted: str, lines: Sequence[int]) -> tuple[Evidence, ...] | None:
        """Return the evidence for a quote that runs over two lines."""
        for first, second in pairwise(lines):
            both = plain(f"{self._utterances[first].text} {self._utterances[second].text}")
            if fuzz.partial_ratio(wanted, both) >= NEARLY_SAID:
                return tuple(Evidence(utterance=n, quote=self._utterances[n].text) for n in (first, second))
        return None

    def _around(self, line: int) -> list[int]:
        at = self._order.index(line)
        return [line, *self._order[max(0, at - 1) : at], *self._order[at + 1 : at + 2]]

    def _score(self, wanted: str, line: int) -> float:
        spoken_text = plain(self._utterances[line].text)
        # A quote longer than the line can hold only part of it: the shorter one must not win by being short.
        if len(spoken_text) < 0.6 * len(wanted):
            return 0.0
        return float(fuzz.partial_ratio(wanted, spoken_text))

    def _evidence(self, wanted: str, line: int) -> Evidence:
        """Return the whole words of a line that carry the quote, as they stand in the transcript."""
        text = self._utterances[line].text
        words = list(_WORD.finditer(text))
        spoken = [plain(word.group()) for word in words]
        spoken_text = " ".join(spoken)
        alignment = fuzz.partial_ratio_alignment(wanted, spoken_text)
        if alignment is None or not words:
            return Evidence(utterance=line, quote=text)
        position, first, last = 0, None, 0
        for index, word in enumerate(spoken):
            if position < alignment.dest_end and position + len(word) > alignment.dest_start:
                first = index if first is None else first
                last = index
            position += len(word) + 1
        if first is None:
            return Evidence(utterance=line, quote=text)
        return Evidence(utterance=line, quote=text[words[first].start() : words[last].end()])

    def _carries(self, text: str, cited: str, *, is_title: bool = False) -> bool:
        """Return True when every number, day and name of the item is said there, or names a participant."""
        stated = facts_of(cited, self._spoken, is_claim=False).stated_facts
        if facts_of(text, self._written, is_claim=True).missing_in(stated):
            return False
        spoken_forms = {part for word in _WORD.findall(cited) for part in _forms(word)}
        for name in names_in(text, self._written, self._lower | spoken_forms):
            if (
                name in spoken_forms
                or name in self._names
                or all(part in spoken_forms for part in re.split("[-'\u2019]", name))
            ):
                continue
            days = facts_of(name, self._written, is_claim=False)
            if days.days or days.runs:
                continue  # a month or a day: held against what was said above
            if not (is_title and stem_of(name) in {stem_of(word) for word in spoken_forms}):
                return False
        return True


def _forms(word: str) -> list[str]:
    lower = word.casefold()
    return [lower, lower.removesuffix("'s").removesuffix("\u2019s"), *re.split("[-'\u2019]", lower)]


def plain(text: str) -> str:
    """Return the words of a text in lower case, without punctuation."""
    return " ".join(_WORD.findall(unicodedata.normalize("NFKC", text).casefold()))


def owner_of(owner: str, transcript: Transcript, attendees: Collection[str]) -> str | None:
    """Return a speaker's label, an attendee's name or a name that was literally said; else None."""
    wanted = plain(owner)
    if not wanted:
        return None
    for speaker in transcript.speakers:
        if wanted in (plain(speaker.label), plain(transcript.speaker_name(speaker.label))):
            return speaker.label
    for name in attendees:
        if wanted == plain(name) or wanted in plain(name).split():
            return name
    if wanted.split()[0] in _NOBODY:
        return None
    words = r"\s+".join(map(re.escape, wanted.split()))
    named = re.compile(rf"(?<!\w){words}(?!\w)", re.IGNORECASE)
    for utterance in transcript.utterances:
        for match in named.finditer(unicodedata.normalize("NFC", utterance.text)):
            called = match[0].split()
            if all(word[:1].isupper() for word in called) and _is_somebody(match):
                return " ".join(called)
    return None


def _is_somebody(match: re.Match[str]) -> bool:
    """Return True when a word names a person: within a sentence by its capital, at its beginning by its role."""
    text = match.string
    before = text[: match.start()].rstrip()
    if before and before[-1] not in ".!?:\u2026":
        return True
    return bool(_SPOKEN_TO.match(text[match.end() :]))
