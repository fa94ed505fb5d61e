"""Token counts are estimated conservatively for every script."""

from __future__ import annotations

import pytest

from meeting_assistant.services.llm.token_estimate import tokens_in

LLAMA_3 = {
    "en": ("We decided to ship version three on the first of December.", 13),
    "ru": ("Мы решили выпустить третью версию первого декабря.", 16),
    "el": ("Αποφασίσαμε να κυκλοφορήσουμε την τρίτη έκδοση.", 24),  # noqa: RUF001
    "ar": ("قررنا إصدار النسخة الثالثة في الأول من ديسمبر.", 18),
    "hi": ("हमने एक दिसंबर को तीसरा संस्करण जारी करने का फैसला किया।", 32),
    "th": ("เราตัดสินใจออกรุ่นที่สามในวันที่หนึ่งธันวาคม", 30),
    "zh": ("我们决定十二月一日发布第三版。", 13),
    "ja": ("私たちは十二月一日に第三版を出すことに決めました。", 21),
}
"""A sentence, and how many tokens a vocabulary of 128,000 words makes of it at least."""


@pytest.mark.parametrize("language", LLAMA_3)
def test_token_estimates_are_never_too_low_in_any_script(language: str) -> None:
    text, tokens = LLAMA_3[language]
    assert tokens <= tokens_in(text) <= 5 * tokens


def test_an_empty_text_has_no_tokens() -> None:
    assert tokens_in("") == 1
