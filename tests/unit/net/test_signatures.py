"""Signatures against the reference library of Standard Webhooks."""

from __future__ import annotations

import base64
import time
from datetime import UTC, datetime

import pytest
from standardwebhooks import Webhook

from meeting_assistant.net.signatures import TOLERANCE_S, is_signed, key_of, signature

OLD = "whsec_" + base64.b64encode(bytes(range(24))).decode()
NEW = "whsec_" + base64.b64encode(bytes(range(32))).decode()
CONTENT = b'{"said": "nothing"}'


def test_our_signatures_pass_the_reference_library() -> None:
    stamp = datetime.now(tz=UTC)
    headers = {
        "webhook-id": "m1",
        "webhook-timestamp": str(int(stamp.timestamp())),
        "webhook-signature": signature([key_of(NEW)], "m1", str(int(stamp.timestamp())), CONTENT),
    }
    assert Webhook(NEW).verify(CONTENT, headers) == {"said": "nothing"}


def test_signatures_of_the_reference_library_pass_even_while_secrets_change() -> None:
    now = datetime.now(tz=UTC)
    stamp = str(int(now.timestamp()))
    signed = Webhook(OLD).sign("m1", now, CONTENT.decode())
    assert is_signed([key_of(NEW), key_of(OLD)], "m1", stamp, CONTENT, signed)
    assert not is_signed([key_of(NEW)], "m1", stamp, CONTENT, signed)


def test_any_change_to_a_signed_message_is_noticed() -> None:
    keys = [key_of(NEW)]
    now = int(time.time())
    signed = signature(keys, "m1", str(now), CONTENT)
    assert is_signed(keys, "m1", str(now), CONTENT, signed)
    assert not is_signed(keys, "m2", str(now), CONTENT, signed)
    assert not is_signed(keys, "m1", str(now + 1), CONTENT, signed)
    assert not is_signed(keys, "m1", str(now), CONTENT + b" ", signed)


@pytest.mark.parametrize("seconds", [-TOLERANCE_S - 5, TOLERANCE_S + 5])
def test_messages_from_too_long_ago_or_from_the_future_are_refused(seconds: int) -> None:
    keys = [key_of(NEW)]
    stamp = str(int(time.time()) + seconds)
    assert not is_signed(keys, "m1", stamp, CONTENT, signature(keys, "m1", stamp, CONTENT))


@pytest.mark.parametrize("signed", ["", "v1", "v1,", "v1,%%%", "v1,a,b", "v2,AAAA", "v1,é"])
def test_a_malformed_signature_is_refused(signed: str) -> None:
    assert not is_signed([key_of(NEW)], "m1", str(int(time.time())), CONTENT, signed)


@pytest.mark.parametrize("stamp", ["", "now", "nan", "1e400", "-1", "9" * 13, "9" * 5000])
def test_a_malformed_timestamp_is_refused(stamp: str) -> None:
    keys = [key_of(NEW)]
    signed = signature(keys, "m1", str(int(time.time())), CONTENT)
    assert not is_signed(keys, "m1", stamp, CONTENT, signed)


@pytest.mark.parametrize("form", ["{}.5", "{:_}", " {}", "+{}"])
def test_a_timestamp_in_another_form_than_the_signed_one_is_refused(form: str) -> None:
    keys, now = [key_of(NEW)], int(time.time())
    signed = signature(keys, "m1", str(now), CONTENT)
    assert not is_signed(keys, "m1", form.format(now), CONTENT, signed)


@pytest.mark.parametrize("noise", ["nonsense", "v1,,", "v2,AAAA", ""])
def test_a_valid_signature_is_found_after_invalid_ones(noise: str) -> None:
    keys, stamp = [key_of(NEW)], str(int(time.time()))
    assert is_signed(keys, "m1", stamp, CONTENT, f"{noise}  {signature(keys, 'm1', stamp, CONTENT)}")


def test_content_that_is_not_text_is_refused() -> None:
    assert not is_signed([key_of(NEW)], "m1", str(int(time.time())), b"\xff", "v1,AAAA")


@pytest.mark.parametrize(
    "secret", ["", "whsec_", "whsec_c2hvcnQ=", "no base64 at all!", "whsec_" + "A" * 100]
)
def test_a_malformed_secret_is_refused(secret: str) -> None:
    with pytest.raises(ValueError, match="24 to 64 bytes"):
        key_of(secret)


def test_the_number_of_signatures_that_are_tried_is_bounded() -> None:
    stamp = str(int(time.time()))
    right = signature([key_of(NEW)], "m1", stamp, CONTENT)
    assert is_signed([key_of(NEW)], "m1", stamp, CONTENT, f"v1,AAAA v1,AAAA v1,AAAA {right}")
    assert not is_signed([key_of(NEW)], "m1", stamp, CONTENT, f"{'v1,AAAA ' * 4}{right}")
