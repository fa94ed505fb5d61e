"""The operator's keys: they wrap the data key of each recording, nothing else."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from cryptography.fernet import Fernet, InvalidToken

from meeting_assistant.domain.errors import AudioDecryptionError, ConfigurationError, StorageError

GENERATED_KEY_FILE = "audio.key"


class KeyRing:
    """One or several Fernet keys: the first wraps, all unwrap."""

    def __init__(
        self, keys: Sequence[str], source: Literal["configured", "generated"] = "configured"
    ) -> None:
        try:
            self._keys = [(fingerprint(key), Fernet(key)) for key in keys]
        except ValueError as error:
            raise ConfigurationError(
                "AUDIO_ENCRYPTION_KEY must be Fernet keys: 32 url-safe base64 bytes each, comma separated.",
                "Make one with Fernet.generate_key() of the Python package cryptography.",
            ) from error
        if not self._keys:
            raise ConfigurationError(
                "AUDIO_ENCRYPTION_KEY is empty.", "Leave it out, or give at least one key."
            )
        self.source = source
        """Where the keys come from."""

    @property
    def fingerprint(self) -> str:
        """Of the key that wraps."""
        return self._keys[0][0]

    def wrap(self, data_key: bytes) -> str:
        """A Fernet token."""
        return self._keys[0][1].encrypt(data_key).decode()

    def unwrap(self, token: str, wrapped_by: str) -> bytes:
        """The data key. Raises AudioDecryptionError naming both fingerprints."""
        for _, key in self._keys:
            try:
                return key.decrypt(token)
            except InvalidToken:
                continue
        have = ", ".join(print_of for print_of, _ in self._keys)
        raise AudioDecryptionError(
            f"this recording was encrypted with key {wrapped_by}, the configured keys are {have}.",
            "Add the old key to AUDIO_ENCRYPTION_KEY, comma separated after the new one. The recording is untouched.",
        )


def fingerprint(key: str) -> str:
    """Names a key without giving anything of it away: 8 bytes of its SHA-256."""
    return hashlib.sha256(key.encode()).hexdigest()[:16]


def load_or_create_keyring(configured: Sequence[str], data_dir: Path) -> KeyRing:
    """The configured keys, else the one generated into the data directory (made now when there is none).

    The generated key stays readable beside configured ones, so that setting a key later loses nothing.
    """
    path = data_dir / GENERATED_KEY_FILE
    generated = [path.read_text().strip()] if path.exists() else []
    if configured:
        return KeyRing([*configured, *generated])
    if not generated:
        generated = [_create(path)]
    return KeyRing(generated, "generated")


def _create(path: Path) -> str:
    key = Fernet.generate_key().decode()
    temporary = path.with_suffix(".tmp")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(key + "\n")
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise StorageError(
            f"The audio key cannot be written: {error.strerror}.", "Make DATA_DIR writable."
        ) from error
    return key
