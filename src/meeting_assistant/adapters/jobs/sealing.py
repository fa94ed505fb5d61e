"""The keys of a fleet, and the seal on everything that its machines send each other.

All machines share one secret (`FLEET__SECRET`); each purpose has a key of its own, derived from it by HKDF-SHA256
(RFC 5869). Content is sealed by AES-256-GCM together with its context: what it is, for whom, of which attempt, with
which number. What was altered, made by a stranger, or moved to another place does not open.

A process seals under a key that is derived from the shared one and a random salt, which travels with each message.
Random nonces of 96 bits are therefore drawn rarely under one key, whatever the whole fleet sends (NIST SP 800-38D,
section 8.3, allows 2^32).
"""

from __future__ import annotations

import base64
import hmac
import secrets
from collections.abc import Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from meeting_assistant.domain.errors import JobError

_SALT_BYTES, _NONCE_BYTES, _TAG_BYTES = 16, 12, 16
OVERHEAD_BYTES = _SALT_BYTES + _NONCE_BYTES + _TAG_BYTES
"""How much longer sealed content is."""
_MESSAGES_PER_SALT = 1 << 20
_MAX_CIPHERS = 1024
"""Keys of other processes that are kept; one that was forgotten is derived again."""
_MAX_LENGTH_BYTES = 4


class FleetKeys:
    """Keys derived from the secrets of a fleet: the first secret seals, signs and names, all of them open.

    Used on the event loop only.
    """

    def __init__(self, fleet_secrets: Sequence[bytes]) -> None:
        self._seal_keys = [_derive(secret, b"seal") for secret in fleet_secrets]
        self._name_keys = [_derive(secret, b"names") for secret in fleet_secrets]
        self.signing_keys = [_derive(secret, b"callbacks") for secret in fleet_secrets]
        """Keys of the signatures of messages to a gateway's own address."""
        self._ciphers: dict[tuple[int, bytes], AESGCM] = {}
        self._salt = b""
        self._sealing: AESGCM | None = None
        self._left = 0
        """Messages that may still be sealed under the present salt."""

    def seal(self, content: bytes, *context: str) -> bytes:
        """Encrypt content so that it opens in this context only; it grows by `OVERHEAD_BYTES`."""
        if self._sealing is None or self._left == 0:
            self._salt, self._left = secrets.token_bytes(_SALT_BYTES), _MESSAGES_PER_SALT
            self._sealing = AESGCM(_derive(self._seal_keys[0], self._salt))
        self._left -= 1
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return self._salt + nonce + self._sealing.encrypt(nonce, content, _encoded(context))

    def open(self, sealed: bytes, *context: str) -> bytes:
        """Return the content. Raises JobError with the code `not_authentic`."""
        salt, rest = sealed[:_SALT_BYTES], sealed[_SALT_BYTES:]
        if len(rest) >= _NONCE_BYTES + _TAG_BYTES:
            associated = _encoded(context)
            for number, key in enumerate(self._seal_keys):
                cipher = self._ciphers.get((number, salt)) or AESGCM(_derive(key, salt))
                try:
                    content = cipher.decrypt(rest[:_NONCE_BYTES], rest[_NONCE_BYTES:], associated)
                except InvalidTag:
                    continue
                self._remember(number, salt, cipher)
                return content
        raise _not_authentic()

    def seal_text(self, text: str, *context: str) -> str:
        """Like `seal`, from text to base64."""
        return base64.b64encode(self.seal(text.encode(), *context)).decode()

    def open_text(self, sealed: object, *context: str) -> str:
        """Like `open`, from base64 to text. Raises JobError with the code `not_authentic`, also for what is not
        base64."""
        try:
            decoded = base64.b64decode(sealed, validate=True) if isinstance(sealed, (str, bytes)) else b""
        except ValueError:
            decoded = b""
        return self.open(decoded, *context).decode()

    def names(self, text: str) -> list[str]:
        """Return the names under which something is found in Redis, which reveal nothing of it: that of the first
        secret, which is used, and those that machines with the secrets in another order use."""
        return [hmac.digest(key, text.encode(), "sha256")[:16].hex() for key in self._name_keys]

    def name(self, text: str) -> str:
        """Return the first of `names`."""
        return self.names(text)[0]

    def _remember(self, number: int, salt: bytes, cipher: AESGCM) -> None:
        if len(self._ciphers) >= _MAX_CIPHERS:
            self._ciphers.clear()
        self._ciphers[number, salt] = cipher


def _derive(secret: bytes, purpose: bytes) -> bytes:
    info = b"meeting-assistant fleet " + purpose
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=info).derive(secret)


def _encoded(context: Sequence[str]) -> bytes:
    """Return the context as bytes from which it could be read again: no two contexts have the same."""
    parts = [part.encode() for part in context]
    return b"".join(len(part).to_bytes(_MAX_LENGTH_BYTES, "big") + part for part in parts)


def _not_authentic() -> JobError:
    return JobError(
        "A message of the fleet was not sealed with this FLEET__SECRET, or was altered or moved.",
        "Set the same FLEET__SECRET on all machines, and let nobody else write to Redis.",
        code="not_authentic",
    )
