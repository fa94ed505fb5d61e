"""Signatures of messages as Standard Webhooks describes them (standardwebhooks.com, version 1).

HMAC-SHA256 over `id.timestamp.body`. With several keys there is one signature for each, so that keys can be changed
without a pause.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from datetime import UTC, datetime

from standardwebhooks import Webhook, WebhookVerificationError

PREFIX = "whsec_"
_STANDARD = str.maketrans("-_", "+/")
"""From the URL-safe alphabet of base64 to the standard one."""
TOLERANCE_S = 300
"""A message that was signed longer ago, or so far in the future, is not trusted. The library's own limit."""
MAX_SIGNATURES = 4
"""A sender signs with each of its keys; more than these are not compared: each costs a digest of the whole message."""
MAX_STAMP_DIGITS = 12
MAX_ID_CHARS = 128


def key_of(secret: str) -> bytes:
    """Return the key in a secret: `whsec_` and 24 to 64 bytes in base64, of either alphabet; the prefix may be missing.
    Raises ValueError."""
    try:
        key = base64.b64decode(secret.removeprefix(PREFIX).translate(_STANDARD), validate=True)
    except ValueError:
        key = b""
    if not 24 <= len(key) <= 64:
        raise ValueError("a secret is `whsec_` and 24 to 64 bytes in base64")
    return key


def signature(keys: Sequence[bytes], message_id: str, stamp: str, content: bytes) -> str:
    """Return one signature for each key, with a space between. `stamp` is in seconds since 1970; content is UTF-8."""
    signed_at = datetime.fromtimestamp(int(stamp), tz=UTC)
    return " ".join(Webhook(key).sign(message_id, signed_at, content.decode()) for key in keys)


def is_signed(keys: Sequence[bytes], message_id: str, stamp: str, content: bytes, signed: str) -> bool:
    """Return True when one of the signatures is by one of the keys, and is neither old nor from the future."""
    if not (stamp.isascii() and stamp.isdecimal()):  # the library would read a fraction and drop it
        return False
    signatures = signed.split()
    if len(stamp) > MAX_STAMP_DIGITS or len(message_id) > MAX_ID_CHARS or len(signatures) > MAX_SIGNATURES:
        return False
    headers = {"webhook-id": message_id, "webhook-timestamp": stamp}
    # Every pair is tried: how long it takes says nothing about which one was right.
    matches = [
        _is_signed_by(key, content, {**headers, "webhook-signature": one})
        for key in keys
        for one in signatures
    ]
    return any(matches)


def _is_signed_by(key: bytes, content: bytes, headers: dict[str, str]) -> bool:
    try:
        Webhook(key).verify(content, headers, json_parse=False)
    except (WebhookVerificationError, ValueError):  # the latter: it has not even the form of a signature
        return False
    return True
