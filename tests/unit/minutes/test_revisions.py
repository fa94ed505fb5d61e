"""Identity of items from one version of the minutes to the next."""

from __future__ import annotations

from typing import Any

from meeting_assistant.domain.events import NotesChanged
from meeting_assistant.domain.minutes import ActionItem, Evidence, Item, Minutes, Section
from meeting_assistant.services.minutes.revisions import counted, difference, fold, next_id, revise


def item(item_id: str, text: str, utterance: int = 1, **more: Any) -> Item:
    return Item(id=item_id, text=text, evidence=[Evidence(utterance=utterance, quote=text)], **more)


def action(item_id: str, text: str, utterance: int = 1, **more: Any) -> ActionItem:
    return ActionItem(id=item_id, text=text, evidence=[Evidence(utterance=utterance, quote=text)], **more)


def test_an_unchanged_item_keeps_its_id_and_a_new_one_gets_an_unused_id() -> None:
    old = Minutes(decisions=[item("d1", "Ship on Monday.", 3), item("d4", "Hire Ana.", 9)])
    new = Minutes(decisions=[item("d1", "Hire Ana.", 9), item("d2", "Close the office.", 12)])
    assert [(i.id, i.text) for i in revise(new, old).decisions] == [
        ("d4", "Hire Ana."),
        ("d5", "Close the office."),
    ]


def test_an_edited_item_survives_a_rewrite() -> None:
    edited = item(
        "a1", "Send the plan to legal.", 2, is_edited=True, original_text="Send the plan.", support="by_hand"
    )
    old = Minutes(decisions=[edited])
    assert revise(Minutes(decisions=[item("d1", "Send the plan.", 2)]), old).decisions == [edited]
    assert revise(Minutes(), old).decisions == [edited]


def test_a_deleted_item_does_not_return() -> None:
    old = Minutes(removed=[item("d1", "Fire everybody.", 5)])
    revised = revise(Minutes(decisions=[item("d1", "Fire everybody.", 5)]), old)
    assert revised.decisions == []
    assert revised.removed == old.removed


def test_edited_sections_survive_a_change_of_template() -> None:
    mine = item("blocked-1", "No test machine.", 4, is_edited=True)
    old = Minutes(
        template="standup",
        sections=[
            Section(key="blocked", title="In the way", items=[mine, item("blocked-2", "Rain.", 5)]),
            Section(key="done", title="Done", items=[item("done-1", "Login.", 6)]),
        ],
    )
    (kept,) = revise(Minutes(template="general"), old).sections
    assert kept.items == [mine]


def test_successive_notes_merge_into_the_present_ones() -> None:
    first = NotesChanged(
        decisions=[item("d1", "Ship."), item("d2", "Wait.")], action_items=[action("a1", "Go.")]
    )
    second = NotesChanged(decisions=[item("d1", "Ship on Monday.")], withdrawn=["d2"])
    folded = fold([first, second])
    assert [d.text for d in folded.decisions] == ["Ship on Monday."]
    assert [a.id for a in folded.action_items] == ["a1"]


def test_only_changes_are_sent() -> None:
    old = Minutes(decisions=[item("d1", "Ship."), item("d2", "Wait.")])
    new = Minutes(decisions=[item("d1", "Ship.")], open_questions=[item("q1", "Who?")])
    change = difference(old, new)
    assert change is not None
    assert (change.decisions, [q.id for q in change.open_questions], change.withdrawn) == ([], ["q1"], ["d2"])
    assert difference(new, new) is None
    assert fold([difference(Minutes(), old) or NotesChanged(), change]).decisions == new.decisions


def test_an_added_item_gets_a_new_id() -> None:
    minutes = Minutes(action_items=[action("a2", "Go.")], removed=[action("a7", "Stop.")])
    assert next_id(minutes, "action_items") == "a8"
    assert next_id(minutes, "blocked") == "blocked-1"


# --- an id is never given to something else --------------------------------------------------------------


def to_do(text: str, utterance: int, item_id: str = "a1") -> ActionItem:
    return ActionItem(id=item_id, text=text, evidence=[Evidence(utterance=utterance, quote=text)])


def test_a_withdrawn_id_is_not_reused() -> None:
    first = counted(Minutes(action_items=[to_do("Buy a cake.", 1), to_do("Call Ana.", 2, "a2")]))
    second = revise(Minutes(action_items=[to_do("Buy a cake.", 1)]), first)
    third = revise(Minutes(action_items=[to_do("Buy a cake.", 1), to_do("Rent a bus.", 9)]), second)
    assert [i.id for i in third.action_items] == ["a1", "a3"]


def test_the_id_of_a_withdrawn_note_is_not_reused_after_a_restart() -> None:
    notes = fold(
        [NotesChanged(action_items=[to_do("Buy a cake.", 1)]), NotesChanged(withdrawn=["a1"])],
    )
    written = revise(Minutes(action_items=[to_do("Call Ana.", 2)]), notes)
    assert [i.id for i in written.action_items] == ["a2"]


def test_a_restored_version_avoids_the_ids_of_all_versions() -> None:
    first = counted(Minutes(version=1, action_items=[to_do("Buy a cake.", 1)]))
    second = counted(Minutes(version=2, action_items=[to_do("Call Ana.", 2, "a2")]))
    restored = counted(first, first, second)
    assert next_id(restored, "action_items") == "a3"
