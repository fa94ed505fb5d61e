"""Signatures as Standard Webhooks describes them (standardwebhooks.com, version 1).

HMAC-SHA256 over `id.timestamp.body`. With several keys there is one signature for each, so that they can be
changed without a pause."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Sequence

PREFIX = "whsec_"
TOLERANCE_S = 300
"""A message that was signed longer ago, or so far in the future, is not believed."""


def key_of(secret: str) -> bytes:
    """`whsec_` and 24 to 64 bytes in base64. Raises ValueError."""
    try:
        key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except ValueError:
        key = b""
    if not 24 <= len(key) <= 64:
        raise ValueError("a secret is `whsec_` and 24 to 64 bytes in base64")
    return key


def signature(keys: Sequence[bytes], message_id: str, stamp: str, content: bytes) -> str:
    """One for each key, with a space between. `stamp`: seconds since 1970."""
    signed = f"{message_id}.{stamp}.".encode() + content
    digests = (hmac.new(key, signed, hashlib.sha256).digest() for key in keys)
    return " ".join(f"v1,{base64.b64encode(digest).decode()}" for digest in digests)


def is_signed(
    keys: Sequence[bytes], message_id: str, stamp: str, content: bytes, signed: str, *, now_s: float
) -> bool:
    """True when one of the signatures is by one of the keys, and not old."""
    if not stamp.isdecimal() or abs(int(stamp) - now_s) > TOLERANCE_S:
        return False
    expected = signature(keys, message_id, stamp, content).encode().split()
    # `&` and not `and`: how long it takes says nothing about which one was right.
    found = [hmac.compare_digest(one, other) for one in signed.encode().split() for other in expected]
    return any(found)
