"""The operator's Fernet keys. They wrap the data key of each recording and nothing else."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from cryptography.fernet import Fernet, InvalidToken

from meeting_assistant.adapters.storage.journal.durable_files import (
    make_private_directory,
    storage_error,
    write_new_file,
)
from meeting_assistant.adapters.storage.journal.format import WrappedKey
from meeting_assistant.domain.errors import AudioDecryptionError, ConfigurationError, StorageError

GENERATED_KEY_FILE = "audio.key"
KeySource = Literal["configured", "generated"]
_KEY = re.compile(r"[A-Za-z0-9_-]{43}=")


class KeyRing:
    """One or several keys: the first wraps, all unwrap. Immutable; any thread."""

    def __init__(self, keys: Sequence[str], source: KeySource = "configured") -> None:
        """Raises ConfigurationError, which never repeats a key."""
        if not keys:
            raise ConfigurationError(
                "AUDIO_ENCRYPTION_KEY is empty.", "Leave it out, or give at least one key."
            )
        for number, key in enumerate(keys, start=1):
            if _KEY.fullmatch(key) is None:
                raise ConfigurationError(
                    f"AUDIO_ENCRYPTION_KEY: key {number} of {len(keys)} is not a Fernet key, which is 32 bytes in "
                    "url-safe base64 (44 characters, the last one =).",
                    "Separate several keys by commas; make one with `meeting-assistant keygen`.",
                )
        self._fernets = {fingerprint_of(key): Fernet(key) for key in keys}
        self.source: KeySource = source
        """`generated` when the key lies in the data directory beside the recordings."""

    @property
    def fingerprints(self) -> tuple[str, ...]:
        """Fingerprints of all keys; that of the wrapping key comes first."""
        return tuple(self._fernets)

    @property
    def fingerprint(self) -> str:
        """Fingerprint of the wrapping key."""
        return self.fingerprints[0]

    def wrap(self, data_key: bytes) -> WrappedKey:
        """Encrypt a data key by the first key."""
        return WrappedKey(self.fingerprint, self._fernets[self.fingerprint].encrypt(data_key))

    def unwrap(self, wrapped: WrappedKey) -> bytes:
        """Decrypt a data key. Raises AudioDecryptionError, which names the fingerprints."""
        fernet = self._fernets.get(wrapped.fingerprint)
        if fernet is None:
            raise AudioDecryptionError(
                f"this recording was encrypted with key {wrapped.fingerprint}; the configured keys are "
                f"{', '.join(self.fingerprints)}.",
                "Put the old key back into AUDIO_ENCRYPTION_KEY, after the new one and a comma. "
                "The recording is untouched.",
            )
        try:
            return fernet.decrypt(wrapped.token)
        except InvalidToken as error:
            raise AudioDecryptionError(
                f"key {wrapped.fingerprint} is the right one, but the stored data key was altered.",
                "Restore the recording from a backup. It is untouched.",
            ) from error


def fingerprint_of(key: str) -> str:
    """Return a name of a key that reveals nothing of it: the first 8 bytes of the SHA-256 of its 32 bytes, as hex."""
    return hashlib.sha256(base64.urlsafe_b64decode(key)).hexdigest()[:16]


def new_key() -> str:
    """Generate a key for `AUDIO_ENCRYPTION_KEY`."""
    return Fernet.generate_key().decode()


def load_keyring(configured: Sequence[str], data_dir: Path) -> KeyRing | None:
    """Return the configured keys and the generated one; None when there is neither. Raises as below."""
    generated = _read_generated(data_dir / GENERATED_KEY_FILE)
    keys = [*configured, *generated]
    return KeyRing(keys, "configured" if configured else "generated") if keys else None


def load_or_create_keyring(configured: Sequence[str], data_dir: Path) -> KeyRing:
    """Return the configured keys, or the generated one, which is made if there is none.

    A generated key still opens its recordings when keys are configured later. Raises ConfigurationError,
    StorageError; an existing key file is never replaced.
    """
    path = data_dir / GENERATED_KEY_FILE
    generated = _read_generated(path)
    if configured:
        return KeyRing([*configured, *generated])
    if not generated:
        _generate(path)
        # Read again: of two servers that start at once only one wrote the file.
        generated = _read_generated(path)
    return KeyRing(generated, "generated")


def _read_generated(path: Path) -> list[str]:
    try:
        key = path.read_text(encoding="ascii").strip()
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError) as error:
        raise _unreadable(path) from error
    if _KEY.fullmatch(key) is None:
        raise _unreadable(path)
    return [key]


def _generate(path: Path) -> None:
    try:
        make_private_directory(path.parent)
        with contextlib.suppress(FileExistsError):
            write_new_file(path, Fernet.generate_key() + b"\n")
    except OSError as error:
        raise storage_error(error) from error


def _unreadable(path: Path) -> StorageError:
    return StorageError(
        f"The key file {path} cannot be read or holds no key; it was left as it is.",
        "Make it readable for the user of the server, or restore it from your copy: "
        "recordings made with it open with no other key.",
        code="key_file",
    )
