"""Signatures against the reference library of Standard Webhooks."""

from __future__ import annotations

import base64
from datetime import UTC, datetime

import pytest
from standardwebhooks import Webhook

from meeting_assistant.domain.signatures import TOLERANCE_S, is_signed, key_of, signature

OLD = "whsec_" + base64.b64encode(bytes(range(24))).decode()
NEW = "whsec_" + base64.b64encode(bytes(range(32))).decode()
CONTENT = b'{"said": "nothing"}'
NOW = 1_800_000_000


def test_others_verify_what_we_sign() -> None:
    stamp = datetime.now(tz=UTC)
    headers = {
        "webhook-id": "m1",
        "webhook-timestamp": str(int(stamp.timestamp())),
        "webhook-signature": signature([key_of(NEW)], "m1", str(int(stamp.timestamp())), CONTENT),
    }
    assert Webhook(NEW).verify(CONTENT, headers) == {"said": "nothing"}


def test_we_verify_what_others_sign_also_while_secrets_are_changed() -> None:
    signed = Webhook(OLD).sign("m1", datetime.fromtimestamp(NOW, tz=UTC), CONTENT.decode())
    assert is_signed([key_of(NEW), key_of(OLD)], "m1", str(NOW), CONTENT, signed, now_s=NOW)
    assert not is_signed([key_of(NEW)], "m1", str(NOW), CONTENT, signed, now_s=NOW)


def test_nothing_about_a_message_can_be_changed() -> None:
    keys = [key_of(NEW)]
    signed = signature(keys, "m1", str(NOW), CONTENT)
    assert is_signed(keys, "m1", str(NOW), CONTENT, signed, now_s=NOW)
    assert not is_signed(keys, "m2", str(NOW), CONTENT, signed, now_s=NOW)
    assert not is_signed(keys, "m1", str(NOW + 1), CONTENT, signed, now_s=NOW)
    assert not is_signed(keys, "m1", str(NOW), CONTENT + b" ", signed, now_s=NOW)
    assert not is_signed(keys, "m1", str(NOW), CONTENT, "", now_s=NOW)
    for late in (-TOLERANCE_S - 1, TOLERANCE_S + 1):
        assert not is_signed(keys, "m1", str(NOW), CONTENT, signed, now_s=NOW + late)


@pytest.mark.parametrize(
    "secret", ["", "whsec_", "whsec_c2hvcnQ=", "no base64 at all!", "whsec_" + "A" * 100]
)
def test_what_is_no_secret_is_refused(secret: str) -> None:
    with pytest.raises(ValueError, match="24 to 64 bytes"):
        key_of(secret)
