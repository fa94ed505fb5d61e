"""Carries minutes over to the next version: items keep their ids, what people changed stays changed. Pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence

from meeting_assistant.domain.events import NotesChanged
from meeting_assistant.domain.minutes import ActionItem, Item, Minutes, Section
from meeting_assistant.services.minutes.draft import PREFIXES, is_same
from meeting_assistant.services.minutes.evidence.checker import moment_of

NOTED = ("decisions", "action_items", "open_questions")
"""Kinds of items that are noted while people talk."""


def revise(new: Minutes, old: Minutes) -> Minutes:
    """The new minutes with the ids of the old ones where it is the same item, with everything that a person edited or
    added, and without what a person took out."""
    numbers = _highest_numbers(old)
    lists = {
        kind: _revised(prefix, getattr(new, kind), getattr(old, kind), old.removed, numbers)
        for kind, prefix in PREFIXES.items()
    }
    summary = _revised("s", new.summary, old.summary, old.removed, numbers)
    before = {section.key: section for section in old.sections}
    sections = [
        section.model_copy(
            update={
                "items": _revised(
                    f"{section.key}-",
                    section.items,
                    before[section.key].items if section.key in before else [],
                    old.removed,
                    numbers,
                )
            }
        )
        for section in [*new.sections, *_only_edited(old.sections, {s.key for s in new.sections})]
    ]
    update = {
        **lists,
        "summary": summary,
        "sections": sections,
        "removed": old.removed,
        "numbers": dict(numbers),
    }
    return new.model_copy(update=update)


def fold(notes: Iterable[NotesChanged]) -> Minutes:
    """Return as minutes what has been noted so far."""
    items: dict[str, dict[str, Item]] = {kind: {} for kind in NOTED}
    numbers: Counter[str] = Counter()
    for note in notes:
        for kind in NOTED:
            for item in getattr(note, kind):
                items[kind][item.id] = item
                _count(numbers, item.id)
        for withdrawn in note.withdrawn:
            for of_kind in items.values():
                of_kind.pop(withdrawn, None)
    return Minutes(
        decisions=list(items["decisions"].values()),
        action_items=[item for item in items["action_items"].values() if isinstance(item, ActionItem)],
        open_questions=list(items["open_questions"].values()),
        numbers=dict(numbers),
    )


def difference(old: Minutes, new: Minutes) -> NotesChanged | None:
    """Return the event that turns the old notes into the new ones; None when nothing changed."""
    known = {item.id: item for kind in NOTED for item in getattr(old, kind)}
    present = {item.id for kind in NOTED for item in getattr(new, kind)}
    changed = {kind: [i for i in getattr(new, kind) if known.get(i.id) != i] for kind in NOTED}
    withdrawn = [item_id for item_id in known if item_id not in present]
    if not withdrawn and not any(changed.values()):
        return None
    return NotesChanged.model_validate({**changed, "withdrawn": withdrawn})


def next_id(minutes: Minutes, kind: str) -> str:
    """Return an id for a new item that no item has, or had."""
    prefix = "s" if kind == "summary" else PREFIXES.get(kind, f"{kind}-")
    return f"{prefix}{_highest_numbers(minutes)[prefix] + 1}"


def counted(minutes: Minutes, *others: Minutes) -> Minutes:
    """Return the minutes with the highest number of each kind of id recorded, those of other versions included."""
    numbers: Counter[str] = Counter()
    for version in (minutes, *others):
        numbers |= _highest_numbers(version)
    return minutes.model_copy(update={"numbers": dict(numbers)})


def _revised(
    prefix: str, new: Sequence[Item], old: Sequence[Item], removed: Sequence[Item], numbers: Counter[str]
) -> list[Item]:
    left = list(old)
    kept: list[Item] = []
    for item in new:
        if any(is_same(item, gone) for gone in removed):
            continue
        match = next((known for known in left if is_same(item, known)), None)
        if match is None:
            numbers[prefix] += 1
            kept.append(item.model_copy(update={"id": f"{prefix}{numbers[prefix]}"}))
            continue
        left.remove(match)
        kept.append(match if match.is_edited else item.model_copy(update={"id": match.id}))
    kept += [item for item in left if item.is_edited]
    return sorted(kept, key=moment_of)


def _only_edited(sections: Sequence[Section], but: set[str]) -> list[Section]:
    """Return the sections of another template that hold a person's words."""
    return [
        section.model_copy(update={"items": [item for item in section.items if item.is_edited]})
        for section in sections
        if section.key not in but and any(item.is_edited for item in section.items)
    ]


def _highest_numbers(minutes: Minutes) -> Counter[str]:
    """Return the highest number by prefix: an id that was given once is never given to something else."""
    numbers: Counter[str] = Counter(minutes.numbers)
    for item in [*minutes.items(), *minutes.removed]:
        _count(numbers, item.id)
    return numbers


def _count(numbers: Counter[str], item_id: str) -> None:
    found = re.fullmatch(r"(\D+)(\d+)", item_id)
    if found:
        numbers[found[1]] = max(numbers[found[1]], int(found[2]))
