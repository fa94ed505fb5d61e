"""Answers over HTTP, and reading what lies inside of one. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """An answer, read to its end."""

    status: int
    headers: Mapping[str, str]
    """Case does not matter."""
    text: str

    @property
    def is_success(self) -> bool:
        """True for a status of 200 to 299."""
        return 200 <= self.status < 300

    def json(self) -> Any:
        """Return the parsed body; None when it is not JSON."""
        try:
            return json.loads(self.text)
        except (ValueError, RecursionError):
            return None

    def dig(self, *path: str | int) -> object:
        """Return the value at a path of keys and indexes of the JSON body; None where the path ends early."""
        return dig(self.json(), *path)


def dig(data: object, *path: str | int) -> object:
    """Return the value at a path of keys and indexes; None where the path ends early."""
    for step in path:
        if isinstance(step, str) and isinstance(data, Mapping):
            data = data.get(step)
        elif isinstance(step, int) and isinstance(data, Sequence) and not isinstance(data, str):
            data = data[step] if step < len(data) else None
        else:
            return None
    return data
