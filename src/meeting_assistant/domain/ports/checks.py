"""Results of the checks that `doctor` makes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CheckResult:
    """One row of `doctor`."""

    name: str
    ok: bool
    detail: str
    remedy: str = ""
    seconds: float = 0.0
    optional: bool = False
    """True when a failure does not stop the product from working."""
