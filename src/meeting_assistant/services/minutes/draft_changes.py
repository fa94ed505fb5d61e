"""A draft of minutes after the transcript changed under it: somebody else spoke, an utterance was split. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from meeting_assistant.domain.minutes import ActionItem, Evidence, Item, named, speaker_mark
from meeting_assistant.domain.transcript import Transcript, Utterance
from meeting_assistant.services.minutes.draft import Draft
from meeting_assistant.services.minutes.evidence.grounding import plain


def follow(draft: Draft, transcript: Transcript) -> None:
    """Owners, names and quotes of the draft are those of the transcript as it is now; utterances whose words changed
    are to be read again."""
    said = {utterance.utterance: utterance for utterance in transcript.utterances}
    changed = {
        number for number, (_, text) in draft.read.items() if number not in said or said[number].text != text
    }
    new_labels = {
        number: (was, said[number].speaker)
        for number, (was, _) in draft.read.items()
        if number in said and said[number].speaker != was
    }
    if not changed and not new_labels:
        return
    # A part of an utterance that was split is an utterance that nobody read.
    unread = [u for number, u in said.items() if number in changed or number not in draft.read]
    draft.found = {
        kind: [item for old in items if (item := _followed(old, draft, said, changed, unread)) is not None]
        for kind, items in draft.found.items()
    }
    points = [_followed(point, draft, said, changed, unread) for point in draft.points]
    draft.joined = sum(point is not None for point in points[: draft.joined])
    draft.points = [point for point in points if point is not None]
    for number in changed:
        del draft.read[number]
    for number in new_labels.keys() - changed:
        draft.read[number] = (said[number].speaker, said[number].text)


def _followed(
    item: Item, draft: Draft, said: Mapping[int, Utterance], changed: set[int], unread: list[Utterance]
) -> Item | None:
    """None when its words are gone."""
    evidence: list[Evidence] = []
    labels: dict[str, set[str | None]] = {}
    for old in item.evidence:
        place = said.get(old.utterance)
        if old.utterance in changed:
            place = next((u for u in unread if plain(old.quote) and plain(old.quote) in plain(u.text)), None)
        if place is None:
            return None
        evidence.append(old.model_copy(update={"utterance": place.utterance}))
        before = draft.read.get(old.utterance, (None, ""))[0]
        if before is not None:
            labels.setdefault(before, set()).add(place.speaker)
    renamed = {was: next(iter(now)) for was, now in labels.items() if len(now) == 1 and now != {was}}
    update: dict[str, object] = {"evidence": evidence}
    if renamed:
        update["text"] = named(item.text, lambda label: _mark(renamed.get(label, label)))
    if isinstance(item, ActionItem) and item.owner in renamed:
        update["owner"] = renamed[item.owner]
    return item.model_copy(update=update)


def _mark(label: str | None) -> str:
    return speaker_mark(label) if label is not None else "somebody"
