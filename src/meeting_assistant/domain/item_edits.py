"""Changing what stored minutes and notes say of speakers and quotes, whatever version of them is stored. Pure.

A document is the JSON of minutes or of a `notes` event: its items are found by their keys, so that documents of older
versions of the product are changed, too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from meeting_assistant.domain.minutes import Evidence, named, speaker_mark

Document = Any
"""JSON: the root, or any part of it."""


def with_labels(document: Document, labels: Mapping[str, str | None]) -> Document:
    """Replace speaker labels: of owners, and in the marks inside texts."""
    if isinstance(document, dict):
        changed = {key: with_labels(value, labels) for key, value in document.items()}
        if changed.get("owner") in labels:
            changed["owner"] = labels[changed["owner"]]
        return changed
    if isinstance(document, list):
        return [with_labels(one, labels) for one in document]
    if isinstance(document, str):
        return named(document, lambda label: speaker_mark(labels.get(label) or label))
    return document


def with_quotes(document: Document, move: Callable[[Evidence], list[Evidence]]) -> Document:
    """Replace each piece of evidence by what `move` makes of it."""
    if isinstance(document, list):
        return [with_quotes(one, move) for one in document]
    if not isinstance(document, dict):
        return document
    changed = {key: with_quotes(value, move) for key, value in document.items()}
    if "evidence" in changed:
        evidence = [Evidence.model_validate(one) for one in changed["evidence"]]
        moved = [part for one in evidence for part in move(one)]
        changed["evidence"] = [part.model_dump() for part in moved]
    return changed


def with_speakers(
    document: Document,
    before: Mapping[int, str | None],
    after: Mapping[int, str | None],
    *,
    by_person: bool,
) -> Document:
    """Move items to the new speakers of the utterances that they quote.

    `before` and `after` give the speaker of each utterance. An item goes from a label to another one when every
    utterance of that label that it quotes went there; an edited item only when a person changed the speakers.
    """
    if isinstance(document, list):
        return [with_speakers(one, before, after, by_person=by_person) for one in document]
    if not isinstance(document, dict):
        return document
    quoted = {evidence["utterance"] for evidence in document.get("evidence") or ()}
    if not quoted:
        return {
            key: with_speakers(value, before, after, by_person=by_person) for key, value in document.items()
        }
    if document.get("is_edited") and not by_person:
        return document
    went_to: dict[str, set[str | None]] = {}
    for utterance in quoted:
        old = before.get(utterance)
        if old is not None:
            went_to.setdefault(old, set()).add(after[utterance])
    moved = {old: next(iter(new)) for old, new in went_to.items() if len(new) == 1 and new != {old}}
    return with_labels(document, moved) if moved else document
