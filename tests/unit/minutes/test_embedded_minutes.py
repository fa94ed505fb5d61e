"""The rule-based writer finds only what is stated literally."""

from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meeting_assistant.adapters.minutes_rules import EmbeddedWriter
from meeting_assistant.demo import load_demo
from meeting_assistant.domain.minutes import Minutes
from meeting_assistant.domain.ports import MinutesRequest
from meeting_assistant.domain.transcript import Speaker, Transcript, Utterance

pytestmark = pytest.mark.unit

MONDAY = date(2026, 11, 23)


def transcript_of(*lines: str) -> Transcript:
    """Return a transcript of lines such as `S1 Hello.`: a speaker label and the text."""
    spoken = [line.split(" ", 1) for line in lines]
    utterances = [
        Utterance(
            utterance=number, start_ms=number * 3000, end_ms=number * 3000 + 2500, speaker=label, text=text
        )
        for number, (label, text) in enumerate(spoken, start=1)
    ]
    return Transcript(
        utterances=utterances,
        speakers=[Speaker(label=label) for label in sorted({label for label, _ in spoken})],
    )


def minutes_of(*lines: str, language: str = "en") -> Minutes:
    return EmbeddedWriter().write(
        MinutesRequest(transcript=transcript_of(*lines), meeting_date=MONDAY, language=language)
    )


# --- action items: only with a literal commitment, an assignment, or a consent


@pytest.mark.parametrize(
    ("lines", "text", "owner", "due_phrase", "due"),
    [
        (["S1 I will send the budget to everyone by Friday."], "Send the budget to everyone", "S1", "by Friday", 27),
        (["S1 I'll prepare the slides for the workshop tomorrow."], "Prepare the slides", "S1", "tomorrow", 24),
        (["S1 Ana will call the supplier on Thursday."], "Call the supplier", "Ana", "on Thursday", 26),
        (
            ["S1 Ben, can you update the roadmap?", "S2 Sure, I will do it by Wednesday."],
            "Update the roadmap", "S2", "by Wednesday", 25,
        ),
        (["S1 Action item: Ben to book the room by Thursday."], "Book the room", "Ben", "by Thursday", 26),
        (
            ["S1 Someone needs to update the price list.", "S2 I'll take that."],
            "Update the price list", "S2", None, None,
        ),
        (
            ["S1 so um I'll I'll get the the contract to legal by end of week"],
            "Get the contract to legal", "S1", "by end of week", 27,
        ),
    ],
)  # fmt: skip
def test_a_commitment_is_an_action_item_with_owner_and_due_phrase(
    lines: list[str], text: str, owner: str, due_phrase: str | None, due: int | None
) -> None:
    minutes = minutes_of(*lines)
    (item,) = minutes.action_items
    assert item.text.startswith(text)
    assert (item.owner, item.due_phrase) == (owner, due_phrase)
    assert item.due == (None if due is None else date(2026, 11, due))
    assert item.support == "verified"


@pytest.mark.parametrize(
    "lines",
    [
        ["S1 I'll say this again."],
        ["S1 I will be on holiday next week."],
        ["S1 If we get the money, I will order the servers."],
        ["S1 Maybe I will write the report."],
        ["S1 He said he will send the report."],
        ["S1 Can you call the supplier?", "S2 No, I can't, sorry."],
        ["S1 Can you call the supplier?"],
        ["S1 We need to update the price list."],
        ["S1 I'll pick up the kids at five."],
        ["S1 I'll bring the cake for the party on Saturday."],
        ["S1 I should probably clean up the backlog at some point."],
    ],
    ids=lambda lines: lines[0][3:40],
)
def test_without_a_commitment_there_is_no_action_item(lines: list[str]) -> None:
    assert minutes_of(*lines).action_items == []


@pytest.mark.parametrize(
    "line",
    [
        "S1 Maybe I will write the report.",
        "S1 We need to update the price list.",
        "S1 If we get the money, I will order the servers.",
    ],
)
def test_softer_cues_are_possible_follow_ups(line: str) -> None:
    (item,) = minutes_of(line).possible_follow_ups
    assert item.support == "weak"


# --- decisions, questions, risks


@pytest.mark.parametrize(
    "lines",
    [
        ["S1 We decided to use Postgres."],
        ["S1 So we agreed that the launch moves to March."],
        ["S1 Let's go with the second option.", "S2 Agreed."],
        ["S1 okay so the decision is that we freeze the code on December first"],
        ["S1 We are not going to buy a new printer, that is final.", "S2 Fine with me."],
        ["S1 Then we go with the cheaper insurance.", "S2 Yes, let us do that."],
        [
            "S1 We keep logs for thirty days, everybody okay with that?",
            "S2 Okay.",
            "S1 Then that is decided.",
        ],
    ],
    ids=lambda lines: lines[0][3:40],
)
def test_a_decision_is_found(lines: list[str]) -> None:
    (item,) = minutes_of(*lines).decisions
    assert item.evidence[0].utterance == 1


@pytest.mark.parametrize(
    "line",
    [
        "S1 Should we use Postgres?",
        "S1 We decided to go to Italy this summer.",
        "S1 Let's have lunch.",
        "S1 Then we go with the cheaper insurance.",
        "S1 We keep logs for thirty days, everybody okay with that?",
        "S1 So we make an offer to the second candidate.",
    ],
)
def test_questions_and_private_plans_are_not_decisions(line: str) -> None:
    assert minutes_of(line).decisions == []


def test_a_proposal_that_is_agreed_to_and_concluded_is_a_decision() -> None:
    (item,) = minutes_of(
        "S1 Shall we make her an offer?",
        "S2 Yes, definitely.",
        "S1 So we make an offer to the second candidate.",
    ).decisions
    assert item.evidence[0].utterance == 3


def test_a_listener_who_says_yes_has_not_accepted_an_open_request() -> None:
    open_request = "S1 Could you post some other essentials of what people want?"
    assert minutes_of(open_request, "S2 Yeah.").action_items == []
    assert len(minutes_of(open_request, "S2 Yes, I will.").action_items) == 1


def test_the_speaker_who_commits_is_quoted_first() -> None:
    (item,) = minutes_of("S1 The wall needs a new door. I will find this out for the next time.").action_items
    assert "I will find this out" in item.evidence[0].quote


def test_an_unanswered_question_is_an_open_question() -> None:
    minutes = minutes_of("S1 Who pays for the servers?", "S2 We don't know yet.")
    assert [item.text for item in minutes.open_questions] == ["Who pays for the servers?"]
    assert minutes_of("S1 How was your weekend?", "S2 It was great, we went hiking.").open_questions == []


@pytest.mark.parametrize(
    "line",
    [
        "S1 There is a risk that the supplier is late.",
        "S1 I'm worried that the migration will not be finished in time.",
    ],
)
def test_a_risk_is_found(line: str) -> None:
    assert len(minutes_of(line).risks) == 1


# --- small talk

WEEKEND = """\
S1 Good morning, how was your weekend?
S2 Oh it was lovely, thanks. We went to the lake and the kids could swim.
S1 Nice. We stayed at home because it was raining all day.
S2 Really? It was sunny up there.
S1 Lucky you. I watched the game on Sunday.
S2 Who won?
S1 I don't know, I fell asleep before the end.
S2 I will have to watch it tonight then.
S1 Don't, it was boring.
S2 We might go again next weekend if the weather is good.
S1 You should, it's a great place.
S2 Do you want to come along?
S1 Maybe, I'll ask my wife.
S2 Great, let me know.
S1 I will. Another coffee?
S2 Yes please, let's go.""".splitlines()

FOOD = """\
S1 I'm hungry, what's for lunch?
S2 I think they have pasta today.
S1 Again? We had pasta on Monday.
S2 Let's go to the Italian place around the corner.
S1 That's pasta as well.
S2 True. Then let's get a salad.
S1 I'll take the one with chicken.
S2 I'm going to have the soup.
S1 We need to be quick, it gets crowded.
S2 I'll get my jacket.
S1 Did you bring your umbrella?
S2 No, who knows if it rains.
S1 It always rains when I forget mine.
S2 We can share.
S1 Deal.""".splitlines()

HOLIDAY = """\
S1 So when are you off on holiday?
S2 On Friday, we will fly to Portugal.
S1 Wonderful. How long will you stay?
S2 Two weeks. We decided to rent a small house by the sea.
S1 I need to do that too one day.
S2 You should. My sister will look after the cat.
S1 I'm worried about my plants when I'm away.
S2 I'll send you some pictures.
S1 Please do. What do you do there all day?
S2 Nothing, that's the point.
S1 I would be bored after three days.
S2 I will read all the books that I bought.
S1 Don't forget the sunscreen.
S2 I won't. We should go together next year.
S1 Let's do that.
S2 I'll hold you to it.""".splitlines()


@pytest.mark.parametrize("talk", [WEEKEND, FOOD, HOLIDAY], ids=["weekend", "food", "holiday"])
def test_small_talk_gives_no_action_items_and_no_decisions(talk: list[str]) -> None:
    minutes = minutes_of(*talk)
    assert [item.text for item in minutes.action_items] == []
    assert [item.text for item in minutes.decisions] == []
    assert [item.text for item in minutes.open_questions] == []
    assert [item.text for item in minutes.risks] == []


# --- the sample meeting, from its script


def test_the_sample_meeting_gives_exactly_the_expected_items() -> None:
    demo = load_demo()
    transcript = Transcript(
        utterances=[
            Utterance(utterance=n, start_ms=u.start_ms, end_ms=u.end_ms, speaker=u.speaker, text=u.text)
            for n, u in enumerate(demo.utterances, start=1)
        ],
        speakers=[Speaker(label=label) for label in sorted({u.speaker for u in demo.utterances})],
    )
    minutes = EmbeddedWriter().write(MinutesRequest(transcript=transcript, meeting_date=MONDAY))
    for kind in ("decisions", "action_items", "open_questions", "risks"):
        found = [f"{item.text} {item.evidence[0].quote}".casefold() for item in getattr(minutes, kind)]
        expected = getattr(demo.expected, kind)
        assert len(found) == len(expected), found
        for wanted in expected:
            assert any(all(word.casefold() in text for word in wanted.keywords) for text in found), (
                wanted.text
            )


def test_greetings_and_thanks_do_not_fill_the_summary() -> None:
    minutes = minutes_of(
        "S1 Hello everyone, thank you for joining the planning meeting today.",
        "S2 The new search is twice as fast, and customers find what they look for.",
        "S1 The payment provider still has to confirm the contract for the new shop.",
        "S2 Thank you all for your time and have a nice day.",
    )
    assert minutes.summary
    assert {item.evidence[0].utterance for item in minutes.summary} <= {2, 3}


def long_talk(language: str = "en") -> Minutes:
    """Return a talk of more than a thousand words with recurring topics."""
    spoken = (
        "The coffee machine in the north wing leaks every morning when we fill it.",
        "For the coffee machine and for the wireless printer we have one contract.",
        "Nobody can print today because the wireless printer lost its network again.",
        "The parking garage stays closed until the new gate has been tested.",
    )
    return minutes_of(*[f"S{n % 2 + 1} {spoken[n % 4]}" for n in range(100)], language=language)


def test_the_summary_of_a_long_meeting_starts_with_its_topics_and_quotes_each() -> None:
    opening, *others = long_talk().summary
    assert opening.id == "s1"
    assert opening.text.startswith("The meeting was about ")
    topics = (
        opening.text.removeprefix("The meeting was about ").rstrip(".").replace(" and ", ", ").split(", ")
    )
    assert {"coffee machine", "wireless printer"} <= set(topics)
    quoted = " ".join(evidence.quote for evidence in opening.evidence)
    assert [topic for topic in topics if topic not in quoted] == []
    assert others


def test_the_summary_of_a_short_or_foreign_meeting_starts_with_quotations() -> None:
    short = minutes_of(*["S1 The coffee machine leaks.", "S2 A coffee machine and a printer leak."] * 3)
    for minutes in (short, long_talk("de")):
        assert not minutes.summary[0].text.startswith("The meeting")


# --- what holds for any words


SPEECH = st.text(max_size=120) | st.sampled_from(
    [
        "I will send the report by Friday.", "We decided to ship.", "Can you do it?", "Yes.", "No.",
        "Who pays?", "Maybe we should test it", "Ben, please call them", "Okay let's go with that", "...",
    ]
)  # fmt: skip


@settings(max_examples=120, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["S1", "S2", None]), SPEECH), max_size=14))
def test_every_item_quotes_the_transcript_word_for_word(spoken: list[tuple[str | None, str]]) -> None:
    utterances = [
        Utterance(utterance=n, start_ms=n * 1000, end_ms=n * 1000 + 900, speaker=label, text=text)
        for n, (label, text) in enumerate(spoken, start=1)
    ]
    request = MinutesRequest(transcript=Transcript(utterances=utterances), meeting_date=MONDAY)
    minutes = EmbeddedWriter().write(request)
    texts = {u.utterance: u.text for u in utterances}
    items = [
        *minutes.summary, *minutes.decisions, *minutes.action_items,
        *minutes.open_questions, *minutes.risks, *minutes.possible_follow_ups,
    ]  # fmt: skip
    for item in items:
        assert item.evidence
        assert all(
            evidence.quote and evidence.quote in texts[evidence.utterance] for evidence in item.evidence
        )
    assert len({item.id for item in items}) == len(items)
    assert EmbeddedWriter().write(request) == minutes, "the same words give the same minutes"


def test_an_empty_transcript_gives_empty_minutes() -> None:
    assert EmbeddedWriter().write(MinutesRequest(transcript=Transcript())).is_empty


def test_the_rules_apply_to_english_only() -> None:
    minutes = minutes_of(
        "S1 Ich schicke das Budget bis Freitag an alle Kolleginnen im Team.",
        "S2 Wir haben beschlossen, die zweite Lösung für die Suche zu nehmen.",
        "S1 Die Suche ist langsam, deshalb testen wir zwei verschiedene Lösungen.",
        language="de",
    )
    assert minutes.summary
    assert minutes.action_items == minutes.decisions == []
