"""Secrets at rest: Fernet with key rotation. The first key encrypts, every key decrypts."""

import hmac
import os
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from functools import cached_property
from hmac import compare_digest
from pathlib import Path
from secrets import token_hex
from typing import TYPE_CHECKING

from gateway.settings import Settings

if TYPE_CHECKING:
    from cryptography.fernet import MultiFernet

KEY_FILE = "encryption.key"


class DecryptionError(Exception):
    """None of the configured keys made this value."""


class SecretBox:
    """Encrypts small values. `keys` are Fernet keys (url-safe base64 of 32 bytes), newest first.

    ValueError for a key that is none, or for an empty list.
    """

    def __init__(self, keys: Sequence[str]) -> None:
        if not keys:
            raise ValueError("at least one encryption key is needed")
        for key in keys:
            _check_key(key)
        self._keys = tuple(keys)

    @cached_property
    def _fernet(self) -> "MultiFernet":
        # 9 MB and 40 ms: paid by the first secret, not by every start
        from cryptography.fernet import Fernet, MultiFernet  # noqa: PLC0415

        return MultiFernet([Fernet(key) for key in self._keys])

    def encrypt(self, value: bytes) -> bytes:
        """Encrypt under the newest key."""
        return self._fernet.encrypt(value)

    def is_newest(self, token: bytes) -> bool:
        """Whether the newest key made the token."""
        from cryptography.fernet import Fernet, InvalidToken  # noqa: PLC0415  (see _fernet)

        try:
            Fernet(self._keys[0]).decrypt(token)
        except InvalidToken:
            return False
        return True

    def decrypt(self, token: bytes) -> bytes:
        """Decrypt under whichever key made the token. DecryptionError if none of ours did."""
        from cryptography.fernet import InvalidToken  # noqa: PLC0415  (see _fernet)

        try:
            return self._fernet.decrypt(token)
        except InvalidToken:
            raise DecryptionError(
                "a stored secret was encrypted under a key that is not configured; "
                "every process needs the same ONEREEL_SECURITY__ENCRYPTION_KEYS, old keys last"
            ) from None

    def signature(self, text: str) -> str:
        """Sign a text that we hand out and must recognise: 32 hex digits, under the newest key."""
        return _signature(self._keys[0], text)

    def is_signature(self, text: str, signature: str) -> bool:
        """Whether one of our keys made this signature."""
        given = signature.encode()
        return any(compare_digest(_signature(key, text).encode(), given) for key in self._keys)


def _signature(key: str, text: str) -> str:
    return hmac.new(key.encode(), text.encode(), "sha256").hexdigest()[:32]


def open_secret_box(settings: Settings) -> SecretBox:
    """Use the configured keys, or the key file of the data directory (made at first start, mode 0600)."""
    configured = [key.get_secret_value() for key in settings.security.encryption_keys]
    return SecretBox(configured or _file_keys(settings.data_dir / KEY_FILE))


def _file_keys(path: Path) -> list[str]:
    if not path.exists():
        make_file_once(path, new_key().encode() + b"\n")
    return path.read_text(encoding="ascii").split()


def make_file_once(path: Path, content: bytes, mode: int = 0o600) -> None:
    """Whole or not at all, and only once, however many processes start together: a file that is there stays."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(draft, path)  # fails where the file exists, unlike a rename
        except FileExistsError:
            return
    finally:
        draft.unlink()


def new_key() -> str:
    """Make a Fernet key."""
    return urlsafe_b64encode(os.urandom(32)).decode()


def _check_key(key: str) -> None:
    try:
        raw = urlsafe_b64decode(key)
    except ValueError:
        raw = b""
    if len(raw) != 32:
        raise ValueError("an encryption key is 32 bytes in url-safe base64 (44 characters)")
