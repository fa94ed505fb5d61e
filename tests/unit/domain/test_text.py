"""Transcript text is displayed unchanged and without side effects."""

from __future__ import annotations

import pytest

from meeting_assistant.domain.text import escape_markdown, one_line, without_controls, without_invisible


@pytest.mark.parametrize(
    "bad", ["\x00", "\x1b", "\x7f", "\n", "\r\n", "\u2028", "\u202e", "\u2066", "\ud83d"]
)
def test_terminal_and_bidirectional_control_characters_become_spaces(bad: str) -> None:
    assert without_controls(f"a{bad}b") == "a b"
    assert without_invisible(f"a{bad}b") == "a b"


@pytest.mark.parametrize("joiner", ["\u200c", "\u200d"])
def test_zero_width_joiners_are_kept_for_readers_and_removed_for_machines(joiner: str) -> None:
    assert one_line(f"a{joiner}b") == f"a{joiner}b"
    assert without_invisible(f"a{joiner}b") == "a b"


def test_a_single_line_has_single_spaces() -> None:
    assert one_line("  We\tship \r\n on   Friday.\n") == "We ship on Friday."


def test_text_has_no_effect_as_markdown() -> None:
    assert escape_markdown("# [x](y) <b> ![i] *a* `c`\n| ~") == (
        r"\# \[x\](y) \<b\> \!\[i\] \*a\* \`c\` \| \~"
    )
