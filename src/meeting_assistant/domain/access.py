"""Who may do what. Pure.

A *principal* is whoever holds a token: its owner's name, what the token allows, and single meetings that a share
link opens for reading. Meetings belong to the owner whose token recorded them.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from enum import StrEnum


class Scope(StrEnum):
    """What a token allows."""

    RECORD = "record"
    """Open meetings, send sound, upload; change and delete the owner's meetings."""
    READ = "read"
    """List and read the owner's meetings."""
    ADMIN = "admin"
    """Everything, everybody's meetings and the server's figures."""


NO_OWNER = ""
"""Owner of meetings that were recorded while no tokens were configured."""


@dataclass(frozen=True, slots=True)
class Principal:
    """The caller of a request."""

    owner: str = NO_OWNER
    scopes: frozenset[Scope] = frozenset()
    shared: frozenset[str] = frozenset()
    """Ids of meetings that a share link opened for this caller, to read."""

    def may(self, scope: Scope) -> bool:
        """`admin` includes the others."""
        return scope in self.scopes or Scope.ADMIN in self.scopes

    def owns(self, owner: str) -> bool:
        """True when meetings of that owner are this caller's to see (and to change, with `record`)."""
        return Scope.ADMIN in self.scopes or (bool(self.scopes) and owner == self.owner)

    def may_read(self, meeting_id: str, owner: str) -> bool:
        """Own meetings with `read` or `record`, and shared ones."""
        return meeting_id in self.shared or self.owns(owner)

    @property
    def sees_all(self) -> bool:
        """True when lists are not limited to one owner."""
        return Scope.ADMIN in self.scopes


EVERYBODY = Principal(scopes=frozenset({Scope.RECORD, Scope.READ, Scope.ADMIN}))
"""The caller of a server without tokens: on loopback whoever uses this machine may do everything."""


@dataclass(frozen=True, slots=True)
class TokenGrant:
    """One configured token. The token itself is not kept, only its digest."""

    owner: str
    scopes: frozenset[Scope]
    digest: bytes
    """SHA-256."""

    def fits(self, token: str) -> bool:
        """Takes the same time whether or not it does."""
        return hmac.compare_digest(self.digest, token_digest(token))


def token_digest(token: str) -> bytes:
    """SHA-256: tokens are long and random, so a slow password hash would only cost time."""
    return hashlib.sha256(token.encode()).digest()


@dataclass(frozen=True, slots=True)
class Share:
    """A link that lets whoever has it read one meeting until it expires."""

    id: str
    meeting_id: str
    digest: str
    """SHA-256 of the link's token, hex."""
    created_at_ms: int
    expires_at_ms: int
