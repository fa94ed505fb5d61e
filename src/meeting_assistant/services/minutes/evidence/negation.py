"""Does a clause say that something is not so? Pure. Tables of few words, for the languages that have one."""

from __future__ import annotations

import re

_STRICT = {
    "en": r"not|never|no|none|nobody|nothing|neither|nor|without|cannot|\w+n't",
    "de": r"nicht|nie|niemals|kein\w*|nichts|niemand|weder|ohne",
    "fr": r"ne|n'\w+|pas|jamais|aucun\w*|rien|personne|sans",
    "es": r"no|nunca|jamás|ningún|ninguna?|nada|nadie|tampoco|sin",
}
_ALSO = {
    "en": r"cancel\w*|stop\w*|avoid\w*|drop\w*|reject\w*|refus\w*|abandon\w*|against|lack\w*|fail\w*|prevent\w*|"
    r"unable|postpon\w*|delay\w*|skip\w*|declin\w*|remov\w*|exclud\w*|omit\w*|forgo|withdraw\w*|instead|"
    r"leave|leaves|left|keep\w*|hold|ban\w*|oppos\w*|rule[sd]? out|un\w{4,}",
    "de": r"absag\w*|abgesagt|stopp\w*|vermeid\w*|verzicht\w*|lehn\w*|abgelehnt|gegen|verschieb\w*|verschoben|"
    r"streich\w*|gestrichen|statt|un\w{4,}",
    "fr": r"annul\w*|arrêt\w*|évit\w*|refus\w*|rejet\w*|report\w*|contre|renonc\w*",
    "es": r"cancel\w*|deten\w*|evit\w*|rechaz\w*|contra|renunci\w*|pospon\w*|aplaz\w*",
}
"""Words that say it in another way: they answer a negation, and are none by themselves."""
_IDIOMS = {
    "en": r"not only|not just|no problem|no doubt|(?:do not|don't) (?:forget|worry|hesitate)|"
    r"why (?:not|don't)|"
    r"(?:no|not) (?:later|earlier|sooner|more|less|fewer)(?: than)?|(?:or|if|whether or) not|not until|"
    r"(?:don't|wouldn't|would not) mind|no one else|(?:can't|can ?not|couldn't|could not) (?:wait|agree more)|"
    r"(?:is|are|was|were|do|does|did|wo|would|could|should|ca)n't (?:it|they|we|you|he|she)\b",
    "de": r"nicht nur|kein problem|nicht (?:mehr als|später als|vergessen)|ob oder nicht",
    "fr": r"pas (?:seulement|plus de|plus tard)|pas de problème|ne \w+ que|personnes?(?= qui)",
    "es": r"no (?:sólo|solo|más de|más tarde)|sin (?:duda|embargo)",
}
_SENTENCE = re.compile(r"(?<=[.!?;])\s+")
_CLAUSE = re.compile(
    r"\s*(?:[.!?;,:]+|\bbut\b|\baber\b|\bsondern\b|\bmais\b|\bpero\b|\bsino\b)\s*", re.IGNORECASE
)


def knows(language: str) -> bool:
    """Return False for a language without rules of negation."""
    return language in _STRICT


def is_negated(clause: str, language: str) -> bool:
    """Return True when a text says that something is not so."""
    idioms = re.compile(rf"\b(?:{_IDIOMS[language]})", re.IGNORECASE)
    plain_clause = idioms.sub(" ", clause.replace("\u2019", "'"))
    return bool(re.search(rf"\b(?:{_STRICT[language]})\b", plain_clause, re.IGNORECASE))


def may_be_negated(clause: str, language: str) -> bool:
    """Return True when a text says so, perhaps in other words (`cancel`)."""
    if is_negated(clause, language):
        return True
    return bool(re.search(rf"\b(?:{_ALSO[language]})\b", clause, re.IGNORECASE))


def contradicts(text: str, text_language: str, transcript: str, transcript_language: str) -> bool:
    """Return True when one of the two says the opposite of the other; False where a language is not known."""
    if not (knows(text_language) and knows(transcript_language)):
        return False
    return (is_negated(transcript, transcript_language) and not may_be_negated(text, text_language)) or (
        is_negated(text, text_language) and not may_be_negated(transcript, transcript_language)
    )


def clauses_around(transcript: str, first: int, end: int) -> str:
    """Return the clauses that hold the letters `first` to `end`, without questions."""
    chosen: list[str] = []
    start = 0
    for match in [*_CLAUSE.finditer(transcript), None]:
        stop = match.start() if match is not None else len(transcript)
        mark = match[0].strip() if match is not None else ""
        if start < end and stop > first and not mark.startswith("?"):
            chosen.append(transcript[start:stop])
        start = match.end() if match is not None else stop
    return " ".join(chosen)


def sentences_of(text: str) -> list[str]:
    """Return the sentences of a line."""
    return [sentence for sentence in _SENTENCE.split(text) if sentence.strip()]
