"""Sentences and tokens that remember where in the transcript they stand.

Rules match on `Sentence.normal`: lower case, contractions written out, hesitations left out, no punctuation.
Quotes are cut from the utterance by the offsets of the tokens, so they are verbatim by construction.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

from meeting_assistant.domain.transcript import Utterance

_T = TypeVar("_T")

_PUNCTUATION = "\\s!-/:-@\\[-`{-~¡-©«-±´·»¿‐-‧‰-⁞、-〿؟،؛।！-／：-＠［-｀｛-･"  # noqa: RUF001
_WORD = f"[^{_PUNCTUATION}]"
_TOKEN = re.compile(rf"\d+(?:[.,:]\d+)+|{_WORD}+(?:['’-]{_WORD}+)*")  # noqa: RUF001
_SENTENCE_END = re.compile(r"[.!?…]+[\"'”’)\]]*(?=\s|$)|[。！？]+")  # noqa: RUF001
_QUESTION_MARKS = "?？؟"  # noqa: RUF001
_ABBREVIATIONS = frozenset("mr mrs ms dr prof st vs eg approx".split())

_HESITATIONS = frozenset("uh uhm um umm er erm hmm hm mm mhm mmm ah eh em mm-hmm uh-huh m-hm".split())
_FILLER_PAIRS = {("you", "know"), ("i", "mean")}

_SPELT_OUT = {
    "i'm": "i am", "won't": "will not", "can't": "can not", "cannot": "can not", "shan't": "shall not",
    "let's": "let us", "gonna": "going to", "gotta": "got to", "wanna": "want to", "ok": "okay",
    "e-mail": "email", "e-mails": "emails", "im": "i am", "dont": "do not", "cant": "can not",
    "wont": "will not", "didnt": "did not", "doesnt": "does not", "isnt": "is not", "havent": "have not",
    "hasnt": "has not", "lets": "let us", "thats": "that is", "youre": "you are", "theyre": "they are",
    "ll": "will", "alright": "all right", "yep": "yes", "yup": "yes",
}  # fmt: skip
_SUFFIX_WORDS = {"ll": "will", "s": "'s"}
_SUFFIXES = (("n't", " not"), ("'re", " are"), ("'ve", " have"), ("'d", " would"))
_IS_WORDS = frozenset("it that this he she there here what who where when how everything nothing one".split())

_DANGLING = frozenset(
    "a an the to of for with by and or but my our your their his i will shall we from into about at on in"
    " because until before after than going".split()
)
_CONTINUATION = re.compile(r"(?:by|before|until|to(?! be\b)|with|no later than|next|at the end of) ")
_ANSWERS = frozenset("yes yeah no okay right sure thanks well exactly true good great oh all".split())
_MAX_JOINED = 60
_MAX_CONTINUATION = 6


@dataclass(frozen=True, slots=True)
class Token:
    """A word of one utterance."""

    utterance: int
    """Position of the utterance in the transcript's list."""
    start: int
    end: int
    """Character offsets in its text."""
    normal: str
    """What rules match on; may be several words (`i will`)."""
    comma: bool
    """True when a comma, colon, semicolon or dash follows."""


class Sentence:
    """A run of tokens by one speaker, usually one sentence; may go on over two utterances."""

    def __init__(self, tokens: Sequence[Token], *, speaker: str | None, question: bool, texts: Sequence[str]):
        self.tokens = tuple(tokens)
        self.speaker = speaker
        self.question = question
        """It ends in a question mark."""
        self._texts = texts
        self.index = -1
        """Position among the sentences of the meeting."""

    @cached_property
    def normal(self) -> str:
        """The normalised words, single spaces between them."""
        return " ".join(token.normal for token in self.tokens)

    @cached_property
    def _offsets(self) -> list[int]:
        offsets, at = [], 0
        for token in self.tokens:
            offsets.append(at)
            at += len(token.normal) + 1
        return offsets

    def token_at(self, offset: int) -> int:
        """Index of the token that holds this offset of `normal`."""
        return max(0, bisect_right(self._offsets, offset) - 1)

    def span(self, match: re.Match[str], group: int | str = 0) -> tuple[int, int]:
        """The tokens that a match on `normal` covers, as a half-open range."""
        start, end = match.span(group)
        first = self.token_at(start)
        return first, max(first, bisect_left(self._offsets, end))

    def normal_from(self, token: int) -> str:
        """The normalised words from this token on."""
        return self.normal[self._offsets[token] :] if token < len(self.tokens) else ""

    def normal_of(self, first: int, end: int) -> str:
        """The normalised words of a range of tokens."""
        return " ".join(token.normal for token in self.tokens[first:end])

    def word(self, token: int) -> str:
        """The word as it is written."""
        t = self.tokens[token]
        return self._texts[t.utterance][t.start : t.end]

    def between(self, token: int) -> str:
        """Return the text between this token and the next one of the same utterance, else a space."""
        a, b = self.tokens[token], self.tokens[token + 1]
        return self._texts[a.utterance][a.end : b.start] if a.utterance == b.utterance else " "

    def pieces(self, first: int = 0, end: int | None = None) -> list[tuple[int, str]]:
        """The verbatim text of a range of tokens: (position of the utterance, text), one per utterance."""
        found: list[tuple[int, str]] = []
        chosen = self.tokens[first : len(self.tokens) if end is None else end]
        for position in dict.fromkeys(token.utterance for token in chosen):
            inside = [token for token in chosen if token.utterance == position]
            text = self._texts[position]
            stop = inside[-1].end
            closing = _SENTENCE_END.match(text, stop)
            found.append((position, text[inside[0].start : closing.end() if closing else stop]))
        return found

    @property
    def utterances(self) -> frozenset[int]:
        """Positions of the utterances that it touches."""
        return frozenset(token.utterance for token in self.tokens)


def normalise(word: str) -> str:
    """Return one written word in the form that the rules match."""
    plain = word.replace("’", "'").casefold()  # noqa: RUF001
    if plain in _SPELT_OUT:
        return _SPELT_OUT[plain]
    for suffix, long in _SUFFIXES:
        if plain.endswith(suffix) and len(plain) > len(suffix):
            return plain[: -len(suffix)] + long
    if plain.endswith("'s") and plain[:-2] in _IS_WORDS:
        return f"{plain[:-2]} is"
    return plain.replace("-", " ")


def split_sentences(utterances: Sequence[Utterance]) -> list[Sentence]:
    """All sentences of the transcript, in order.

    Recognisers set full stops where a speaker pauses and cut sentences at endpoints. A sentence that stops at
    a dangling word, or is followed by a fragment such as `By Friday.`, is joined with what the same speaker
    says next.
    """
    texts = [u.text for u in utterances]
    is_punctuated = _is_punctuated(texts)
    sentences: list[Sentence] = []
    for position, utterance in enumerate(utterances):
        for sentence in _split_utterance(position, utterance, texts):
            at = _last_of_speaker(sentences, utterance.speaker)
            if at is not None and _goes_on(sentences[at], sentence, is_punctuated=is_punctuated):
                sentences[at] = _joined(sentences[at], sentence, texts)
            else:
                sentences.append(sentence)
    for index, sentence in enumerate(sentences):
        sentence.index = index
    return sentences


def tokenise(text: str, position: int = 0) -> list[Token]:
    """The tokens of a text, hesitations left out."""
    matches = [m for m in _TOKEN.finditer(text) if m.group().casefold().strip("-") not in _HESITATIONS]
    tokens = []
    for match, following in _with_next(matches):
        comma = _holds_comma(text[match.end() : following.start() if following else len(text)])
        start, end = match.span()
        cut = end - _suffix_length(match.group())
        if cut < end:
            tokens.append(Token(position, start, cut, normalise(text[start:cut]), comma=False))
            tokens.append(Token(position, cut, end, _SUFFIX_WORDS[text[cut + 1 : end].casefold()], comma))
        else:
            tokens.append(Token(position, start, end, normalise(match.group()), comma))
    return tokens


def _suffix_length(word: str) -> int:
    """Return the length of a suffix that is a word of its own, in characters; 0 without one.

    Such suffixes are `'ll`, and `'s` after a noun: `Ana'll` is a name and a verb.
    """
    head, mark, tail = word.replace("’", "'").rpartition("'")  # noqa: RUF001
    if not mark or not head or tail.casefold() not in _SUFFIX_WORDS:
        return 0
    if tail.casefold() == "s" and (head.casefold() in _IS_WORDS or head.casefold() == "let"):
        return 0
    return len(tail) + 1


def _with_next(items: Sequence[_T]) -> Iterator[tuple[_T, _T | None]]:
    for k, item in enumerate(items):
        yield item, items[k + 1] if k + 1 < len(items) else None


def _holds_comma(gap: str) -> bool:
    return any(mark in gap for mark in ",;:–—") or " - " in gap  # noqa: RUF001


def _split_utterance(position: int, utterance: Utterance, texts: Sequence[str]) -> Iterable[Sentence]:
    tokens = tokenise(utterance.text, position)
    run: list[Token] = []
    for token, following in _with_next(tokens):
        run.append(token)
        gap = utterance.text[token.end : following.start if following else len(utterance.text)]
        if following is None or _ends_here(token, gap):
            kept = _without_filler_pairs(run)
            if kept:
                yield Sentence(
                    kept,
                    speaker=utterance.speaker,
                    question=any(mark in gap for mark in _QUESTION_MARKS),
                    texts=texts,
                )
            run = []


def _ends_here(token: Token, gap: str) -> bool:
    if not _SENTENCE_END.search(gap):
        return False
    if "?" in gap or "!" in gap:
        return True
    is_initial = len(token.normal) == 1 and token.normal.isascii() and token.normal.isalpha()
    return token.normal not in _ABBREVIATIONS and not (is_initial and token.normal != "i")


def _without_filler_pairs(run: list[Token]) -> list[Token]:
    kept: list[Token] = []
    skip = False
    for k, token in enumerate(run):
        if skip:
            skip = False
            continue
        following = run[k + 1] if k + 1 < len(run) else None
        if following and (token.normal, following.normal) in _FILLER_PAIRS:
            set_off = (not kept or kept[-1].comma) and (following.comma or k + 2 == len(run))
            if set_off or (not kept and following.comma):
                skip = True
                continue
        kept.append(token)
    return kept


def _is_punctuated(texts: Sequence[str]) -> bool:
    spoken = [t.rstrip() for t in texts if t.strip()]
    ended = sum(1 for t in spoken if t[-1] in ".!?…\"'”")
    return ended >= 0.6 * len(spoken)


def _last_of_speaker(sentences: Sequence[Sentence], speaker: str | None) -> int | None:
    """Return the index of the newest sentence when it is of this speaker, else None.

    Up to two sentences of others after it, of at most two words each, do not count.
    """
    for at in range(len(sentences) - 1, max(-1, len(sentences) - 4), -1):
        if sentences[at].speaker == speaker:
            return at
        if len(sentences[at].tokens) > 2:
            return None
    return None


def _joined(before: Sentence, sentence: Sentence, texts: Sequence[str]) -> Sentence:
    return Sentence(
        [*before.tokens, *sentence.tokens], speaker=before.speaker, question=sentence.question, texts=texts
    )


def _goes_on(before: Sentence, sentence: Sentence, *, is_punctuated: bool) -> bool:
    if before.question or len(before.tokens) + len(sentence.tokens) > _MAX_JOINED:
        return False
    if sentence.tokens[0].utterance - before.tokens[-1].utterance > 2:
        return False
    last = before.tokens[-1]
    if last.normal.rsplit(" ", 1)[-1] in _DANGLING and len(before.tokens) > 1:
        return sentence.tokens[0].normal not in _ANSWERS
    is_fragment = len(sentence.tokens) <= _MAX_CONTINUATION and not sentence.question
    if is_fragment and len(before.tokens) > 2 and _CONTINUATION.match(sentence.normal + " "):
        return True
    crosses = sentence.tokens[0].utterance != last.utterance
    text = before.pieces(len(before.tokens) - 1)[-1][1]
    first = sentence.word(0)
    return crosses and is_punctuated and text[-1:] not in ".!?…" and first[:1].islower()
