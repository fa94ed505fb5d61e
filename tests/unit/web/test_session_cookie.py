"""The cookie of a browser session belongs to one server, and over TLS to nobody else."""

from __future__ import annotations

import pytest

from meeting_assistant.web.middleware.auth import session_cookie_name

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("scheme", "name"),
    [
        ("https", "__Host-meeting_assistant_8443"),
        ("wss", "__Host-meeting_assistant_8443"),
        ("http", "meeting_assistant_8443"),
        ("ws", "meeting_assistant_8443"),
    ],
)
def test_over_tls_the_session_cookie_is_bound_to_its_host(scheme: str, name: str) -> None:
    assert session_cookie_name({"scheme": scheme, "server": ("meetings.example", 8443)}) == name
