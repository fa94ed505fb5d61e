"""Access control. Pure.

A *principal* is the holder of a token: the name of its owner, the scopes of the token, and single meetings that a share
link opens for reading. A meeting belongs to the owner whose token recorded it.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from enum import StrEnum


class Scope(StrEnum):
    """A right that a token gives."""

    RECORD = "record"
    """Open meetings, send audio, upload; change and delete the owner's meetings."""
    READ = "read"
    """List and read the owner's meetings."""
    ADMIN = "admin"
    """Everything, including the meetings of all owners and the dashboard."""


class CredentialKind(StrEnum):
    """What a right may rest on."""

    TOKEN = "token"  # noqa: S105 - a kind
    SHARE = "share"
    BROWSER_SESSION = "browser_session"


@dataclass(frozen=True, slots=True)
class Credential:
    """What a caller showed. It names a token, a link or a browser session, and opens nothing by itself."""

    kind: CredentialKind
    key: str
    """SHA-256 of the token, hex; of a browser session its id in the database."""


NO_OWNER = ""
"""Owner of meetings that were recorded while no tokens were configured."""


@dataclass(frozen=True, slots=True)
class Principal:
    """The caller of a request."""

    owner: str = NO_OWNER
    scopes: frozenset[Scope] = frozenset()
    shared: frozenset[str] = frozenset()
    """Ids of meetings that a share link opened for this caller, to read."""
    credentials: frozenset[Credential] = frozenset()
    """What the caller showed: by these the right can be looked up again, as long as a connection lasts."""
    expires_at_ms: int | None = None
    """Unix time at which a part of the right ends; null when no end is set."""

    def may(self, scope: Scope) -> bool:
        """Return whether a scope is granted; `admin` includes the others."""
        return scope in self.scopes or Scope.ADMIN in self.scopes

    def owns(self, owner: str) -> bool:
        """Return whether the caller may see the meetings of that owner (and change them, with `record`)."""
        return Scope.ADMIN in self.scopes or (bool(self.scopes) and owner == self.owner)

    def may_read(self, meeting_id: str, owner: str) -> bool:
        """Return whether the caller may read a meeting: an own one with any scope, or a shared one."""
        return meeting_id in self.shared or self.owns(owner)

    @property
    def sees_all(self) -> bool:
        """True when lists are not limited to one owner."""
        return Scope.ADMIN in self.scopes


EVERYBODY = Principal(scopes=frozenset({Scope.RECORD, Scope.READ, Scope.ADMIN}))
"""The caller of a server without tokens: on loopback every user of the machine may do everything."""


@dataclass(frozen=True, slots=True)
class TokenGrant:
    """One configured token. The token itself is not kept, only its digest."""

    owner: str
    scopes: frozenset[Scope]
    digest: bytes
    """SHA-256."""

    def fits(self, token: str) -> bool:
        """Compare in constant time."""
        return self.has_key(token_digest(token).hex())

    def has_key(self, key: str) -> bool:
        """Return whether this is the token with that SHA-256, in hex. Compares in constant time."""
        return hmac.compare_digest(self.digest.hex(), key)


def token_digest(token: str) -> bytes:
    """Return the SHA-256 of a token: tokens are long and random, so a slow password hash would add nothing."""
    return hashlib.sha256(token.encode()).digest()


@dataclass(frozen=True, slots=True)
class Share:
    """A link that opens one meeting for reading until it expires."""

    id: str
    meeting_id: str
    digest: str
    """SHA-256 of the link's token, hex."""
    created_at_ms: int
    expires_at_ms: int


@dataclass(frozen=True, slots=True)
class BrowserSession:
    """What a browser is signed in with. Its cookie holds a random secret and never a token."""

    id: str
    """UUIDv7."""
    family: str
    """Id of the first one of the sessions that followed each other in one browser: signing out ends all of them."""
    digest: str
    """SHA-256 of the secret, hex."""
    credentials: tuple[Credential, ...]
    """Tokens and share links that the browser showed."""
    created_at_ms: int
    expires_at_ms: int
