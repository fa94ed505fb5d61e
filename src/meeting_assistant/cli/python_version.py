"""Versions of Python with known holes in what a server uses."""

from __future__ import annotations

from dataclasses import dataclass

Version = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Hole:
    """A published vulnerability of the standard library."""

    cve: str
    what: str
    fixed_in: tuple[Version, ...]
    """The first release without it, for each line of releases that had it; later lines never had it."""

    def is_in(self, version: Version) -> bool:
        """Return whether this release has it."""
        return any(version[:2] == fixed[:2] and version < fixed for fixed in self.fixed_in)


HOLES = (
    Hole(
        "CVE-2024-7592",
        "cookies take time that grows with the square of their length",
        ((3, 11, 10), (3, 12, 6)),
    ),
    Hole(
        "CVE-2024-6232",
        "headers of tar files take time that grows faster than their length",
        ((3, 11, 10), (3, 12, 6)),
    ),
)
"""Sources: the announcements of the Python Security Response Team."""


def holes_of(version: Version) -> list[Hole]:
    """Return the known holes of a release of Python."""
    return [hole for hole in HOLES if hole.is_in(version)]
