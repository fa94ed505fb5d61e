"""Which language a meeting is in, when nobody said so."""

from __future__ import annotations

from meeting_assistant.domain.ports import AsrResult
from meeting_assistant.services.asr.language_detection import LanguageDetection


def test_what_a_person_chose_holds() -> None:
    choice = LanguageDetection("de")
    choice.observe("en", 1.0, 10)
    assert choice.detected == "de"


def test_one_certain_guess_settles_the_first_language() -> None:
    choice = LanguageDetection(None)
    choice.observe("fr", 0.95, 3)
    assert choice.detected == "fr"


def test_less_certain_guesses_settle_it_together() -> None:
    choice = LanguageDetection(None)
    choice.observe("fr", 0.7, 3)
    assert choice.detected is None
    choice.observe("fr", 0.7, 3)
    assert choice.detected == "fr"


def test_one_odd_utterance_does_not_change_the_language() -> None:
    choice = LanguageDetection(None)
    choice.observe("fr", 0.95, 3)
    choice.observe("nl", 0.99, 3)
    choice.observe("fr", 0.7, 3)
    choice.observe("nl", 0.99, 3)
    choice.observe("nl", 0.99, 3)
    assert choice.detected == "fr"


def test_a_meeting_that_goes_on_in_another_language_is_followed() -> None:
    choice = LanguageDetection(None)
    choice.observe("fr", 0.95, 3)
    found = []
    for _ in range(3):
        choice.observe("nl", 0.8, 3)
        found.append(choice.detected)
    assert found == ["fr", "fr", "nl"]


def test_guesses_about_a_word_or_a_cough_do_not_count() -> None:
    choice = LanguageDetection(None)
    choice.observe("cy", 0.99, 0.6)
    choice.observe("cy", 0.3, 9)
    assert choice.detected is None


def test_a_session_that_is_resumed_counts_on() -> None:
    choice = LanguageDetection(None)
    for guess in ("fr", "nl", "nl"):
        choice.observe(guess, 0.95, 3)
    resumed = LanguageDetection(None, choice.state)
    assert resumed.detected == "fr"
    resumed.observe("nl", 0.95, 3)
    assert resumed.detected == "nl"


def test_only_an_unsure_guess_of_another_language_is_doubtful() -> None:
    choice = LanguageDetection(None)
    guess = AsrResult("", language="nl", language_probability=0.5)
    assert not choice.is_doubtful(guess), "there is no language to doubt it for"
    choice.observe("fr", 0.95, 3)
    assert choice.is_doubtful(guess)
    assert not choice.is_doubtful(AsrResult("", language="nl", language_probability=0.9))
    assert not choice.is_doubtful(AsrResult("", language="fr", language_probability=0.5))
    assert not choice.is_doubtful(AsrResult("", language="nl")), "the engine does not say how sure it is"
    assert not LanguageDetection("fr").is_doubtful(guess), "a person chose"
