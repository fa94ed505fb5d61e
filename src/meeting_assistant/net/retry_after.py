"""The header by which a server says when to come back. Pure."""

from __future__ import annotations

import math
import time
from email.utils import parsedate_to_datetime


def retry_after_s(value: str | None, now_s: float | None = None) -> float | None:
    """Return the seconds that a `Retry-After` header asks to wait, at least 0; None when it says nothing.

    The value is a number of seconds or a date (RFC 9110, section 10.2.3). `now_s` is Unix time.
    """
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(value).timestamp() - (time.time() if now_s is None else now_s)
        except (ValueError, OverflowError):
            return None
    return None if math.isnan(seconds) else max(0.0, seconds)
