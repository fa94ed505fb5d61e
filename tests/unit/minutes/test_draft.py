"""A draft follows later corrections of the transcript."""

from __future__ import annotations

from meeting_assistant.domain.minutes import ActionItem, Evidence, Item
from meeting_assistant.domain.transcript import Speaker, Transcript, Utterance
from meeting_assistant.services.minutes.draft import Draft, follow


def transcript_of(*lines: tuple[int, str | None, str]) -> Transcript:
    labels = dict.fromkeys(speaker for _, speaker, _ in lines if speaker)
    return Transcript(
        utterances=[
            Utterance(utterance=n, start_ms=n, end_ms=n + 1, speaker=speaker, text=text)
            for n, speaker, text in lines
        ],
        speakers=[Speaker(label=label) for label in labels],
    )


BEFORE = transcript_of((1, "S1", "Let us begin."), (2, "S2", "I write the notes. Ana buys the cake."))


def draft() -> Draft:
    return Draft(
        read={u.utterance: (u.speaker, u.text) for u in BEFORE.utterances},
        points=[
            Item(
                id="",
                text="{S2} writes the notes.",
                evidence=[Evidence(utterance=2, quote="I write the notes")],
            )
        ],
        joined=1,
        found={
            "action_items": [
                ActionItem(
                    id="a1",
                    text="{S2} writes the notes.",
                    owner="S2",
                    evidence=[Evidence(utterance=2, quote="I write the notes")],
                ),
                ActionItem(
                    id="a2",
                    text="Buy the cake.",
                    owner="Ana",
                    evidence=[Evidence(utterance=2, quote="Ana buys the cake")],
                ),
            ]
        },
    )


def test_a_draft_is_unchanged_while_its_transcript_is() -> None:
    followed = draft()
    follow(followed, BEFORE)
    assert followed == draft()


def test_items_follow_a_correction_of_the_speaker() -> None:
    followed = draft()
    follow(
        followed,
        transcript_of((1, "S1", "Let us begin."), (2, "S1", "I write the notes. Ana buys the cake.")),
    )
    notes, cake = followed.found["action_items"]
    assert isinstance(notes, ActionItem)
    assert isinstance(cake, ActionItem)
    assert (notes.owner, notes.text) == ("S1", "{S1} writes the notes.")
    assert cake.owner == "Ana"
    assert followed.points[0].text == "{S1} writes the notes."
    assert followed.read[2][0] == "S1", "not read again: the words are the same"


def test_an_owner_whose_label_disappears_is_removed() -> None:
    followed = draft()
    follow(
        followed,
        transcript_of((1, "S1", "Let us begin."), (2, None, "I write the notes. Ana buys the cake.")),
    )
    notes = followed.found["action_items"][0]
    assert isinstance(notes, ActionItem)
    assert notes.owner is None
    assert "{S2}" not in notes.text


def test_quotations_of_a_split_utterance_move_to_their_part_and_its_parts_are_read_again() -> None:
    followed = draft()
    follow(
        followed,
        transcript_of(
            (1, "S1", "Let us begin."), (2, "S2", "I write the notes."), (3, "S3", "Ana buys the cake.")
        ),
    )
    notes, cake = followed.found["action_items"]
    assert [e.utterance for e in notes.evidence] == [2]
    assert [e.utterance for e in cake.evidence] == [3]
    assert set(followed.read) == {1}


def test_items_whose_quotation_disappeared_are_dropped() -> None:
    followed = draft()
    follow(followed, transcript_of((1, "S1", "Let us begin."), (2, "S2", "Something else.")))
    assert followed.found["action_items"] == []
    assert followed.points == []
    assert followed.joined == 0
    assert set(followed.read) == {1}
