"""What was said is shown as it was said, and does nothing where it is shown."""

from __future__ import annotations

import pytest

from meeting_assistant.domain.text import escape_markdown, one_line, without_controls, without_invisible


@pytest.mark.parametrize(
    "bad", ["\x00", "\x1b", "\x7f", "\n", "\r\n", "\u2028", "\u202e", "\u2066", "\ud83d"]
)
def test_what_controls_a_terminal_or_the_direction_of_writing_becomes_a_space(bad: str) -> None:
    assert without_controls(f"a{bad}b") == "a b"
    assert without_invisible(f"a{bad}b") == "a b"


@pytest.mark.parametrize("joiner", ["\u200c", "\u200d"])
def test_joiners_stay_for_people_and_go_for_machines(joiner: str) -> None:
    assert one_line(f"a{joiner}b") == f"a{joiner}b"
    assert without_invisible(f"a{joiner}b") == "a b"


def test_one_line_has_single_spaces() -> None:
    assert one_line("  We\tship \r\n on   Friday.\n") == "We ship on Friday."


def test_nothing_in_markdown_is_more_than_text() -> None:
    assert escape_markdown("# [x](y) <b> ![i] *a* `c`\n| ~") == (
        r"\# \[x\](y) \<b\> \!\[i\] \*a\* \`c\` \| \~"
    )
