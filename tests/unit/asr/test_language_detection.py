"""Detection of the language of a meeting for which none was chosen."""

from __future__ import annotations

from meeting_assistant.domain.ports import AsrResult
from meeting_assistant.services.asr.language_detection import LanguageDetection


def test_a_chosen_language_is_never_changed() -> None:
    choice = LanguageDetection("de")
    choice.observe("en", 1.0, 10)
    assert choice.detected == "de"


def test_one_confident_detection_decides_the_first_language() -> None:
    choice = LanguageDetection(None)
    choice.observe("fr", 0.95, 3)
    assert choice.detected == "fr"


def test_several_less_confident_detections_decide_it_together() -> None:
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


def test_a_lasting_change_of_language_is_followed() -> None:
    choice = LanguageDetection(None)
    choice.observe("fr", 0.95, 3)
    found = []
    for _ in range(3):
        choice.observe("nl", 0.8, 3)
        found.append(choice.detected)
    assert found == ["fr", "fr", "nl"]


def test_short_or_unconfident_detections_are_ignored() -> None:
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
